"""Learning a vocabulary from text."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pegasus import AutoTokenizer, PegasusTokenizer, PegasusTokenizerFast
from pegasus.errors import BadData, BadSetting
from pegasus.tokenization.train import train_vocabulary

SYLLABLES = ["ba", "ner", "to", "li", "quent", "ra", "som", "ki", "vel", "du", "ple", "an"]
EVERYDAY = ["we", "keep", "bees", "they", "read", "letters", "aloud", "in", "winter"]


def words() -> list[str]:
    dice = random.Random(7)
    return EVERYDAY + ["".join(dice.choices(SYLLABLES, k=dice.randint(1, 4))) for _ in range(300)]


def corpus(count: int = 200) -> list[str]:
    dice, known = random.Random(1), words()
    weights = [1 / (place + 1) for place in range(len(known))]
    return [
        "\n".join(" ".join(dice.choices(known, weights, k=12)) + "." for _ in range(3))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    train_vocabulary(corpus(), folder, vocab_size=203, newline="authors", model_max_length=99)
    return folder


def test_the_ids_are_pegasus_s(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained)
    assert len(tokenizer) == tokenizer.vocab_size == 203
    known = ["<pad>", "</s>", "<mask_1>", "<mask_2>", "<unk_2>", "<unk_102>", "<unk>", "<n>"]
    assert tokenizer.convert_tokens_to_ids(known) == [0, 1, 2, 3, 4, 104, 105, 106]
    assert (tokenizer.newline, tokenizer.model_max_length) == ("authors", 99)
    assert not tokenizer.clean_up_tokenization_spaces


def test_what_is_learnt_round_trips(trained: Path) -> None:
    text = "We keep bees .\nThey read letters aloud in winter.".lower()
    slow, fast = PegasusTokenizer.from_pretrained(trained), PegasusTokenizerFast.from_pretrained(trained)
    ids = slow(text).input_ids
    assert ids == fast(text).input_ids
    assert slow.decode(ids, skip_special_tokens=True) == text
    assert len(ids) < len(text) / 2


def test_no_piece_spans_a_line_break_or_a_blank(trained: Path) -> None:
    pieces = list(AutoTokenizer.from_pretrained(trained).get_vocab())
    assert not any("▁" in piece[1:] for piece in pieces)
    assert [piece for piece in pieces if "<n>" in piece] == ["<n>"]


def test_the_same_texts_give_the_same_files(trained: Path, tmp_path: Path) -> None:
    train_vocabulary(iter(corpus()), tmp_path, vocab_size=203, newline="authors", model_max_length=99)
    for path in sorted(trained.iterdir()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_a_sample_is_drawn_by_the_seed(tmp_path: Path) -> None:
    made = [
        train_vocabulary(corpus(), tmp_path / f"{place}", vocab_size=150, sample_lines=40, seed=seed)
        for place, seed in enumerate((1, 1, 2))
    ]
    models = [(tmp_path / f"{place}" / "spiece.model").read_bytes() for place in range(3)]
    assert models[0] == models[1] != models[2]
    assert {len(tokenizer) for tokenizer in made} == {150}


def test_long_lines_are_not_left_out(tmp_path: Path) -> None:
    """sentencepiece skips lines above a length without a word; they are cut before."""
    line = " ".join(corpus()).replace("\n", " ") + " zzyzx" * 300
    tokenizer = train_vocabulary([line], tmp_path, vocab_size=203)
    assert tokenizer.unk_token_id not in tokenizer("zzyzx bees").input_ids


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="every document is empty"):
        train_vocabulary(["", " \n "], tmp_path, vocab_size=203)
    with pytest.raises(BadSetting, match="reserved"):
        train_vocabulary(corpus(), tmp_path, vocab_size=106)
    with pytest.raises(BadSetting, match=r"vocab_size is too large.* less, or more text"):
        train_vocabulary(["a b"], tmp_path, vocab_size=5000)
    with pytest.raises(BadSetting, match="newline"):
        train_vocabulary(corpus(), tmp_path, vocab_size=203, newline="keep")
