"""TF models as Keras has them: forms of input, graphs, fit and predict, precision, serving."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from pegasus import (
    BatchEncoding,
    PegasusConfig,
    PegasusForConditionalGeneration,
    TFPegasusForConditionalGeneration,
    TFPegasusModel,
)
from pegasus.backends.tensorflow.datasets import dataset_of
from pegasus.backends.tensorflow.inference.serving import Served, to_tflite
from pegasus.backends.tensorflow.model.activations import ACTIVATIONS
from pegasus.data.loader import Loader
from pegasus.data.records import Rows
from pegasus.data.sources import PairSource
from pegasus.errors import BadSetting, NotOffered, UnsupportedArgument
from pegasus.spec.config_fields import ACTIVATIONS as NAMED

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
INPUTS = np.array(json.loads((GOLDEN / "generation-basic.json").read_text())["inputs"]).astype(np.int32)
IDS = np.array([[5, 9, 7, 1], [6, 3, 1, 0]])
MASK = (IDS != 0).astype(int)


def tiny(**fields: Any) -> PegasusConfig:
    sizes = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    sizes |= dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    sizes |= dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 12)
    usual = {"vocab_size": 31, "d_model": 8, "max_position_embeddings": 16, "init_std": 0.3}
    return PegasusConfig(**{**sizes, **usual, **fields})


@pytest.fixture(scope="module")
def model() -> TFPegasusForConditionalGeneration:
    return TFPegasusForConditionalGeneration(tiny(dropout=0.5), seed=2)


# -- inputs ------------------------------------------------------------------------------------------------


def test_three_forms_of_input(model):
    """Keywords; one list, tuple, dictionary or encoding first; a single tensor."""
    expected = model(input_ids=IDS, attention_mask=MASK).logits.numpy()
    named = {"input_ids": tf.constant(IDS), "attention_mask": tf.constant(MASK)}
    for found in (
        model(IDS, MASK),
        model([tf.constant(IDS), tf.constant(MASK)]),
        model((IDS, MASK)),
        model(named),
        model(BatchEncoding(named)),
        model(input_ids=named),
        model(named, training=False),
    ):
        np.testing.assert_array_equal(found.logits, expected)
    alone = model(tf.constant(IDS)).logits
    np.testing.assert_array_equal(alone, model(IDS.tolist()).logits)
    assert np.abs(alone.numpy() - expected).max() > 1e-3


def test_what_is_no_input(model):
    with pytest.raises(UnsupportedArgument, match="token_type_ids"):
        model({"input_ids": IDS, "token_type_ids": IDS})
    with pytest.raises(BadSetting, match="neither came"):
        model(decoder_input_ids=IDS)
    with pytest.raises(BadSetting, match="came twice"):
        model({"input_ids": IDS, "attention_mask": MASK}, attention_mask=MASK)
    with pytest.raises(BadSetting, match="decoder has no input"):
        model(inputs_embeds=np.zeros((1, 3, 8), np.float32))
    past = model(IDS, decoder_input_ids=IDS, use_cache=True).past_key_values
    with pytest.raises(BadSetting, match="covers 3 tokens"):
        model(IDS, decoder_input_ids=IDS[:, :1], past_key_values=past, decoder_attention_mask=MASK[:, :3])


def test_without_targets_the_source_is_shifted(model):
    shifted = np.array([[0, 5, 9, 7], [0, 6, 3, 1]])
    found = model(IDS)
    np.testing.assert_array_equal(found.logits, model(IDS, decoder_input_ids=shifted).logits)
    assert found.past_key_values is None
    np.testing.assert_array_equal(model.prepare_decoder_input_ids_from_labels(IDS), shifted)
    assert isinstance(model(IDS, return_dict=False), tuple)


def test_activations():
    assert set(ACTIVATIONS) == set(NAMED)
    from pegasus.backends.torch.model.activations import ACTIVATIONS as TORCH

    values = np.linspace(-4, 4, 41, dtype=np.float32)
    for name, made in ACTIVATIONS.items():
        theirs = TORCH[name]
        expected = (theirs() if isinstance(theirs, type) else theirs)(torch.tensor(values)).numpy()
        np.testing.assert_allclose(made(tf.constant(values)), expected, atol=1e-5, err_msg=name)


def test_a_decoder_that_starts_from_zeros(tmp_path):
    torch.manual_seed(0)
    theirs = PegasusForConditionalGeneration(tiny(decoder_start="zeros", decoder_start_token_id=2)).eval()
    theirs.save_pretrained(tmp_path)
    ours = TFPegasusForConditionalGeneration.from_pretrained(tmp_path)
    with torch.no_grad():
        expected = theirs(torch.tensor(IDS), decoder_input_ids=torch.tensor([[2, 5, 2]] * 2)).logits
    np.testing.assert_allclose(ours(IDS, decoder_input_ids=[[2, 5, 2]] * 2).logits, expected, atol=1e-5)
    settings = {"num_beams": 2, "max_length": 9, "min_length": 9}
    found = ours.generate(IDS, **settings).numpy()
    np.testing.assert_array_equal(found, theirs.generate(torch.tensor(IDS), **settings).numpy())
    served = Served(ours, **settings).signatures()["ids"]
    np.testing.assert_array_equal(served(tf.constant(IDS, tf.int32))["sequences"], found)


# -- graphs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
def test_a_model_within_a_graph(model, compiled):
    run = tf.function(lambda ids, mask: model(ids, mask, output_attentions=True), jit_compile=compiled)
    found, expected = run(tf.constant(IDS), tf.constant(MASK)), model(IDS, MASK, output_attentions=True)
    assert type(found) is type(expected)
    assert set(found) == set(expected)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
    np.testing.assert_allclose(found.cross_attentions[0], expected.cross_attentions[0], atol=1e-5)


def test_dropout_is_drawn_by_the_seed():
    one, same, other = (TFPegasusModel(tiny(dropout=0.5, init_std=0.3), seed=seed) for seed in (1, 1, 2))
    first = one(IDS, training=True)[0].numpy()
    np.testing.assert_array_equal(first, same(IDS, training=True)[0])
    assert np.abs(first - one(IDS, training=True)[0].numpy()).max() > 0.1
    assert np.abs(first - one(IDS)[0].numpy()).max() > 0.1
    assert np.abs(first - other(IDS, training=True)[0].numpy()).max() > 0.1


def test_a_skipped_layer_changes_nothing_else():
    model = TFPegasusModel(tiny(encoder_layerdrop=1.0, dropout=0.0))
    states = model.get_encoder()(IDS, output_hidden_states=True, training=True).hidden_states
    assert len(states) == 2
    normed = states[0].numpy() - states[0].numpy().mean(-1, keepdims=True)
    expected = normed / np.sqrt((normed**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(states[1], expected, atol=1e-5)


def test_computing_again_changes_no_gradient():
    found = []
    for again in (False, True):
        model = TFPegasusForConditionalGeneration(tiny(dropout=0.3), seed=5, gradient_checkpointing=again)

        @tf.function
        def slopes(model=model) -> Any:
            with tf.GradientTape() as tape:
                loss = model(IDS, labels=IDS, training=True).loss
            learning = [one.value for one in model.trainable_variables]
            return loss, [
                tf.convert_to_tensor(one) for one in tape.gradient(loss, learning) if one is not None
            ]

        found.append(slopes())
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    assert len(found[0][1]) == len(found[1][1]) > 40
    for one, other in zip(found[0][1], found[1][1]):
        np.testing.assert_allclose(one, other, atol=1e-6)


# -- fit and predict ---------------------------------------------------------------------------------------

TARGETS = np.array([[5, 9, 1], [6, 1, 0]])
MASKED = np.where(TARGETS == 0, -100, TARGETS)


def rows(count: int = 8) -> dict[str, np.ndarray]:
    return {
        "input_ids": np.tile(IDS, (count // 2, 1)),
        "attention_mask": np.tile(MASK, (count // 2, 1)),
        "labels": np.tile(MASKED, (count // 2, 1)),
    }


def test_fit_learns_the_loss_of_the_model():
    """Labels among the inputs, as targets in a dictionary, or alone: the same updates."""
    histories = []
    for form in ("inputs", "dictionary", "targets", "tf.data"):
        model = TFPegasusForConditionalGeneration(tiny(dropout=0.0), seed=3)
        model.compile(keras.optimizers.Adam(0.02), run_eagerly=form != "inputs")
        given = rows()
        labels = given["labels"]
        if form in ("dictionary", "targets"):
            del given["labels"]
        data: Any = {"x": given, "batch_size": 4, "shuffle": False}
        if form == "dictionary":
            data["y"] = {"labels": labels}
        elif form == "targets":
            data["y"] = labels
        elif form == "tf.data":
            data = {"x": tf.data.Dataset.from_tensor_slices(given).batch(4), "shuffle": False}
        epochs = 4 if form == "inputs" else 2
        history = model.fit(**data, epochs=epochs, verbose=0).history["loss"]
        first = TFPegasusForConditionalGeneration(tiny(dropout=0.0), seed=3)(**rows(2)).loss
        assert history[0] < float(first[0]) * 1.1
        histories.append(history)
    assert histories[0][-1] < histories[0][0] - 1
    for other in histories[1:]:
        np.testing.assert_allclose(other, histories[0][:2], rtol=1e-5)


def test_a_pipeline_of_our_loader():
    """A stream goes on in each pass where it stood; sizes of batches differ; fit learns from it."""
    inputs = Rows.join([[5 + row % 9] * (3 + row % 7) for row in range(20)])
    source = PairSource(inputs, Rows.join([[5 + row % 9, 1] for row in range(20)]))
    pipeline, expected = dataset_of(Loader(source, 4, seed=1), steps=3), Loader(source, 4, seed=1)
    for _ in range(2):
        found = list(pipeline.as_numpy_iterator())
        assert len(found) == 3
        for batch in found:
            wanted = next(expected)
            assert batch.keys() == wanted.keys()
            for name, array in batch.items():
                np.testing.assert_array_equal(array, wanted[name])
    model = TFPegasusForConditionalGeneration(tiny(dropout=0.0), seed=3)
    model.compile(keras.optimizers.Adam(0.02))
    history = model.fit(dataset_of(Loader(source, 4), steps=5), epochs=4, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.5


def test_a_loss_and_metrics_of_the_caller():
    """They see labels and logits."""
    model = TFPegasusForConditionalGeneration(tiny(dropout=0.0), seed=3)
    own = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)
    model.compile(keras.optimizers.Adam(0.02), loss=own, metrics=["sparse_categorical_accuracy"])
    history = model.fit(rows(), batch_size=4, epochs=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] / 2
    assert history["sparse_categorical_accuracy"][-1] > history["sparse_categorical_accuracy"][0]
    measured = model.evaluate(rows(), batch_size=8, verbose=0, return_dict=True)
    np.testing.assert_allclose(measured["loss"], float(model(**rows()).loss[0]), rtol=1e-4)
    plain = TFPegasusForConditionalGeneration(tiny())
    plain.compile("sgd")
    with pytest.raises(BadSetting, match="there is no loss"):
        plain.fit({"input_ids": IDS}, verbose=0)


def test_predict(model):
    """Everything that a call answers, joined over batches."""
    found = model.predict(
        {"input_ids": np.tile(IDS, (3, 1)), "decoder_input_ids": np.tile(IDS, (3, 1))}, 2, 0
    )
    expected = model(IDS, decoder_input_ids=IDS)
    np.testing.assert_allclose(found.logits, np.tile(expected.logits, (3, 1, 1)), atol=1e-5)
    assert found.past_key_values[0][0].shape[0] == 6


def test_mixed_precision():
    """Weights stay float32; a loss is learned in both types of 16 bits."""
    for policy in ("mixed_bfloat16", "mixed_float16"):
        model = TFPegasusForConditionalGeneration(tiny(dropout=0.0), seed=3, dtype=policy)
        exact = TFPegasusForConditionalGeneration(tiny(dropout=0.0), seed=3)
        assert {one.dtype for one in model.weights} == {"float32"}
        logits, expected = model(IDS).logits, exact(IDS).logits
        assert logits.dtype == tf.float32
        assert 0 < np.abs(logits.numpy() - expected.numpy()).max() < 0.2
        model.compile(keras.optimizers.Adam(0.02), run_eagerly=True)
        history = model.fit(rows(), batch_size=4, epochs=3, verbose=0).history["loss"]
        assert history[-1] < history[0]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own variables
def test_a_keras_file(model, tmp_path):
    """What Keras keeps beside weights is enough to make the model again."""
    again = type(model).from_config(model.get_config())
    assert again.config.to_dict() == model.config.to_dict()
    model.save_weights(tmp_path / "own.weights.h5")
    again.load_weights(tmp_path / "own.weights.h5")
    np.testing.assert_array_equal(again(IDS).logits, model(IDS).logits)


# -- inference ---------------------------------------------------------------------------------------------


def test_one_graph_for_all_sizes(small):
    """Other lengths, texts and beams trace nothing; what is traced is bounded by the kinds of pass."""
    small.forget_programs()
    small.generate(INPUTS[:2, :9], num_beams=2, max_length=6)
    assert small.programs.traces == 2
    for texts, length, beams, longest in ((1, 9, 1, 5), (3, 17, 4, 40), (4, 23, 3, 70)):
        small.generate(INPUTS[:texts, :length], num_beams=beams, max_length=longest, min_length=longest)
    assert small.programs.traces == 2
    settings = {"penalty_alpha": 0.6, "top_k": 3, "max_length": 6}
    small.generate(INPUTS, **settings)
    before = small.programs.traces
    small.generate(INPUTS[:2], **settings)
    assert small.programs.traces == before <= 3


def test_a_seed_of_tensorflow_rules_sampling(small):
    found = []
    for seed in (4, 4, 5):
        tf.random.set_seed(seed)
        found.append(small.generate(INPUTS, do_sample=True, max_length=12).numpy())
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0].shape != found[2].shape or (found[0] != found[2]).any()


def test_a_function_of_the_callers(small):
    """It gets and returns tensors."""

    def ban(ids: tf.Tensor, scores: tf.Tensor) -> tf.Tensor:
        assert tf.is_tensor(ids)
        assert tf.is_tensor(scores)
        return tf.where(tf.range(scores.shape[1]) == favourite, -np.inf, scores)

    said = small.generate(INPUTS, max_length=8).numpy().ravel()
    favourite = int(np.bincount(said[said > 3]).argmax())
    assert favourite not in small.generate(INPUTS, max_length=8, logits_processor=[ban]).numpy()


def test_what_generate_refuses(small):
    with pytest.raises(NotOffered, match="inputs_embeds"):
        small.generate(inputs_embeds=np.zeros((1, 3, 32), np.float32))


# -- what leaves the process -------------------------------------------------------------------------------

SEARCHES = {
    "greedy": {"num_beams": 1, "max_length": 14},
    "beams": {"num_beams": 4, "max_length": 24, "min_length": 9, "length_penalty": 0.6},
    "early": {"num_beams": 3, "max_length": 16, "early_stopping": True, "num_return_sequences": 2},
    "never": {"num_beams": 3, "max_length": 16, "early_stopping": "never", "suppress_tokens": [17]},
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_within_a_graph_says_the_same(name, small):
    served = Served(small, **SEARCHES[name]).signatures()
    expected = small.generate(INPUTS, **SEARCHES[name]).numpy()
    np.testing.assert_array_equal(served["ids"](tf.constant(INPUTS))["sequences"], expected)


def test_a_saved_model_is_served_by_tensorflow_alone(small, tmp_path):
    small.generation_config.num_beams = 2
    small.save_pretrained(tmp_path, saved_model=True)
    code = (
        "import sys, json, numpy as np, tensorflow as tf\n"
        f"served = tf.saved_model.load({str(tmp_path / 'saved_model' / '1')!r})\n"
        f"ids = tf.constant({INPUTS.tolist()})\n"
        "mask = tf.cast(ids != 0, tf.int32)\n"
        "answer = served.signatures['serving_default'](input_ids=ids, attention_mask=mask)\n"
        "assert 'pegasus' not in sys.modules\nprint(json.dumps(answer['sequences'].numpy().tolist()))"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == small.generate(INPUTS).numpy().tolist()
    small.generation_config.num_beams = 1


def test_what_no_graph_searches(small):
    with pytest.raises(NotOffered, match="NoRepeatedNgrams"):
        Served(small, no_repeat_ngram_size=2)
    with pytest.raises(NotOffered, match="another strategy"):
        Served(small, do_sample=True)
    with pytest.raises(BadSetting, match="colour"):
        Served(small, colour=3)
    with pytest.raises(NotOffered, match="64 bits"):
        to_tflite(small, 8, num_beams=2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the interpreter says that it will move to another package
def test_tflite(small):
    settings = {"max_length": 12, "min_length": 8}
    content = to_tflite(small, INPUTS.shape[1], **settings)
    run = tf.lite.Interpreter(model_content=content).get_signature_runner()
    for ids in INPUTS:
        found = run(input_ids=ids[None], attention_mask=(ids[None] != 0).astype(np.int32))["sequences"]
        np.testing.assert_array_equal(found, small.generate(ids[None], num_beams=1, **settings))
