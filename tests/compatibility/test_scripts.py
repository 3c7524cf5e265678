"""What scripts for transformers import beside its models, against answers recorded from 4.34.0."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pegasus
from pegasus import (
    Adafactor,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    LogitsProcessor,
    LogitsProcessorList,
    PegasusConfig,
    PegasusForConditionalGeneration,
    get_scheduler,
    pipeline,
    set_seed,
)
from pegasus.errors import BadData, BadSetting, NotOffered, UnsupportedArgument

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "scripts.json").read_text(encoding="utf-8"))
SMALL = {"vocab_size": 40, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
SMALL |= {"decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}


@pytest.fixture(scope="module")
def mini():
    """The bundled model in the types that the golden file was made with."""
    model = AutoModelForSeq2SeqLM.from_pretrained("pegasus-mini", torch_dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained("pegasus-mini")


def rows(part: str, *names: str) -> list[Any]:
    content = GOLDEN[part]
    return list(zip(*(content[name] for name in names)))


def plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("made", "answer"), rows("processors", "made", "answers"), ids=lambda x: str(x)[:50]
)
def test_processors(made: list, answer: list) -> None:
    name, arguments = made
    content = GOLDEN["processors"]
    given = [
        torch.tensor(content["source"]) if argument == "source" else argument for argument in arguments
    ]
    scores = torch.tensor(content["scores"])
    before = scores.clone()
    found = getattr(pegasus, name)(*given)(torch.tensor(content["tokens"]), scores)
    wanted = torch.tensor([[float(number) for number in row] for row in answer])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(scores, before)


def test_processors_without_a_recorded_answer() -> None:
    tokens, scores = torch.tensor([[0, 3, 4], [0, 4, 3]]), torch.zeros(2, 6)
    bias = pegasus.SequenceBiasLogitsProcessor({(5,): 2.0, (3, 4, 1): -1.5, (4, 3, 2): 0.5})
    assert bias(tokens, scores).tolist() == [[0, -1.5, 0, 0, 0, 2], [0, 0, 0.5, 0, 0, 2]]
    only = pegasus.PrefixConstrainedLogitsProcessor(lambda text, row: [int(row[-1]), 5], 2)
    assert torch.isfinite(only(tokens, scores)).nonzero().tolist() == [[0, 4], [0, 5], [1, 3], [1, 5]]
    apart = pegasus.HammingDiversityLogitsProcessor(0.5, 2, 2)
    chosen = torch.tensor([3, 0, 4, 0])
    assert apart(tokens, scores, chosen, 0) is scores
    several = LogitsProcessorList([apart, pegasus.SuppressTokensLogitsProcessor([5])])
    found = several(tokens, scores, current_tokens=chosen, beam_group_idx=1)
    assert found[0].tolist() == [0, 0, 0, -0.5, 0, -np.inf]
    assert found[1].tolist() == [0, 0, 0, 0, -0.5, -np.inf]
    with pytest.raises(NotImplementedError, match="subclass"):
        LogitsProcessor()(tokens, scores)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MinLengthLogitsProcessor", (-1, 1)), ("TemperatureLogitsWarper", (0.0,)),
        ("RepetitionPenaltyLogitsProcessor", ("2",)), ("TopKLogitsWarper", (0,)),
        ("TopPLogitsWarper", (1.5,)),
        ("EtaLogitsWarper", (1.0,)), ("NoRepeatNGramLogitsProcessor", (0,)),
        ("SequenceBiasLogitsProcessor", ({3: 1.0},)), ("HammingDiversityLogitsProcessor", (1.0, 4, 1)),
    ],
)  # fmt: skip
def test_processors_refuse_what_makes_no_sense(name: str, arguments: tuple) -> None:
    with pytest.raises(BadSetting):
        getattr(pegasus, name)(*arguments)


def test_processors_in_generate(mini) -> None:
    model, tokenizer = mini
    inputs = tokenizer(["The river rose. The bridge was closed, and the school too."], return_tensors="pt")
    settings = {"max_length": 14, "num_beams": 3, "do_sample": False}
    wanted = model.generate(**inputs, **settings, no_repeat_ngram_size=2, min_length=10)
    processors = LogitsProcessorList([
        pegasus.NoRepeatNGramLogitsProcessor(2), pegasus.MinLengthLogitsProcessor(10, 1),
    ])  # fmt: skip
    settings |= {"no_repeat_ngram_size": 0, "min_length": 0}
    assert torch.equal(model.generate(**inputs, **settings, logits_processor=processors), wanted)


@pytest.mark.parametrize(
    ("made", "answer"), rows("schedules", "made", "answers"), ids=lambda x: str(x)[:50]
)
def test_schedules(made: list, answer: list) -> None:
    name, steps = made
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = get_scheduler(name, optimizer, **steps)
    rates = []
    for _ in answer:
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(answer, abs=1e-12)


def test_schedules_refuse_what_is_missing() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-8)
    with pytest.raises(BadSetting, match="num_training_steps"):
        get_scheduler("linear", optimizer, num_warmup_steps=1)
    with pytest.raises(BadSetting, match="no schedule 'square'"):
        get_scheduler("square", optimizer)
    with pytest.raises(BadSetting, match="lr_end"):
        get_scheduler("polynomial", optimizer, 1, 2)


def after_steps(optimizer: torch.optim.Optimizer, part: str, answer: list) -> None:
    """The weights are those that transformers had."""
    weights = optimizer.param_groups[0]["params"]
    for step in GOLDEN[part]["gradients"]:
        for weight, gradient in zip(weights, step):
            weight.grad = torch.tensor(gradient)
        optimizer.step()
    for weight, wanted in zip(weights, answer):
        torch.testing.assert_close(weight.data, torch.tensor(wanted), rtol=1e-5, atol=1e-6)


def parameters(part: str) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.tensor(weight)) for weight in GOLDEN[part]["weights"]]


@pytest.mark.parametrize(
    ("made", "answer"), rows("adafactor", "made", "answers"), ids=lambda x: str(x)[:50]
)
def test_adafactor(made: dict, answer: list) -> None:
    after_steps(Adafactor(parameters("adafactor"), **made), "adafactor", answer)


@pytest.mark.parametrize(("made", "answer"), rows("adamw", "made", "answers"), ids=lambda x: str(x)[:50])
def test_adamw(made: dict, answer: list) -> None:
    with pytest.warns(FutureWarning, match=r"torch\.optim\.AdamW"):
        optimizer = pegasus.AdamW(parameters("adamw"), **made)
    after_steps(optimizer, "adamw", answer)


def test_adamw_goes_on_from_its_state() -> None:
    """Saved after two steps and loaded into another, as trainers do; the closure's loss is handed on."""
    whole, saved, again = (
        pegasus.AdamW(parameters("adamw"), no_deprecation_warning=True) for _ in range(3)
    )

    def steps(optimizer: torch.optim.Optimizer, which: list) -> Any:
        for step in which:
            weights = optimizer.param_groups[0]["params"]
            for weight, gradient in zip(weights, step):
                weight.grad = torch.tensor(gradient)
            loss = optimizer.step(lambda: torch.tensor(3.0))
        return loss

    gradients = GOLDEN["adamw"]["gradients"]
    assert steps(whole, gradients) == 3
    steps(saved, gradients[:2])
    again.load_state_dict(saved.state_dict())
    for weight, value in zip(again.param_groups[0]["params"], saved.param_groups[0]["params"]):
        weight.data = value.data.clone()
    steps(again, gradients[2:])
    for one, other in zip(whole.param_groups[0]["params"], again.param_groups[0]["params"]):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"betas": (1.0, 0.9)}, {"betas": (0.9, -0.1)}, {"eps": -1}]
)
def test_adamw_refuses_what_makes_no_sense(wrong: dict) -> None:
    with pytest.raises(BadSetting):
        pegasus.AdamW(parameters("adamw"), no_deprecation_warning=True, **wrong)


def test_adafactor_refuses_contradictions() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2))]
    for settings in (
        {"lr": 1e-3},
        {"relative_step": False},
        {"lr": 1.0, "relative_step": False, "warmup_init": True},
    ):
        with pytest.raises(BadSetting):
            Adafactor(weights, **settings)


@pytest.mark.parametrize(
    ("made", "answer"), rows("collators", "made", "answers"), ids=lambda x: str(x)[:50]
)
def test_collators(made: dict, answer: dict, mini) -> None:
    model, tokenizer = mini
    features = [dict(example) for example in GOLDEN["collators"]["features"]]
    found = DataCollatorForSeq2Seq(tokenizer, model=model, **made)(features)
    assert plain(found.data) == answer
    assert features == GOLDEN["collators"]["features"]  # the examples stay


def test_collators_take_arrays_and_refuse_halves(mini) -> None:
    _, tokenizer = mini
    collate = DataCollatorForSeq2Seq(tokenizer, return_tensors="np")
    found = collate([{"input_ids": [5, 1], "labels": np.array([7, 1])}, {"input_ids": [5], "labels": [1]}])
    assert found["labels"].tolist() == [[7, 1], [1, -100]]
    assert isinstance(found["input_ids"], np.ndarray)
    assert "labels" not in collate([{"input_ids": [5]}])
    with pytest.raises(BadData, match="1 of 2"):
        collate([{"input_ids": [5], "labels": [1]}, {"input_ids": [5]}])
    with pytest.raises(BadData, match="no examples"):
        collate([])


@pytest.mark.parametrize(
    ("call", "answer"), rows("pipelines", "calls", "answers"), ids=lambda x: str(x)[:30]
)
def test_pipelines(call: list, answer: list, mini) -> None:
    model, tokenizer = mini
    task, texts, settings = call
    found = pipeline(task, model=model, tokenizer=tokenizer)(texts, **settings)
    assert plain(found) == answer


def test_a_pipeline_over_a_stream(mini) -> None:
    model, tokenizer = mini
    summarize = pipeline(model=model, tokenizer=tokenizer, batch_size=2, max_length=8)
    texts = ["The river rose. It fell.", "A dog ran.", "The school burned down. Nobody was hurt."]
    taken: list[str] = []

    def source():
        for text in texts:
            taken.append(text)
            yield text

    stream = summarize(source())
    first = next(stream)
    assert len(taken) == 2  # no further than a batch
    assert [first[0], *(one[0] for one in stream)] == summarize(texts, batch_size=1)


def test_a_pipeline_tells_of_odd_lengths(mini, caplog: pytest.LogCaptureFixture) -> None:
    model, tokenizer = mini
    summarize = pipeline("summarization", model=model, tokenizer=tokenizer)
    with caplog.at_level(logging.WARNING):
        summarize("A dog ran.", max_length=12, min_length=1)
        assert "max_length=12, and the longest text has" in caplog.text
        caplog.clear()
        summarize("A dog ran.", max_length=3, min_length=5)
        assert "min_length=5 is above max_length=3" in caplog.text
        caplog.clear()
        summarize("A dog ran.", max_length=None, min_length=0, max_new_tokens=3)
        assert not caplog.records


def test_a_pipeline_from_a_name_and_what_it_refuses(mini) -> None:
    made = pipeline("summarization", "pegasus-mini", device=-1, torch_dtype="float32", max_length=6)
    assert made("The river rose.")[0].keys() == {"summary_text"}
    model, tokenizer = mini
    with pytest.raises(NotOffered, match="'translation'"):
        pipeline("translation", "pegasus-mini")
    with pytest.raises(BadSetting, match="tokenizer"):
        pipeline("summarization", model)
    with pytest.raises(UnsupportedArgument, match="device=0"):
        pipeline("summarization", "pegasus-mini", device_map="auto")
    with pytest.raises(NotOffered, match="'tf'"):
        pipeline("summarization", model, tokenizer=tokenizer, framework="tf")
    with pytest.raises(BadData, match="int"):
        made(["a text", 3])


def test_the_classes_that_find_classes(tmp_path: Path) -> None:
    config = AutoConfig.for_model("pegasus", **SMALL)
    kinds = {AutoModel: "PegasusModel", AutoModelForSeq2SeqLM: "PegasusForConditionalGeneration"}
    for auto, name in {**kinds, AutoModelForCausalLM: "PegasusForCausalLM"}.items():
        assert type(auto.from_config(config)).__name__ == name
        with pytest.raises(TypeError, match="from_pretrained"):
            auto()
        with pytest.raises(BadSetting, match="knows PegasusConfig, not dict"):
            auto.from_config({})
    PegasusForConditionalGeneration(config).save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, trust_remote_code=False)
    assert isinstance(loaded, PegasusForConditionalGeneration)
    found = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(found, PegasusConfig)
    assert found.d_model == 16
    with pytest.raises(NotOffered, match="'bart'"):
        AutoConfig.for_model("bart")


def test_one_seed_for_all() -> None:
    def draw() -> tuple[float, float, float]:
        set_seed(7)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    assert draw() == draw()
