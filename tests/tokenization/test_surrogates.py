"""Halves of characters, which JSON may hold and no library takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pegasus.tokenization.segmentation.surrogates import has_surrogates, mend_surrogates
from pegasus.tokenization.train import train_vocabulary


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("plain", "plain"),
        ("Ünï 😀", "Ünï 😀"),
        ("a\ud83d", "a\ufffd"),
        ("\udca9b\ud83d", "\ufffdb\ufffd"),
        ("\ud83d\ude00!", "😀!"),
        ("\ud83d\ud83d\ude00", "\ufffd😀"),
    ],
)
def test_halves_are_joined_or_replaced(text: str, mended: str) -> None:
    assert mend_surrogates(text) == mended
    assert has_surrogates(text) == (text != mended)


@pytest.mark.parametrize(
    "text", ["\ud83d", "The \ud83d market", "\udc00 a \udc00 b", "a\udfff", "x\ud83d\ude00y"]
)
def test_every_door_takes_them(tokenizer, text: str) -> None:
    expected = tokenizer(mend_surrogates(text))["input_ids"]
    assert tokenizer(text)["input_ids"] == expected
    assert tokenizer([text, "b"], padding=True)["input_ids"][0][: len(expected)] == expected
    assert tokenizer("a", text)["input_ids"] == tokenizer("a", mend_surrogates(text))["input_ids"]
    assert tokenizer.encode(text) == expected
    assert [row.tolist() for row in tokenizer.encode_ids([text, "b c", text])][::2] == [expected] * 2
    assert tokenizer.tokenize(text) == tokenizer.tokenize(mend_surrogates(text))
    words = tokenizer([text, "b"], is_split_into_words=True)["input_ids"]
    assert words == tokenizer([mend_surrogates(text), "b"], is_split_into_words=True)["input_ids"]


def test_a_vocabulary_is_learnt_from_them(tmp_path: Path) -> None:
    texts = [f"the market \ud83d opens {n} and closes {n * 7}" for n in range(300)]
    learnt = train_vocabulary(texts, tmp_path / "v", vocab_size=170, threads=1)
    assert learnt("the market")["input_ids"][-1] == learnt.eos_token_id
