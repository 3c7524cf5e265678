"""Lengths and sizes end at what the text, the model and the machine can hold, in words."""

from __future__ import annotations

import math
import resource
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pegasus import Summarizer
from pegasus.errors import BadSetting
from pegasus.spec.config import PegasusConfig
from pegasus.summarizer import Settings
from pegasus.summarizer.lengths import Budget
from pegasus.summarizer.limits import free_memory, most_texts

ARTICLE = (Path(__file__).resolve().parents[2] / "examples" / "zebras.txt").read_text(encoding="utf-8")
HUGE = pytest.param(10**5000, id="huge")


@pytest.mark.parametrize(
    "name", ["sentences", "num_beams", "batch_size", "batch_tokens", "max_input_tokens"]
)
@pytest.mark.parametrize("value", [-3, 0, True, 1.5, math.nan, math.inf, "4", [4], Fraction(4), b"4", HUGE])
def test_whole_numbers_are_whole_and_of_a_size(name, value) -> None:
    with pytest.raises(BadSetting, match=f"^{name} must be (a whole number|at most)"):
        Settings(**{name: value})


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3), np.array(3)])
def test_whole_numbers_of_numpy_are_taken(value) -> None:
    settings = Settings(num_beams=value, sentences=value, length=value)
    assert (type(settings.num_beams), settings.num_beams) == (int, 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", True, 1e308, -101, [1.0], 1j])
def test_a_length_penalty_is_a_number_that_lengths_can_be_raised_to(value) -> None:
    with pytest.raises(BadSetting, match="length_penalty must be a number between -100 and 100"):
        Settings(length_penalty=value)


@pytest.mark.parametrize(
    "value", [-1, 0, True, False, math.nan, 80.0, HUGE, [80], "8O", "80.5", "٨٠", "", b"80"]
)
def test_lengths_without_sense_are_refused(value) -> None:
    with pytest.raises(BadSetting, match="is no length: use short, medium, long"):
        Settings(length=value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_beams": 65}, "num_beams must be at most 64; found 65"),
        ({"retry_repetition": "no"}, "retry_repetition must be True or False; found 'no'"),
        ({"explain": 1}, "explain must be True or False"),
        ({"check": None}, "check must be True or False"),
        ({"long": ["chunk"]}, r"long=\['chunk'\] is not known"),
        ({"long": "x" * 10_000}, "x…"),
        ({"generate": ["do_sample"]}, "generate must be a dictionary"),
        ({"generate": {1: 2}}, "generate must be a dictionary"),
        ({"generate": {"max_new_tokens": 2.5}}, "generate's max_new_tokens must be a whole number"),
        ({"generate": {"num_beams": 5000}}, "generate's num_beams must be at most 64"),
    ],
)
def test_other_settings_are_what_they_say(settings, said) -> None:
    with pytest.raises(BadSetting, match=said):
        Settings(**settings)


@pytest.mark.parametrize("length", [30, 5_000, 999_999_999, "400"])
def test_a_summary_is_not_asked_to_be_longer_than_its_text(summarizer, writer, length) -> None:
    summary = summarizer("word " * 20, length=length)
    assert writer.batches[0][0].budget == Budget(0, 21)
    (told,) = [warning for warning in summary.warnings if warning.startswith("length:")]
    assert told.startswith(f"length: {int(length):,} words were asked for of a text of 20: it was not")


def test_words_such_as_long_are_capped_without_a_word(summarizer, writer) -> None:
    writer.usual = Budget(0, 100)
    summary = summarizer("word " * 20, length="long")
    assert writer.batches[0][0].budget == Budget(0, 21)
    assert not [warning for warning in summary.warnings if warning.startswith("length:")]


def test_a_summary_is_not_asked_to_be_longer_than_the_model_writes(summarizer, writer) -> None:
    for how in ("truncate", "extend"):
        summary = summarizer("word " * 100, length=60, long=how)
        assert writer.batches[-1][0].budget == Budget(0, 32)
        assert (
            "length: 60 words were asked for: this model writes at most 32 tokens at once"
            in summary.warnings
        )


def test_pieces_together_may_be_longer_than_one(summarizer, writer) -> None:
    summarizer("Some words here. " * 33, length=90)
    assert len(writer.batches[0]) == 4
    assert {job.budget.most for job in writer.batches[0]} == {22}
    summarizer("Some words here. " * 33, length=100_000)
    assert all(job.budget.most <= len(job.tokens) for job in writer.batches[-1])


def test_sentences_are_not_asked_for_without_end(summarizer, writer) -> None:
    writer.limit, writer.usual = 400, Budget(0, 100)
    summary = summarizer("One two three. Four five six.", sentences=10_000)
    assert all(job.budget is None or job.budget.most <= 8 for batch in writer.batches for job in batch)
    assert any(warning.startswith("sentences: 10000 asked for") for warning in summary.warnings)


# -- the machine -------------------------------------------------------------------------------------------

LARGE = PegasusConfig(
    d_model=1024, encoder_layers=16, decoder_layers=16, vocab_size=96_103, encoder_ffn_dim=4096
)


def test_fewer_texts_are_computed_together_where_memory_is_short(summarizer, writer) -> None:
    writer.fitting = 3
    summarizer(["A b c d."] * 10, batch_size=10**9, batch_tokens=10**9)
    assert [len(batch) for batch in writer.batches] == [3, 3, 3, 1]


def test_what_fits_follows_from_the_model_its_lengths_and_the_memory() -> None:
    fitting = most_texts(LARGE, 1024, 256, 8, free=100 * 10**9)
    assert 50 < fitting < 500
    assert most_texts(LARGE, 1024, 256, 16, free=100 * 10**9) < fitting
    assert most_texts(LARGE, 1024, 512, 8, free=100 * 10**9) < fitting
    assert most_texts(LARGE, 8192, 256, 8, free=100 * 10**9) < fitting
    assert fitting // 2 in (most_texts(LARGE, 1024, 256, 8, free=50 * 10**9) + n for n in (-1, 0, 1))
    with pytest.raises(
        BadSetting, match=r"64 beams of 1,024 tokens needs about 17.\d GB and 4.0 GB are free"
    ):
        most_texts(LARGE, 1024, 1024, 64, free=4 * 10**9)
    with pytest.raises(
        BadSetting, match=r"The checkpoint says num_beams 1,000,000: set num_beams, to at most 64"
    ):
        most_texts(LARGE, 64, 64, 10**6, free=10**12)


def test_free_memory_heeds_the_limit_of_the_process() -> None:
    free = free_memory()
    assert free is None or free > 10**6
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not say how large a process is")
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 300 * 2**20, before[1]))
    try:
        assert free_memory() <= 300 * 2**20
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def mini() -> Summarizer:
    return Summarizer.from_pretrained("pegasus-mini", threads=1)


@pytest.mark.parametrize("length", [500, 10**9])
def test_a_text_of_a_hundred_words_gives_no_noise_whatever_is_asked_for(mini, length) -> None:
    text = " ".join(ARTICLE.split()[:110])
    summary = mini(text, length=length)
    assert summary.summary_tokens < summary.input_tokens
    assert not [warning for warning in summary.warnings if warning.startswith(("repetition", "names"))]


@pytest.mark.parametrize("name", ["max_length", "max_new_tokens", "min_length", "min_new_tokens"])
def test_lengths_beyond_the_positions_of_the_model_are_refused(mini, name) -> None:
    with pytest.raises(
        BadSetting, match=f"generate's {name} is 100,000, and this model .* at most 512 tokens"
    ):
        mini(ARTICLE, generate={name: 100_000})


def test_a_checkpoint_that_states_lengths_or_beams_without_end_does_not_run_for_ever(monkeypatch) -> None:
    odd = Summarizer.from_pretrained("pegasus-mini", threads=1)
    config = odd.writer.model.generation_config
    config.max_length = 10**6
    asked = {}
    generate = odd.writer.model.generate

    def spy(*inputs, **options):
        asked.update(options)
        return generate(*inputs, **{**options, "max_new_tokens": 4})

    monkeypatch.setattr(odd.writer.model, "generate", spy)
    odd(ARTICLE)
    assert asked["max_new_tokens"] == 512
    config.num_beams = 10**6
    with pytest.raises(BadSetting, match="num_beams 1,000,000"):
        odd(ARTICLE)


def test_a_model_that_says_it_takes_next_to_nothing_is_refused(monkeypatch) -> None:
    odd = Summarizer.from_pretrained("pegasus-mini", threads=1)
    for limit in (0, 1):
        odd.reader.tokenizer.model_max_length = limit or 1
        odd.writer.model.config.max_position_embeddings = limit
        with pytest.raises(BadSetting, match=f"takes {limit} tokens at once"):
            odd(ARTICLE)
