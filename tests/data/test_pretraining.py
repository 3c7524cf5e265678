from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegasus.data.gap import GapSettings
from pegasus.data.mask import Fates, Symbols, WordMasking, hide_words, replace_sentences, word_numbers
from pegasus.data.pretraining import (
    PRESETS,
    Made,
    PretrainingSettings,
    cut_words,
    make_example,
    text_example,
)
from pegasus.errors import BadSetting

D1 = "The cat sat. A dog ran fast. The cat ran. Birds sing."
#: ids 105 (unknown) to 199; every third piece begins a word
SYMBOLS = Symbols(200, 105, np.arange(200) % 3 == 0)


class Letters:
    """A tokenizer whose pieces are characters of code 105 and up, and which knows what a document needs."""

    mask_token_sent, mask_token, unk_token_id, pad_token_id, eos_token_id = (
        "<mask_1>",
        "<mask_2>",
        105,
        0,
        1,
    )

    def __len__(self) -> int:
        return 1200

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return ["▁" if number == 106 + ord(" ") else chr(number) for number in ids]

    def convert_tokens_to_ids(self, tokens: Sequence[str]) -> list[int]:
        return [{"<mask_1>": 2, "<mask_2>": 3}[token] for token in tokens]

    def encode_ids(self, texts: Sequence[str], **_: Any) -> list[np.ndarray]:
        return [np.array([106 + ord(letter) for letter in text.strip()], np.int32) for text in texts]


def ids(*rows: Sequence[int]) -> list[np.ndarray]:
    return [np.array(row, np.int32) for row in rows]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def made(text: str, seed: int = 0, **changes: Any) -> Made:
    fates = changes.pop("fates", Fates(mask=1.0, intact=0.0))
    gap = changes.pop("gap", GapSettings(ratio=0.5))
    settings = PretrainingSettings(gap, fates, **changes)
    return text_example(text, Letters(), settings, rng(seed))[1]


def spell(row: np.ndarray) -> str:
    return "".join(
        {0: "_", 1: "$", 2: "#", 3: "?"}.get(int(number), chr(max(number - 106, 0))) for number in row
    )


def test_assembly_of_the_worked_example() -> None:
    example = made(D1).example
    assert example is not None
    assert spell(example.input_ids) == "The cat sat.##Birds sing.$"
    assert spell(example.labels) == "A dog ran fast.The cat ran.$"
    assert example.mlm_labels is None
    assert example.input_ids.dtype == example.labels.dtype == np.int32


@pytest.mark.parametrize(
    ("fate", "source"),
    [
        ("mask", "The cat sat.##Birds sing.$"),
        ("intact", "The cat sat.A dog ran fast.The cat ran.Birds sing.$"),
        ("remove", "The cat sat.Birds sing.$"),
    ],
)
def test_each_fate_forced(fate: str, source: str) -> None:
    fates = Fates(**{"mask": 0.0, "intact": 0.0, fate: 1.0})  # type: ignore[arg-type]
    for seed in range(5):
        result = made(D1, seed, fates=fates)
        assert result.example is not None
        assert spell(result.example.input_ids) == source
        assert spell(result.example.labels) == "A dog ran fast.The cat ran.$"
        assert result.fates == [fate, fate]


def test_a_random_sentence_is_one_of_the_document_as_it_stands_by_then() -> None:
    fates = Fates(mask=0, random=1, intact=0)
    sentences = ids([110, 111], [120], [130, 131, 132])
    seen = set()
    for seed in range(60):
        parts, became = replace_sentences(sentences, [0, 2], fates, SYMBOLS, rng(seed))
        assert became == ["random", "random"]
        seen.add(tuple(tuple(part.tolist()) for part in parts))
    firsts = {parts[0] for parts in seen}
    assert firsts == {(110, 111), (120,), (130, 131, 132)}
    # The last one may copy the first after that was replaced, never what stood there before.
    assert all(parts[2] in {parts[0], parts[1], (130, 131, 132)} for parts in seen)
    assert all(parts[1] == (120,) for parts in seen)


def test_fates_are_drawn_in_their_shares() -> None:
    fates = Fates(mask=0.5, random=0.2, intact=0.2, remove=0.1)
    sentences = ids(*[[110 + number] for number in range(40)])
    drawn = [
        fate
        for seed in range(100)
        for fate in replace_sentences(sentences, range(40), fates, SYMBOLS, rng(seed))[1]
    ]
    for fate, share in zip(("mask", "random", "intact", "remove"), fates.shares):
        assert drawn.count(fate) / len(drawn) == pytest.approx(share, abs=0.03)


def test_fates_must_add_up() -> None:
    with pytest.raises(BadSetting, match="add up to 1"):
        Fates(mask=0.9, intact=0.2)
    with pytest.raises(BadSetting, match="add up to 1"):
        Fates(mask=1.1, intact=-0.1)


def test_one_sentence_and_none() -> None:
    one = made("Only this.").example
    assert one is not None
    assert (one.input_ids.tolist(), spell(one.labels)) == ([2, 1], "Only this.$")
    none = made("").example
    assert none is not None
    assert (none.input_ids.tolist(), none.labels.tolist()) == ([1], [1])


def test_strategy_none_has_an_empty_target() -> None:
    example = made(D1, gap=GapSettings("none")).example
    assert example is not None
    assert spell(example.input_ids) == "The cat sat.A dog ran fast.The cat ran.Birds sing.$"
    assert example.labels.tolist() == [1]


@pytest.mark.parametrize("strategy", ["seq-uniq", "continuous-orig", "lead", "random", "hybrid"])
def test_every_strategy_makes_examples_from_text(strategy: str) -> None:
    example = made(D1, gap=GapSettings(strategy, ratio=0.5)).example
    assert example is not None
    assert spell(example.input_ids).count("#") == 2
    assert (example.input_ids[0] in (5, 6, 7)) == (strategy == "hybrid")


def test_choice_is_made_in_the_whole_document_and_the_end_is_cut_afterwards() -> None:
    example = made(D1, max_input=12, max_target=5).example
    assert example is not None
    assert spell(example.input_ids) == "The cat sat."  # the masks lie beyond the cut, and so does the EOS
    assert spell(example.labels) == "A dog"


def test_targets_that_are_too_short_are_left_out() -> None:
    assert made("Only this.", min_target=10).example is not None  # 10 letters and EOS
    assert made("Only this.", min_target=11).example is None


def test_tokens_of_task_and_length_come_first_and_cost_the_end() -> None:
    example = made(D1, max_input=12, length_bucket=10, task=3).example
    assert example is not None
    assert example.input_ids[:2].tolist() == [53, 20 + 28 // 10]
    assert spell(example.input_ids[2:]) == "The cat sa"
    long = made("word. " * 300 + "other words here.", length_bucket=5, max_target=512).example
    assert long is not None
    assert long.input_ids[0] == 49


def test_cut_words_joins_by_single_spaces_only_when_it_cuts() -> None:
    assert cut_words("a  b\nc d", 2) == "a b\nc"
    assert cut_words("a  b", 2) == "a  b"
    assert cut_words("a  b", 0) == "a  b"


# --- hidden words
# --------------------------------------------------------------------------------------------


def test_words_are_runs_of_which_the_first_piece_has_the_marker() -> None:
    #      mask  [word   ] [word] eos [no marker] mask [marker]
    row = np.array([2, 108, 109, 110, 111, 1, 107, 109, 3, 114], np.int32)
    assert word_numbers(row, SYMBOLS).tolist() == [-1, 0, 0, 0, 1, -1, 2, 2, -1, 3]


def test_hidden_words_are_whole_and_labelled() -> None:
    row = np.array([2, *[108, 109, 110] * 20, 1], np.int32)
    hidden, labels = hide_words(row, WordMasking(ratio=0.5, mask=1.0, random=0.0), SYMBOLS, rng())
    at = labels != -100
    assert at.sum() == 30
    assert (hidden[at] == 3).all()
    assert (labels[at] == row[at]).all()
    assert (hidden[~at] == row[~at]).all()
    per_word = at[1:-1].reshape(20, 3)
    assert (per_word.all(1) | ~per_word.any(1)).all()


def test_hidden_words_are_drawn_in_their_shares() -> None:
    row = np.array([108, 109] * 3000, np.int32)
    hidden, labels = hide_words(row, WordMasking(ratio=0.5), SYMBOLS, rng())
    at = labels != -100
    assert at.sum() == 3000
    masked, same = hidden[at] == 3, hidden[at] == row[at]
    assert masked.mean() == pytest.approx(0.8, abs=0.03)
    assert same.mean() == pytest.approx(0.1 + 0.1 / 95, abs=0.03)
    random = hidden[at][~masked & ~same]
    assert random.min() >= 105
    assert random.max() < 200
    assert len(set(random.tolist())) > 60


@pytest.mark.parametrize(
    ("words", "ratio", "count"), [(10, 0.15, 1), (3, 0.01, 1), (100, 0.29, 29), (7, 1.0, 7)]
)
def test_how_many_words_are_hidden(words: int, ratio: float, count: int) -> None:
    row = np.full(words, 108, np.int32)
    assert (hide_words(row, WordMasking(ratio), SYMBOLS, rng())[1] != -100).sum() == count


def test_nothing_to_hide() -> None:
    row = np.array([2, 1], np.int32)
    hidden, labels = hide_words(row, WordMasking(0.15), SYMBOLS, rng())
    assert hidden.tolist() == [2, 1]
    assert labels.tolist() == [-100, -100]


def test_words_are_hidden_before_the_input_is_cut_and_never_the_masks() -> None:
    settings = PretrainingSettings(
        GapSettings("lead"), Fates(mask=1, intact=0), WordMasking(0.15), max_input=8
    )
    sentences = ids([108, 109], [108, 109, 110], [108] * 9)
    example = make_example(sentences, settings, SYMBOLS, rng()).example
    assert example is not None
    assert example.mlm_labels is not None
    assert len(example.mlm_labels) == len(example.input_ids) == 8
    assert example.input_ids[0] == 2
    assert example.mlm_labels[0] == -100


# --- real vocabulary
# ---------------------------------------------------------------------------------------


def test_the_real_vocabulary(vocabulary_96k: Path) -> None:
    from pegasus import PegasusTokenizerFast

    tokenizer = PegasusTokenizerFast.from_pretrained(vocabulary_96k)
    symbols = Symbols.of(tokenizer)
    assert (symbols.size, symbols.ordinary, symbols.sentence_mask, symbols.word_mask) == (96_103, 105, 2, 3)
    assert not symbols.begins_word[:105].any()
    assert symbols.begins_word[109]
    settings = replace(PRESETS["paper-base"], gap=GapSettings(ratio=0.5))
    _, result = text_example(D1, tokenizer, settings, rng(), symbols=symbols)
    assert result.example is not None
    assert (
        tokenizer.decode(result.example.labels, skip_special_tokens=True) == "A dog ran fast. The cat ran."
    )
    assert result.example.input_ids.tolist().count(2) == 2


def test_presets_are_those_of_the_authors() -> None:
    stochastic = PRESETS["stochastic"]
    assert (stochastic.gap.strategy, stochastic.gap.ratio, stochastic.gap.noise) == (
        "ind-orig",
        (0.1485, 0.45),
        0.2,
    )
    assert stochastic.fates.shares == (0.9, 0.0, 0.1, 0.0)
    assert (stochastic.max_input, stochastic.max_target) == (512, 256)
