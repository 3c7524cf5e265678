"""The numbers of transformers 4.57.6's Flax classes and of our PyTorch backend, call by call."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file

from pegasus import (
    FlaxPegasusForConditionalGeneration,
    FlaxPegasusModel,
    PegasusConfig,
    PegasusForConditionalGeneration,
)
from pegasus.backends.jax.model.flax_classes import shift_tokens_right
from pegasus.backends.jax.model.weights import to_raw

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
CLASSES = {"bare": FlaxPegasusModel, "conditional": FlaxPegasusForConditionalGeneration}
SHOWN = {"output_attentions": True, "output_hidden_states": True}


class Recorded:
    """One configuration: what 4.57.6 answered, and our models of the same weights."""

    def __init__(self, name: str, folder: Path) -> None:
        self.answers = load_file(GOLDEN / f"flax-{name}.expected.safetensors")
        both = load_file(GOLDEN / f"model-{name}.expected.safetensors")
        self.inputs = {k.removeprefix("input/"): v for k, v in both.items() if k.startswith("input/")}
        self.torch_answers = both
        self.folder = folder
        self.models = {kind: cls.from_pretrained(folder) for kind, cls in CLASSES.items()}

    def check(self, call: str, output: Any, flatten: Any) -> None:
        """To 1e-5 of the largest number of an array, or of 1 where all are smaller."""
        found = {
            f"{call}/{key}": value
            for key, value in flatten(output, self).items()
            if not key.startswith("past_key_values")
        }
        expected = {k: v for k, v in self.answers.items() if k.startswith(f"{call}/")}
        assert sorted(found) == sorted(expected)
        for key, value in expected.items():
            assert found[key].shape == value.shape, key
            assert np.abs(found[key] - value).max() <= 1e-5 * max(1, np.abs(value).max()), key

    @staticmethod
    def numpy(array: Any) -> np.ndarray:
        return np.asarray(array)


@pytest.fixture(scope="module", params=["relu", "gelu"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp(request.param)
    fields = json.loads((GOLDEN / f"model-{request.param}.json").read_text())["config"]
    PegasusConfig(**fields).save_pretrained(folder)
    shutil.copyfile(GOLDEN / f"model-{request.param}.safetensors", folder / "model.safetensors")
    return Recorded(request.param, folder)


@pytest.mark.parametrize("kind", CLASSES)
def test_forward(kind, recorded, flatten):
    model, inputs = recorded.models[kind], recorded.inputs
    ids, mask, target = inputs["input_ids"], inputs["attention_mask"], inputs["decoder_input_ids"]
    output = model(ids, mask, target, inputs["decoder_attention_mask"], **SHOWN)
    recorded.check(kind, output, flatten)
    recorded.check(f"{kind}-no-target", model(ids), flatten)


@pytest.mark.parametrize("kind", CLASSES)
def test_encode_and_decode(kind, recorded, flatten):
    """In one piece, and in three pieces over a memory."""
    model, inputs = recorded.models[kind], recorded.inputs
    mask, target = inputs["attention_mask"], inputs["decoder_input_ids"]
    encoded = model.encode(inputs["input_ids"], mask, **SHOWN)
    recorded.check(f"{kind}-encode", encoded, flatten)
    recorded.check(f"{kind}-decode", model.decode(target, encoded, mask, **SHOWN), flatten)
    cache = model.init_cache(len(target), 8, encoded)
    for step, tokens in enumerate((target[:, :2], target[:, 2:3], target[:, 3:6])):
        output = model.decode(tokens, encoded, mask, past_key_values=cache)
        recorded.check(f"{kind}-step-{step}", output, flatten)
        cache = output.past_key_values


def cross_entropy(model: Any, inputs: dict[str, np.ndarray], params: Any) -> jax.Array:
    labels = inputs["labels"]
    logits = model(
        inputs["input_ids"], inputs["attention_mask"], inputs["decoder_input_ids"], params=params
    )
    logs = jax.nn.log_softmax(logits.logits)
    picked = jnp.take_along_axis(logs, np.maximum(labels, 0)[..., None], -1)[..., 0]
    return -(picked * (labels >= 0)).sum() / (labels >= 0).sum()


def test_loss_and_gradients(recorded, close):
    """Those of transformers, but for one row: padding does not learn by being looked up, as in PyTorch."""
    model, inputs = recorded.models["conditional"], recorded.inputs
    value, slopes = jax.value_and_grad(lambda params: cross_entropy(model, inputs, params))(model.params)
    close(np.asarray(value), recorded.answers["loss"], "loss")
    for path, slope in flatten_dict(slopes).items():
        name, found = "/".join(path), np.array(slope)
        expected = recorded.answers[f"gradient/{name}"]
        learns = name != "final_logits_bias" and not name.endswith("k_proj/bias")
        assert (np.abs(expected).max() > 1e-6) == learns, name
        if path[-1] == "embedding":
            assert np.abs(found[0] - expected[0]).max() > 1e-6
            found, expected = found[1:], expected[1:]
        close(found, expected, name)


def test_gradients_of_pytorch(recorded, close):
    """All of them, the row of padding too."""
    inputs = recorded.inputs
    theirs = PegasusForConditionalGeneration.from_pretrained(recorded.folder)
    ids, mask, target = (
        torch.tensor(inputs[name]) for name in ("input_ids", "attention_mask", "decoder_input_ids")
    )
    theirs(ids, mask, target, labels=torch.tensor(inputs["labels"])).loss.backward()
    model = recorded.models["conditional"]
    slopes = jax.grad(lambda params: cross_entropy(model, inputs, params))(model.params)
    expected = {name: p.grad.numpy() for name, p in theirs.named_parameters() if p.grad is not None}
    found = {name: raw.array() for name, raw in to_raw(model.config, model.kind, slopes)}
    for name, slope in expected.items():
        close(found[name], slope, name)


@pytest.mark.parametrize("call", ["bare-left-padded", "bare-empty-text", "bare-decoder-mask"])
def test_masks_as_in_pytorch(call, recorded, close):
    """A row that may look nowhere averages everything, here as there."""
    masks = {"bare-left-padded": "left_mask", "bare-empty-text": "empty_mask"}
    inputs = recorded.inputs
    output = recorded.models["bare"](
        inputs["input_ids"],
        inputs[masks.get(call, "attention_mask")],
        inputs["decoder_input_ids"],
        inputs["decoder_attention_mask"] if call == "bare-decoder-mask" else None,
    )
    expected = recorded.torch_answers[f"{call}/last_hidden_state"]
    close(np.asarray(output.last_hidden_state), expected, call)


ODD = ["bare", "bare-decoder-mask", "bare-empty-text", "conditional", "labels"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Another shape on each side, untied, another activation; recorded from PyTorch's classes alone."""
    folder = tmp_path_factory.mktemp("odd")
    record = json.loads((GOLDEN / "model-odd.json").read_text())
    PegasusConfig(**record["config"]).save_pretrained(folder)
    shutil.copyfile(GOLDEN / "model-odd.safetensors", folder / "model.safetensors")
    models = {kind: cls.from_pretrained(folder) for kind, cls in CLASSES.items()}
    return record["calls"], models, load_file(GOLDEN / "model-odd.expected.safetensors")


@pytest.mark.parametrize("call", ODD)
def test_calls_of_another_shape(call, odd, flatten, close):
    calls, models, answers = odd
    record = calls[call]
    model = models[record["model"]]
    given = {name: answers[key] for name, key in record["arguments"].items()}
    flags = {key: value for key, value in record["flags"].items() if key.startswith("output")}
    if "labels" in given:
        labels = given.pop("labels")
        start, pad = model.config.decoder_start_token_id, model.config.pad_token_id
        given["decoder_input_ids"] = shift_tokens_right(labels, pad, start)
        close(np.asarray(cross_entropy(model, {**given, "labels": labels}, None)), answers[f"{call}/loss"])
    found = flatten(model(**given, **flags), Recorded)
    expected = {
        key.removeprefix(f"{call}/"): value
        for key, value in answers.items()
        if key.startswith(f"{call}/") and not any(one in key for one in ("past_key", "gradient", "/loss"))
    }
    assert sorted(found) == sorted(expected)
    for key, value in expected.items():
        close(found[key], value, f"{call}/{key}")


def test_tree_of_parameters():
    """The names of transformers, so that its checkpoints and code written for its trees fit."""
    fields = json.loads((GOLDEN / "model-relu.json").read_text())["config"]
    model = FlaxPegasusForConditionalGeneration(PegasusConfig(**fields), _do_init=False)
    paths = json.loads((GOLDEN / "flax.json").read_text())["paths"]
    assert sorted("/".join(path) for path in model.required_params) == paths


def test_fresh_parameters_are_those_of_the_module():
    fields = json.loads((GOLDEN / "model-relu.json").read_text())["config"]
    for cls in CLASSES.values():
        for tied in (True, False):
            model = cls(PegasusConfig(**fields, tie_word_embeddings=tied), seed=3)
            ids = jnp.ones((1, 2), jnp.int32)
            shapes = jax.eval_shape(model.module.init, jax.random.key(0), ids, ids)["params"]
            assert jax.tree.structure(shapes) == jax.tree.structure(model.params)
            assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, model.params)
            assert jax.tree.map(lambda one: one.shape, model.params_shape_tree) == jax.tree.map(
                jnp.shape, model.params
            )


@pytest.mark.parametrize("number", range(4))
def test_tokens_of_flax_generate(number, small):
    """transformers fills up to the maximum length with padding; we end with the longest row."""
    record = json.loads((GOLDEN / "flax.json").read_text())["searches"][number]
    inputs = json.loads((GOLDEN / "generation-basic.json").read_text())["inputs"]
    found = np.asarray(small.generate(np.array(inputs), **record["settings"]).sequences)
    expected = np.array(record["tokens"])
    assert (expected[:, found.shape[1] :] == 0).all()
    np.testing.assert_array_equal(found, expected[:, : found.shape[1]])
