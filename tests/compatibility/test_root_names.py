"""Scripts that lead a search themselves, or ask what something is, import all they need from the root."""

from __future__ import annotations

import pytest

import pegasus
from pegasus import PegasusConfig, PegasusForCausalLM, PegasusForConditionalGeneration, PegasusModel

torch = pytest.importorskip("torch")

RECORDS = {
    "GreedySearch": {},
    "Sample": {"do_sample": True},
    "BeamSearch": {"num_beams": 2},
    "BeamSample": {"num_beams": 2, "do_sample": True},
    "ContrastiveSearch": {"penalty_alpha": 0.6, "top_k": 3},
}
TEXTS = torch.tensor([[5, 9, 4], [7, 3, 8]])


def small(cls=PegasusForConditionalGeneration):
    torch.manual_seed(0)
    config = PegasusConfig(
        vocab_size=99, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=4, decoder_ffn_dim=4, max_position_embeddings=20,
        eos_token_id=None, forced_eos_token_id=None,
    )  # fmt: skip
    return cls(config).eval()


@pytest.mark.parametrize("cls", [PegasusForConditionalGeneration, PegasusForCausalLM])
@pytest.mark.parametrize("search", RECORDS)
def test_records_of_generate_are_classes_of_the_root(cls, search):
    found = small(cls).generate(TEXTS, max_length=6, return_dict_in_generate=True, **RECORDS[search])
    kind = "EncoderDecoder" if cls is PegasusForConditionalGeneration else "DecoderOnly"
    assert type(found) is getattr(pegasus, f"{search}{kind}Output")
    assert isinstance(found, pegasus.ModelOutput)


def repeated(model, beams):
    states = model.get_encoder()(TEXTS)
    assert isinstance(states, pegasus.BaseModelOutput)
    rows = states.last_hidden_state.repeat_interleave(beams, 0)
    start = torch.full((len(rows), 1), model.config.decoder_start_token_id)
    return start, pegasus.BaseModelOutput(last_hidden_state=rows)


def longest(length):
    return pegasus.StoppingCriteriaList([pegasus.MaxLengthCriteria(max_length=length)])


def test_a_beam_search_with_a_scorer():
    model = small()
    start, states = repeated(model, 3)
    scorer = pegasus.BeamSearchScorer(batch_size=2, num_beams=3, device="cpu", num_beam_hyps_to_keep=2)
    assert isinstance(scorer, pegasus.BeamScorer)
    found = model.beam_search(start, scorer, stopping_criteria=longest(7), encoder_outputs=states)
    assert torch.equal(found, model.generate(TEXTS, num_beams=3, num_return_sequences=2, max_length=7))


def test_a_constrained_search_with_a_scorer():
    model = small()
    start, states = repeated(model, 4)
    wanted = [pegasus.PhrasalConstraint([5, 6])]
    scorer = pegasus.ConstrainedBeamSearchScorer(
        batch_size=2, num_beams=4, device="cpu", constraints=wanted
    )
    found = model.constrained_beam_search(
        start, scorer, stopping_criteria=longest(8), encoder_outputs=states
    )
    assert torch.equal(found, model.generate(TEXTS, num_beams=4, constraints=wanted, max_length=8))


@pytest.mark.parametrize("cls", [PegasusModel, PegasusForConditionalGeneration, PegasusForCausalLM])
def test_models_and_configurations_are_of_the_general_classes(cls):
    model = small(cls)
    assert isinstance(model, pegasus.PreTrainedModel)
    assert isinstance(model, pegasus.GenerationMixin)
    assert isinstance(model.config, pegasus.PretrainedConfig)


@pytest.mark.parametrize("fast", [False, True])
def test_tokenizers_are_of_the_general_classes(fast):
    tokenizer = pegasus.AutoTokenizer.from_pretrained("pegasus-mini", use_fast=fast)
    assert isinstance(tokenizer, pegasus.PreTrainedTokenizerBase)
    assert isinstance(tokenizer, pegasus.PreTrainedTokenizerFast) is fast
    assert isinstance(tokenizer, pegasus.PreTrainedTokenizer) is not fast
    assert tokenizer.add_tokens([pegasus.AddedToken("<new>", lstrip=True)]) == 1
    assert tokenizer.tokenize("We <new>")[-1] == "<new>"


def test_errors_that_such_scripts_catch(tmp_path):
    model = small()
    model.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="do not fit"):
        PegasusForConditionalGeneration.from_pretrained(tmp_path, vocab_size=10)
    with pytest.raises(TypeError, match="does not know `fooo`"):
        PegasusForConditionalGeneration.from_pretrained(tmp_path, fooo=1)
    with pytest.raises(ValueError, match="fooo"):
        model.generate(TEXTS, fooo=1)
