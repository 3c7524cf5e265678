"""Slow equals fast, on real documents and on text made to trip them up."""

from __future__ import annotations

import json
import lzma
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from pegasus import PegasusTokenizer, PegasusTokenizerFast

SPECIAL = [
    "<mask_1>",
    "<mask_2>",
    "<unk>",
    "<unk_2>",
    "<unk_102>",
    "<unk_103>",
    "</s>",
    "<pad>",
    "<n>",
    "newtoken",
    "<sum>",
]
BLANKS = [
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\x0b",
    "\x0c",
    "\x85",
    "\u00a0",
    "\u2028",
    "\u3000",
    "\u200b",
    "\ufeff",
    "▁",
]
ODD = [
    "<",
    ">",
    "<n",
    "n>",
    "ﬁ",
    "½",
    "①",
    "Ａ",
    "\u0301",
    "e\u0301",
    "\u0308",
    "가",
    "\u1100\u1161",
    "\u00ad",
    "\x00",
    "\x01",
    "\x7f",
    "👩\u200d👧",
    "\ufffd",
    "\U0010ffff3",
    "中",
]
WORDS = [
    "the",
    "people",
    "aaaa",
    "ababa",
    "....",
    "-----",
    "hahaha",
    "1010101",
    "We",
    "are",
    "states,",
    "It's",
]

TRICKY = st.lists(st.sampled_from([*SPECIAL, *BLANKS, *ODD, *WORDS]), max_size=24).map("".join)
REPEATS = st.text(alphabet="ab-.e1 ", max_size=40)
ANY = st.text(max_size=60)

many = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def grown(small: str):
    """The two tokenizers with tokens of their own."""
    made = PegasusTokenizer(small), PegasusTokenizerFast(small)
    for tokenizer in made:
        tokenizer.add_tokens(["newtoken"])
        tokenizer.add_tokens(["<sum>"], special_tokens=True)
    return made


@many
@given(st.one_of(TRICKY, REPEATS, ANY))
@example("")
@example(" ")
@example("ﬁ\u0301x ab\x85c")
@example("\U0010ffff3 \U0010ffff▁▁3")
@example("aaaaaaaaa bbbbb -------------------------------")
def test_slow_equals_fast(grown, text: str) -> None:
    slow, fast = grown
    wanted = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    left, right = slow(text, **wanted), fast(text, **wanted)
    assert left.data == right.data
    assert left.tokens() == right.tokens()
    assert left.word_ids() == right.word_ids()
    assert slow.tokenize(text) == fast.tokenize(text)
    for skip in (False, True):
        assert slow.decode(left["input_ids"], skip) == fast.decode(left["input_ids"], skip)


@many
@given(st.one_of(TRICKY, ANY), st.sampled_from(["drop", "authors", "flax"]))
def test_slow_equals_fast_with_every_way_of_writing_newlines(
    small_by_newline, text: str, newline: str
) -> None:
    slow, fast = small_by_newline[newline]
    assert slow(text)["input_ids"] == fast(text)["input_ids"]


@pytest.fixture(scope="module")
def small_by_newline(small: str):
    return {
        newline: (PegasusTokenizer(small, newline=newline), PegasusTokenizerFast(small, newline=newline))
        for newline in ("drop", "authors", "flax")
    }


@many
@given(st.one_of(TRICKY, ANY))
def test_every_token_stands_where_its_offsets_say(grown, text: str) -> None:
    """Offsets are inside the text, in order, and a piece of plain ASCII is spelled by its stretch."""
    slow, _ = grown
    found = slow(text, return_offsets_mapping=True, add_special_tokens=False)
    previous = 0
    for token, (start, end) in zip(found.tokens(), found["offset_mapping"]):
        assert previous <= start <= end <= len(text)
        previous = start
        spelled = token.removeprefix("▁")
        if spelled and spelled.isascii() and text.isascii() and text.isprintable():
            assert text[start:end] == spelled


@many
@given(st.one_of(TRICKY, REPEATS, ANY))
def test_a_batch_equals_its_single_texts(grown, text: str) -> None:
    slow, fast = grown
    texts = [text, "We are", text[::-1]]
    for tokenizer in (slow, fast):
        assert tokenizer(texts)["input_ids"] == [tokenizer(one)["input_ids"] for one in texts]


@many
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ,.", max_size=60))
def test_decoding_gives_plain_text_back(pair, text: str) -> None:
    slow, _ = pair
    ids = slow(text)["input_ids"]
    back = slow.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert back == " ".join(text.split())


@many
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyzABC ,.'", max_size=40))
def test_sentencepiece_itself_says_the_same(pair, text: str) -> None:
    """Word by word is the same as at once, except between ways that score exactly alike."""
    slow, _ = pair
    processor = slow.sp_model
    ours = [number - 103 for number in slow(text, add_special_tokens=False)["input_ids"]]
    theirs = processor.encode(text)
    scores = [sum(processor.get_score(number) for number in ids) for ids in (ours, theirs)]
    assert ours == theirs or scores[0] == pytest.approx(scores[1], abs=1e-5)


def documents(shared: Path, count: int) -> list[str]:
    """As many documents of every kind, the same ones each time."""
    files = sorted((shared / "data").glob("*/*.jsonl.xz"))
    each = -(-count // len(files))
    texts: list[str] = []
    for path in files:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            rows = (json.loads(line) for line in islice(lines, each))
            texts += [row.get("text") or row["document"] for row in rows]
    return texts[:count]


@pytest.fixture(scope="module")
def real(vocabulary_96k: Path) -> dict[type, PegasusTokenizer | PegasusTokenizerFast]:
    """The real vocabulary, opened by both tokenizers; not to be changed."""
    return {kind: kind.from_pretrained(vocabulary_96k) for kind in (PegasusTokenizer, PegasusTokenizerFast)}


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_slow_equals_fast_on_real_documents(shared: Path, real, count: int) -> None:
    texts = documents(shared, count)
    assert len(texts) == count
    slow, fast = real.values()
    left, right = slow(texts, verbose=False), fast(texts, verbose=False)
    assert left["input_ids"] == right["input_ids"]
    assert slow.batch_decode(left["input_ids"]) == fast.batch_decode(right["input_ids"])


def test_the_real_vocabulary_has_the_ids_that_are_known(real, kind: type) -> None:
    tokenizer = real[kind]
    assert (len(tokenizer), tokenizer.model_max_length) == (96_103, 1024)
    ids = tokenizer("To ensure a smooth flow of bank resolutions.")["input_ids"]
    assert ids == [413, 615, 114, 2291, 1971, 113, 1679, 10710, 107, 1]
    known = {
        "<mask_1>": 2,
        "<mask_2>": 3,
        "<unk_2>": 4,
        "<unk_102>": 104,
        "<unk>": 105,
        "<n>": 106,
        ".": 107,
    }
    assert tokenizer.convert_tokens_to_ids(list(known)) == list(known.values())
    assert tokenizer.convert_tokens_to_ids("▁the") == 109


@pytest.mark.parametrize("only", ["spiece.model", "tokenizer.json"])
def test_either_file_of_the_real_vocabulary_suffices(
    vocabulary_96k: Path, real, kind: type, only: str, tmp_path: Path
) -> None:
    (tmp_path / only).write_bytes((vocabulary_96k / only).read_bytes())
    alone, whole = kind.from_pretrained(tmp_path), real[kind]
    text = "The café's ½-price menu: <mask_1> ﬁne ☃ dining<n>for $6,500."
    assert alone(text)["input_ids"] == whole(text)["input_ids"]
    assert len(alone) == len(whole)
    assert alone.convert_ids_to_tokens(range(0, 96_103, 97)) == whole.convert_ids_to_tokens(
        range(0, 96_103, 97)
    )
