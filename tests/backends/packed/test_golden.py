"""The recorded settings of transformers 4.34.0 again, said by packed weights in float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pegasus import PegasusForConditionalGeneration
from pegasus.backends.native import linears

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
FAMILIES = ("basic", "rules", "groups", "constrained", "contrastive", "prompted")
FILES = {name: json.loads((GOLDEN / f"generation-{name}.json").read_text()) for name in FAMILIES}
SETTINGS = [(family, record) for family, file in FILES.items() for record in file["records"]]


@pytest.fixture(scope="module")
def model(packed) -> Any:
    return packed(PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model"), threads=1)


@pytest.fixture(scope="module")
def plain() -> Any:
    return PegasusForConditionalGeneration.from_pretrained(GOLDEN / "generation-model")


def words(row: str) -> list[int]:
    return [int(row[at : at + 2], 16) for at in range(0, len(row), 2)]


def name(family: str, record: dict[str, Any]) -> str:
    return family + ":" + ",".join(f"{key}={value}" for key, value in record["settings"].items())


def decided_by_order(family: str, record: dict[str, Any]) -> bool:
    """Whether the last token is one of many that are banned alike.

    Where EOS is forced, contrastive search compares it with tokens at -inf, and with this weight of
    unlikeness prefers one of them: which ones stand there is the order in which topk leaves equal numbers.
    """
    settings = record["settings"]
    at_limit = "max_length" in settings or "max_new_tokens" in settings
    return family == "contrastive" and settings["penalty_alpha"] == 0.9 and at_limit


def test_there_are_enough_settings():
    assert len(SETTINGS) >= 500


@pytest.mark.parametrize(("family", "record"), SETTINGS, ids=[name(*one) for one in SETTINGS])
def test_same_tokens(model, plain, family, record):
    """Those of the record; where this package differs from it on purpose, those of the plain modules."""
    compare(model, plain, family, record)


@pytest.mark.parametrize("level", linears.LEVELS)
def test_same_tokens_with_every_set_of_instructions(model, plain, level):
    """Some of the settings, of every family; `PEGASUS_CPU=LEVEL` runs the test above with all of them."""
    before = linears.level()
    try:
        if linears.use_level(level) != level:
            pytest.skip(f"this processor has no {level}")
        for family, record in SETTINGS[::20]:
            compare(model, plain, family, record)
    finally:
        linears.use_level(before)


def compare(model: Any, plain: Any, family: str, record: dict[str, Any]) -> None:
    """Generates with the settings of a record and compares tokens and scores."""
    file, settings = FILES[family], dict(record["settings"])
    inputs = torch.tensor(file["inputs"])
    if "decoder_input_ids" in settings:
        settings["decoder_input_ids"] = torch.tensor([settings["decoder_input_ids"]] * len(inputs))
    found = model.generate(inputs, **settings, return_dict_in_generate=True)
    if "force_words_ids" in settings:
        expected = plain.generate(inputs, **settings).tolist()
    else:
        expected = [words(file["rows"][row]) for row in record["rows"]]
    said, last_is_open = found.sequences.tolist(), decided_by_order(family, record)
    if last_is_open:
        said, expected = [row[:-1] for row in said], [row[:-1] for row in expected]
    assert said == expected
    if "scores" in record and not last_is_open:
        np.testing.assert_allclose(found.sequences_scores.numpy(), record["scores"], rtol=2e-5, atol=2e-5)
