"""The battery of models, for rows that only infer: the numbers of transformers through a session.

What the forward pass of the classes for code written for transformers must do is in the files beside this
folder, over the rooms that offer such classes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pegasus import PegasusConfig
from pegasus.errors import BadSetting
from pegasus.generation.model_inputs import Request
from pegasus.generation.session import Ask, Records, log_softmax

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


@pytest.fixture(scope="module", params=["relu", "gelu", "odd"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A checkpoint, and what transformers 4.34.0 made of it."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    record = json.loads((GOLDEN / f"model-{name}.json").read_text())
    PegasusConfig(**record["config"]).save_pretrained(folder)
    shutil.copyfile(GOLDEN / f"model-{name}.safetensors", folder / "model.safetensors")
    return folder, load_file(GOLDEN / f"model-{name}.expected.safetensors"), record["calls"]


def test_the_logits_of_transformers(opened, case):
    folder, expected, calls = case
    model = opened(folder)
    call = next(
        name
        for name, one in calls.items()
        if one["model"] == "conditional"
        and set(one["arguments"]) == {"input_ids", "attention_mask", "decoder_input_ids"}
        and f"{name}/logits" in expected
    )
    session = model.open_session(
        Request(input_ids=expected["input/input_ids"], attention_mask=expected["input/attention_mask"])
    )
    read = expected["input/decoder_input_ids"]
    found = session.step(Ask(read, count=None, positions=read.shape[1])).log_probs_RC
    logits = expected[f"{call}/logits"]
    np.testing.assert_allclose(
        found, log_softmax(logits.reshape(-1, logits.shape[-1])), atol=2e-4, rtol=1e-3
    )


def test_the_hidden_states_and_attentions_of_transformers(opened, case, row):
    if not row.records:
        pytest.skip("this row records neither")
    folder, expected, calls = case
    assert set(calls["bare"]["arguments"]) == {"input_ids", "attention_mask", "decoder_input_ids"}
    model = opened(folder)
    request = Request(
        input_ids=expected["input/input_ids"],
        attention_mask=expected["input/attention_mask"],
        records=Records(attentions=True, hidden_states=True),
    )
    session = model.open_session(request)
    session.step(Ask(expected["input/decoder_input_ids"], count=1))
    kinds = {
        "decoder_attentions": session.recorded.attentions[0],
        "cross_attentions": session.recorded.cross_attentions[0],
        "decoder_hidden_states": session.recorded.hidden_states[0],
        "encoder_attentions": session.recorded.encoder_attentions,
        "encoder_hidden_states": session.recorded.encoder_hidden_states,
    }
    found = {
        f"bare/{kind}/{number}": one for kind, layers in kinds.items() for number, one in enumerate(layers)
    }
    assert set(found) == {
        key for key in expected if key.startswith(tuple(f"bare/{kind}/" for kind in kinds))
    }
    for key, layer in found.items():
        np.testing.assert_allclose(model.to_host(layer), expected[key], atol=1e-4, rtol=1e-3, err_msg=key)


@pytest.mark.parametrize("mask", ["left_mask", "empty_mask"])
def test_padding_in_front_and_texts_of_padding_alone(opened, case, row, mask):
    folder, expected, _ = case
    model, call = opened(folder), {"left_mask": "bare-left-padded", "empty_mask": "bare-empty-text"}[mask]
    request = Request(input_ids=expected["input/input_ids"], attention_mask=expected[f"input/{mask}"])
    read = Ask(expected["input/decoder_input_ids"], count=1, hidden=True)
    if row.name in ("packed", "jax") and mask == "empty_mask":
        with pytest.raises(BadSetting, match="padding from end to end"):
            model.open_session(request)
        return
    found = model.open_session(request).step(read).hidden_RTD
    np.testing.assert_allclose(found, expected[f"{call}/last_hidden_state"], atol=2e-4, rtol=1e-3)
