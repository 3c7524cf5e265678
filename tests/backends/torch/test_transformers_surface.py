"""What code written for transformers asks of models beside calling them: parts, steps, adapters, tools."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from pegasus import (
    PegasusConfig,
    PegasusForCausalLM,
    PegasusForConditionalGeneration,
    PegasusModel,
    PegasusPreTrainedModel,
)
from pegasus.backends.torch.compatibility.caches import memory_of
from pegasus.backends.torch.model.activations import ACTIVATIONS
from pegasus.errors import BadSetting, UnsupportedArgument
from pegasus.generation.beam_scorers import BeamSearchScorer, ConstrainedBeamSearchScorer
from pegasus.generation.constraints import PhrasalConstraint
from pegasus.generation.stopping import MaxLengthCriteria, StoppingCriteriaList
from pegasus.spec.config_fields import ACTIVATIONS as NAMES

SIZES = {
    "vocab_size": 60, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "max_position_embeddings": 32, "init_std": 0.6, "forced_eos_token_id": None,
}  # fmt: skip
START = torch.zeros(3, 1, dtype=torch.long)
LENGTH = 12


@pytest.fixture
def model():
    torch.manual_seed(1)
    return PegasusForConditionalGeneration(PegasusConfig(**SIZES)).eval()


@pytest.fixture
def ids():
    return torch.randint(4, 60, (3, 7), generator=torch.Generator().manual_seed(2))


def encoded(model, ids, copies=1):
    output = model.get_encoder()(ids, return_dict=True)
    output["last_hidden_state"] = output.last_hidden_state.repeat_interleave(copies, 0)
    return output


def lengths():
    return StoppingCriteriaList([MaxLengthCriteria(LENGTH)])


class TestSearches:
    def test_greedy(self, model, ids):
        found = model.greedy_search(START, encoder_outputs=encoded(model, ids), stopping_criteria=lengths())
        assert found.tolist() == model.generate(ids, max_length=LENGTH).tolist()

    def test_the_older_way_to_say_a_length(self, model, ids):
        with pytest.warns(FutureWarning, match="MaxLengthCriteria"):
            found = model.greedy_search(START, encoder_outputs=encoded(model, ids), max_length=5)
        assert found.shape[1] == 5

    def test_sampling_draws_what_generate_draws(self, model, ids):
        def keep_best(tokens, scores):
            return scores.masked_fill(scores < scores.topk(10, dim=1).values[:, -1:], -torch.inf)

        torch.manual_seed(0)
        expected = model.generate(ids, do_sample=True, top_k=10, max_length=LENGTH)
        torch.manual_seed(0)
        found = model.sample(
            START,
            encoder_outputs=encoded(model, ids),
            logits_warper=[keep_best],
            stopping_criteria=lengths(),
        )
        assert found.tolist() == expected.tolist()

    def test_beams(self, model, ids):
        settings = {"num_beams": 4, "length_penalty": 1.5, "num_return_sequences": 2}
        records = {"return_dict_in_generate": True, "output_scores": True, "output_attentions": True}
        expected = model.generate(ids, max_length=LENGTH, **settings, **records)
        scorer = BeamSearchScorer(3, 4, length_penalty=1.5, num_beam_hyps_to_keep=2)
        found = model.beam_search(
            START.repeat_interleave(4, 0), scorer, encoder_outputs=encoded(model, ids, 4),
            stopping_criteria=lengths(), **records,
        )  # fmt: skip
        assert type(found) is type(expected)
        assert found.sequences.tolist() == expected.sequences.tolist()
        assert found.beam_indices.tolist() == expected.beam_indices.tolist()
        torch.testing.assert_close(found.sequences_scores, expected.sequences_scores)
        for step in range(len(expected.scores)):
            torch.testing.assert_close(found.scores[step], expected.scores[step])

    def test_groups(self, model, ids):
        class Diverse:
            def __call__(self, tokens, scores, current_tokens, beam_group_idx):
                for text in range(3):
                    taken = current_tokens[text * 4 : text * 4 + 2 * beam_group_idx]
                    counts = torch.bincount(taken, minlength=60)
                    scores[text * 2 : text * 2 + 2] -= 0.8 * counts
                return scores

        expected = model.generate(
            ids, max_length=LENGTH, num_beams=4, num_beam_groups=2, diversity_penalty=0.8,
            num_return_sequences=4,
        )  # fmt: skip
        found = model.group_beam_search(
            START.repeat_interleave(4, 0),
            BeamSearchScorer(3, 4, num_beam_groups=2, num_beam_hyps_to_keep=4),
            logits_processor=[Diverse()],
            encoder_outputs=encoded(model, ids, 4),
            stopping_criteria=lengths(),
        )  # fmt: skip
        assert found.tolist() == expected.tolist()

    def test_constraints(self, model, ids):
        scorer = ConstrainedBeamSearchScorer(3, 4, [PhrasalConstraint([9, 11])])
        found = model.constrained_beam_search(
            START.repeat_interleave(4, 0), scorer, encoder_outputs=encoded(model, ids, 4),
            stopping_criteria=lengths(),
        )  # fmt: skip
        expected = model.generate(ids, max_length=LENGTH, num_beams=4, force_words_ids=[[9, 11]])
        assert found.tolist() == expected.tolist()

    def test_contrastive_and_assisted(self, model, ids):
        one = {"encoder_outputs": encoded(model, ids[:1]), "stopping_criteria": lengths()}
        found = model.contrastive_search(START[:1], top_k=5, penalty_alpha=0.6, **one)
        expected = model.generate(ids[:1], max_length=LENGTH, top_k=5, penalty_alpha=0.6)
        assert found.tolist() == expected.tolist()
        found = model.assisted_decoding(START[:1], model, **one)
        assert found.tolist() == model.generate(ids[:1], max_length=LENGTH).tolist()

    def test_without_the_encoder(self, model):
        with pytest.raises(BadSetting, match="the encoder has not run: pass encoder_outputs"):
            model.greedy_search(START)

    def test_labels_are_left_alone(self, model, ids):
        """Trainers hand whole batches over."""
        plain = model.generate(ids, max_length=6)
        assert model.generate(ids, labels=ids, synced_gpus=False, max_length=6).tolist() == plain.tolist()


def test_steps_by_hand(model, ids):
    states, memory, said = encoded(model, ids), None, START
    for _ in range(5):
        inputs = model.prepare_inputs_for_generation(
            said, past_key_values=memory, encoder_outputs=states, use_cache=True
        )
        output = model(**inputs)
        memory, best = output.past_key_values, output.logits[:, -1].argmax(-1)
        said = torch.cat([said, best[:, None]], dim=1)
    assert said.tolist() == model.generate(ids, max_length=6, eos_token_id=None).tolist()


def test_what_a_subclass_prepares_is_used(ids):
    class Deaf(PegasusForConditionalGeneration):
        """Hides all but the first token of the source from the decoder."""

        def prepare_inputs_for_generation(self, *args, **kwargs):
            made = super().prepare_inputs_for_generation(*args, **kwargs)
            mask = torch.zeros(made["encoder_outputs"][0].shape[:2], dtype=torch.long)
            mask[:, 0] = 1
            return {**made, "attention_mask": mask}

    torch.manual_seed(1)
    model = Deaf(PegasusConfig(**SIZES)).eval()
    plain = PegasusForConditionalGeneration(model.config).eval()
    plain.load_state_dict(model.state_dict())
    states = encoded(plain, ids)
    mask = torch.zeros_like(ids)
    mask[:, 0] = 1
    for settings in ({}, {"num_beams": 3}):
        expected = plain.generate(
            encoder_outputs=states, attention_mask=mask, max_length=LENGTH, **settings
        )
        assert model.generate(ids, max_length=LENGTH, **settings).tolist() == expected.tolist()
    assert plain.generate(ids, max_length=LENGTH).tolist() != expected.tolist()


class TestLoading:
    def test_a_state_dict_in_place_of_files(self, model, tmp_path):
        again = PegasusForConditionalGeneration.from_pretrained(
            None, config=model.config, state_dict=model.state_dict()
        )
        for name, tensor in model.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor), name

    def test_a_subclass_with_a_head_of_its_own(self, model, tmp_path, caplog):
        class Classifier(PegasusPreTrainedModel):
            def __init__(self, config):
                super().__init__(config)
                self.model = PegasusModel(config)
                self.classifier = torch.nn.Linear(config.d_model, 3)
                self.post_init()

        model.save_pretrained(tmp_path / "a")
        made, info = Classifier.from_pretrained(tmp_path / "a", output_loading_info=True)
        assert sorted(info["missing_keys"]) == ["classifier.bias", "classifier.weight"]
        assert info["unexpected_keys"] == ["final_logits_bias"]
        assert torch.equal(made.model.shared.weight, model.model.shared.weight)
        assert not made.classifier.bias.any()
        made.save_pretrained(tmp_path / "b")
        again, info = Classifier.from_pretrained(tmp_path / "b", output_loading_info=True)
        assert info["missing_keys"] == []
        assert torch.equal(again.classifier.weight, made.classifier.weight)

    def test_one_device(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        for place in ("cpu", {"": "cpu"}, torch.device("cpu")):
            loaded = PegasusForConditionalGeneration.from_pretrained(tmp_path, device_map=place)
            assert loaded.hf_device_map == {"": place if not isinstance(place, dict) else "cpu"}
        with pytest.raises(BadSetting, match="device_map='moon'"):
            PegasusForConditionalGeneration.from_pretrained(tmp_path, device_map="moon")

    def test_the_base_model_alone(self, model, tmp_path):
        model.base_model.save_pretrained(tmp_path)
        _, info = PegasusForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert info["missing_keys"] == []
        assert model.base_model is model.model
        assert model.model.base_model is model.model


def test_weights_are_tied_and_counted():
    model = PegasusForConditionalGeneration(PegasusConfig(**SIZES))
    footprint = model.get_memory_footprint()
    assert footprint - model.get_memory_footprint(return_buffers=False) == 60 * 4
    assert footprint == 4 * (model.num_parameters() + 60)
    traceable = PegasusForConditionalGeneration(PegasusConfig(**SIZES, torchscript=True))
    assert traceable.lm_head.weight is not traceable.model.shared.weight
    assert torch.equal(traceable.lm_head.weight, traceable.model.shared.weight)


def test_a_configuration_turns_checkpointing_on_once():
    model = PegasusModel(PegasusConfig(**SIZES, gradient_checkpointing=True))
    assert model.is_gradient_checkpointing
    assert not model.config.gradient_checkpointing
    with pytest.raises(UnsupportedArgument, match="offload"):
        model.gradient_checkpointing_enable(offload=True)


def test_embeddings_ask_for_gradients_beside_frozen_weights(ids):
    model = PegasusForCausalLM(PegasusConfig(**SIZES)).requires_grad_(False)
    assert not model(ids).logits.requires_grad
    model.enable_input_require_grads()
    assert model(ids).logits.requires_grad
    model.disable_input_require_grads()
    assert not model(ids).logits.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_computes(name, ids):
    assert set(ACTIVATIONS) == set(NAMES)
    model = PegasusForCausalLM(PegasusConfig(**SIZES, activation_function=name))
    assert model(ids).logits.isfinite().all()


def test_pickles_and_copies(model, ids):
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert type(again) is PegasusForConditionalGeneration
        assert again.lm_head.weight is again.model.shared.weight
        assert torch.equal(again.generate(ids, max_length=5), model.generate(ids, max_length=5))


def test_memories_of_later_versions():
    class Layer:
        def __init__(self, value):
            self.keys = self.values = None if value is None else torch.full((1, 2, 3, 4), float(value))

    class Cache:
        def __init__(self, *values):
            self.layers = [Layer(value) for value in values]

    class Both:
        self_attention_cache, cross_attention_cache = Cache(1, 2), Cache()

    assert memory_of(None) is memory_of(()) is memory_of(Cache()) is memory_of(Cache(None)) is None
    layers = memory_of(Both())
    assert [len(layer) for layer in layers] == [2, 2]
    Both.cross_attention_cache = Cache(3, 4)
    assert [float(layer[3][0, 0, 0, 0]) for layer in memory_of(Both())] == [3, 4]


class TestIds:
    def test_lists_and_arrays(self, model, ids):
        expected = model(input_ids=ids, decoder_input_ids=ids[:, :3]).logits
        for kind in (ids.tolist(), ids.numpy(), ids.int()):
            torch.testing.assert_close(model(input_ids=kind, decoder_input_ids=ids[:, :3]).logits, expected)

    def test_beyond_the_table(self, model, ids):
        with pytest.raises(IndexError, match=r"the model knows the tokens 0 to 59: take the tokenizer"):
            model(input_ids=ids * 50, decoder_input_ids=ids)


class TestLoopsOfOnesOwn:
    def test_rows_for_beams(self, model, ids):
        states = encoded(model, ids)
        rows, rest = model._expand_inputs_for_generation(
            2, True, input_ids=START, attention_mask=ids.ne(0), encoder_outputs=states, use_cache=True
        )
        assert rows.shape == (6, 1)
        assert rest["use_cache"] is True
        for row in range(6):
            assert torch.equal(rest["encoder_outputs"][0][row], states[0][row // 2])
            assert torch.equal(rest["attention_mask"][row], ids[row // 2].ne(0))
        with pytest.raises(BadSetting, match="encoder_outputs"):
            model._expand_inputs_for_generation(2, True, input_ids=START)

    def test_greedy_by_hand(self, model, ids):
        kwargs = {"encoder_outputs": encoded(model, ids), "attention_mask": ids.ne(0).long()}
        said = START
        with torch.no_grad():
            for _ in range(LENGTH - 1):
                output = model(**model.prepare_inputs_for_generation(said, use_cache=True, **kwargs))
                said = torch.cat([said, output.logits[:, -1:].argmax(-1)], dim=1)
                kwargs = model._update_model_kwargs_for_generation(output, kwargs, is_encoder_decoder=True)
        wanted = model.generate(ids, attention_mask=ids.ne(0).long(), max_length=LENGTH, eos_token_id=None)
        assert said.tolist() == wanted.tolist()

    def test_a_body_says_that_it_has_no_head(self, model):
        with pytest.raises(NotImplementedError, match="PegasusModel has no language-modelling head"):
            model.model.prepare_inputs_for_generation(START)

    def test_what_trainers_note(self, model):
        assert model.warnings_issued == {}
        model.warnings_issued["estimate_tokens"] = True
        assert model.warnings_issued == {"estimate_tokens": True}
