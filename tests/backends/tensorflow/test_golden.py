"""Every call recorded from transformers, of its TF classes (4.57.6) and of those of PyTorch (4.34.0)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
NAMES = ("relu", "gelu", "odd")
#: Calls that are asked of both; labels are not: TF does not count padding.
CALLS = [
    call
    for call, record in json.loads((GOLDEN / "model-relu.json").read_text())["calls"].items()
    if record["model"] != "causal" and "labels" not in record["arguments"]
]


def flat(prefix: str, value: Any) -> dict[str, np.ndarray]:
    if isinstance(value, tuple | list):
        return {k: a for i, one in enumerate(value) for k, a in flat(f"{prefix}/{i}", one).items()}
    return {prefix: np.asarray(value)}


def answers(output: Any) -> dict[str, np.ndarray]:
    return {k: a for field, value in output.items() for k, a in flat(field, value).items()}


def compare(output: Any, expected: dict[str, np.ndarray], call: str, close: Any) -> None:
    wanted = {key.removeprefix(f"{call}/"): a for key, a in expected.items() if key.startswith(f"{call}/")}
    found = answers(output)
    assert sorted(found) == sorted(wanted)
    for key, value in wanted.items():
        close(found[key], value, f"{call}/{key}")


@pytest.mark.parametrize("name", NAMES)
def test_the_calls_of_pytorch(name, recorded, close):
    case, outputs = recorded(name), {}
    for call in CALLS:
        record = case.calls[call]
        kind = record["model"]
        model = case.model("conditional" if kind == "conditional" else "bare")
        parts = {"encoder": model.get_encoder(), "decoder": model.get_decoder()}
        asked = parts.get(kind, model)
        arguments = {}
        for argument, reference in record["arguments"].items():
            if reference.startswith("@"):
                before, field = reference[1:].split("/")
                value = outputs[before][field]
                arguments[argument] = (value,) if argument == "encoder_outputs" else value
            else:
                arguments[argument] = case.input(reference.removeprefix("input/"))
        outputs[call] = asked(**arguments, **record["flags"])
        compare(outputs[call], case.torch, call, close)


@pytest.mark.parametrize("name", NAMES[:2])
def test_the_calls_of_the_tf_classes(name, recorded, close):
    case = recorded(name)
    usual = {key: case.input(key) for key in ("input_ids", "attention_mask", "decoder_input_ids")}
    masks = {key: case.input(key) for key in ("head_mask", "decoder_head_mask", "cross_attn_head_mask")}
    places = np.array([[3, 1, 4, 1, 5, 9]])[:, : usual["decoder_input_ids"].shape[1]]
    for kind in ("bare", "conditional"):
        model = case.model(kind)
        output = model(**usual, output_attentions=True, output_hidden_states=True)
        compare(output, case.tf, kind, close)
        output = model(**usual, **masks, decoder_attention_mask=case.input("decoder_attention_mask"))
        compare(output, case.tf, f"{kind}-masks", close)
        output = model(**usual, decoder_position_ids=places, use_cache=False)
        compare(output, case.tf, f"{kind}-places", close)
    first = model(**{**usual, "decoder_input_ids": case.input("first_ids")})
    compare(first, case.tf, "step-1", close)
    second = model(
        None,
        usual["attention_mask"],
        case.input("next_id"),
        encoder_outputs=(first.encoder_last_hidden_state,),
        past_key_values=first.past_key_values,
    )
    compare(second, case.tf, "step-2", close)


@pytest.mark.parametrize("name", NAMES[:2])
def test_loss_and_gradients_of_the_tf_classes(name, recorded, close):
    """Padding and -100 are not counted; the row of padding does not learn from being looked up."""
    case = recorded(name)
    model = case.model("conditional")
    named = {one.path.split("/", 1)[1] + ":0": one for one in model.trainable_variables}
    inputs = case.input("input_ids"), case.input("attention_mask")
    with tf.GradientTape() as tape:
        output = model(*inputs, labels=case.input("labels"))
    compare(output, case.tf, "labels", close)
    slopes = tape.gradient(output.loss, [one.value for one in named.values()])
    found = {key: tf.convert_to_tensor(slope).numpy() for key, slope in zip(named, slopes)}
    table = found.pop("model/model.shared/embeddings:0")
    expected = {
        key.removeprefix("gradient/"): value
        for key, value in case.tf.items()
        if key.startswith("gradient/") and "embed" not in key
    }
    assert len(expected) > 90
    for key, value in expected.items():
        close(found[key], value, key)
    theirs = next(value for key, value in case.tf.items() if key == "gradient/model.shared/embeddings:0")
    pad = case.config.pad_token_id
    rows = np.arange(len(table)) != pad
    close(table[rows], theirs[rows], "embeddings")


def test_names_are_those_of_the_tf_classes(recorded):
    """What stands before the first slash is the name of the model, of which there may be several."""
    theirs = json.loads((GOLDEN / "tf.json").read_text())["names"]
    ours = [one.path for one in recorded("relu").model("conditional").weights]
    alone = {"model.shared/model.shared/embeddings:0": "model/model.shared/embeddings"}
    alone["final_logits_bias:0"] = "final_logits_bias/final_logits_bias"
    expected = [alone.get(name) or name.split("/", 1)[1].removesuffix(":0") for name in theirs]
    assert sorted(path.split("/", 1)[1] for path in ours) == sorted(expected)


@pytest.mark.parametrize("number", range(5))
def test_tokens_of_tf_generate(number, small):
    record = json.loads((GOLDEN / "tf.json").read_text())["searches"][number]
    inputs = json.loads((GOLDEN / "generation-basic.json").read_text())["inputs"]
    found = small.generate(tf.constant(inputs), **record["settings"]).numpy()
    expected = np.array(record["tokens"])
    assert (expected[:, found.shape[1] :] == 0).all()
    np.testing.assert_array_equal(found, expected[:, : found.shape[1]])
