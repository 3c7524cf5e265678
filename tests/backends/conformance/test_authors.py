"""A checkpoint of the authors, converted: every row computes the logits of their model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pegasus.backends import load_backend
from pegasus.checkpoint.authors import Wishes
from pegasus.checkpoint.conversion import Conversion, open_source
from pegasus.errors import NotOffered
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Ask, log_softmax

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "authors-model"
EXPECTED = dict(np.load(GOLDEN / "expected.npz"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    Conversion(open_source(GOLDEN, Wishes(heads=2))).write(folder)
    return folder


def read(target: np.ndarray) -> np.ndarray:
    """What the decoder reads: the start token, then all but the last."""
    return np.concatenate([np.zeros_like(target[:, :1]), target[:, :-1]], 1)


def open_session(model):
    source = EXPECTED["source"]
    return model.open_session(Request(input_ids=source, attention_mask=(source != 0).astype(np.int64)))


def test_the_logits_of_the_authors(opened, folder):
    tokens = read(EXPECTED["target"])
    found = open_session(opened(folder)).step(Ask(tokens, count=None, positions=tokens.shape[1]))
    logits = EXPECTED["logits"].reshape(-1, EXPECTED["logits"].shape[-1])
    assert np.abs(logits).max() > 5
    np.testing.assert_allclose(found.log_probs_RC, log_softmax(logits), atol=1e-5, rtol=0)


def test_token_by_token_they_are_the_same(opened, folder):
    session, tokens = open_session(opened(folder)), read(EXPECTED["target"])
    for place in range(tokens.shape[1]):
        found = session.step(Ask(tokens[:, place : place + 1], count=None)).log_probs_RC
        np.testing.assert_allclose(found, log_softmax(EXPECTED["logits"][:, place]), atol=1e-5, rtol=0)


def test_where_it_looked_is_asked_of_the_same_model(opened, folder, row):
    """With the attentions of the double, which starts from zeros too."""
    if row.name != "packed":
        pytest.skip("only packed inference has a pass of its own for this")
    source, summary = EXPECTED["source"][1].tolist(), EXPECTED["target"][0, :4].tolist()
    found = opened(folder).attend(source, summary)
    expected = load_backend("double").open_model(folder).attend(source, summary)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_text_that_begins_otherwise(opened, folder, row):
    """Packed inference says that it cannot; the others read the token."""
    tokens = EXPECTED["target"][:, :3]
    session = open_session(opened(folder))
    if row.name == "packed":
        with pytest.raises(NotOffered, match="begins with 7"):
            session.step(Ask(tokens, count=None))
        return
    found = session.step(Ask(tokens, count=None)).log_probs_RC
    expected = open_session(load_backend("double").open_model(folder)).step(Ask(tokens, count=None))
    np.testing.assert_allclose(found, expected.log_probs_RC, atol=1e-5)
