"""Ids in bulk are the ids of a call."""

from __future__ import annotations

import json
import lzma
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from pegasus import PegasusTokenizer, PegasusTokenizerFast
from pegasus.errors import BadSetting
from pegasus.tokenization.segmentation import bulk
from pegasus.tokenization.vocabulary.charsmap import leaves_words_alone
from pegasus.tokenization.vocabulary.model_file import USER_DEFINED, read_model, write_model

many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TOKENS = [
    "<mask_1>",
    "<mask_2>",
    "<unk>",
    "<unk_102>",
    "<unk_103>",
    "</s>",
    "<n>",
    "<n",
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
    "ﬁ",
    "½",
    "Ａ",
    "\u0301",
    "\u0308",
    "\u00a8",
    "가",
    "\u1100\u1161",
    "\u00ad",
    "\x00",
    "\x01",
    "👩\u200d👧",
    "\ufffd",
    "☃",
]
WORDS = [
    "the",
    "people",
    "aaaa",
    "ababa",
    "....",
    "-----",
    "hahaha",
    "We",
    "are",
    "states,",
    "It's",
    "newtokens",
]
PARTS = st.sampled_from([*TOKENS, *BLANKS, " ", " ", " ", *ODD, *WORDS])
REPEATS = st.text(alphabet="ab-.e1 ", max_size=40)
TEXTS = st.lists(
    st.one_of(st.lists(PARTS, max_size=24).map("".join), REPEATS, st.text(max_size=60)), max_size=5
)


def called(tokenizer, texts: Sequence[str], **options: object) -> list[list[int]]:
    return tokenizer(list(texts), verbose=False, **options)["input_ids"] if texts else []


def lists(rows: Sequence[np.ndarray]) -> list[list[int]]:
    return [row.tolist() for row in rows]


def documents(shared: Path, count: int) -> list[str]:
    """As many documents of every kind, the same ones each time."""
    files = sorted((shared / "data").glob("*/*.jsonl.xz"))
    texts: list[str] = []
    for path in files:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            rows = (json.loads(line) for line in islice(lines, -(-count // len(files))))
            texts += [row.get("text") or row["document"] for row in rows]
    return texts[:count]


@pytest.fixture(scope="module")
def every(small: str) -> list:
    """Both tokenizers with every way of writing line breaks; the fast ones with tokens of their own."""
    made = []
    for newline in ("drop", "authors", "flax"):
        made += [PegasusTokenizer(small, newline=newline), PegasusTokenizerFast(small, newline=newline)]
        made[-1].add_tokens(["newtoken"])
        made[-1].add_tokens(["<sum>"], special_tokens=True)
    return made


@many
@given(TEXTS, st.booleans())
@example(["a\u0308 \u0308 x", " \u0301", "\u00a8 \u00a8"], True)
@example(["a ▁", "▁ a", "a ▁ b", "▁"], False)
@example(["a<mask_1> b", "</s></s>", "plain", "We<unk>are"], True)
@example(["", " ", "\n", "a\n\nb", "\x01 \x00 "], True)
def test_equal_to_a_call(every, texts: list[str], specials: bool) -> None:
    for tokenizer in every:
        found = tokenizer.encode_ids(texts, add_special_tokens=specials)
        assert lists(found) == called(tokenizer, texts, add_special_tokens=specials)
        assert all(row.dtype == np.int32 for row in found)


@many
@given(TEXTS, st.integers(1, 12), st.booleans(), st.sampled_from(["left", "right"]))
def test_cut_like_a_call(pair, texts: list[str], most: int, specials: bool, side: str) -> None:
    for tokenizer in pair:
        before, tokenizer.truncation_side = tokenizer.truncation_side, side
        wanted = called(tokenizer, texts, truncation=True, max_length=most, add_special_tokens=specials)
        found = tokenizer.encode_ids(texts, max_length=most, add_special_tokens=specials)
        tokenizer.truncation_side = before
        assert lists(found) == wanted


@pytest.mark.parametrize("newline", ["drop", "authors"])
@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_equal_to_a_call_on_real_documents(
    shared: Path, vocabulary_96k: Path, kind: type, count: int, newline: str
) -> None:
    texts = documents(shared, count)
    for folder in (vocabulary_96k, "pegasus-mini"):
        tokenizer = kind.from_pretrained(folder, newline=newline)
        assert lists(tokenizer.encode_ids(texts)) == called(tokenizer, texts)
        again = tokenizer.encode_ids(texts, max_length=512)  # now everything is remembered
        assert lists(again) == called(tokenizer, texts, truncation=True, max_length=512)


def test_what_is_forgotten_is_learnt_again(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_REMEMBERED", 3)
    monkeypatch.setattr(bulk, "_MANY", 6)  # the engine changes on the way
    for texts in (["We are the people", "states and laws"], ["We are the laws", "of states"]) * 3:
        assert lists(tokenizer.encode_ids(texts)) == called(tokenizer, texts)


def test_rows_may_be_written_to_without_harm(tokenizer) -> None:
    first, second = tokenizer.encode_ids(["We are", "the people"])
    wanted = second.tolist()
    first[:] = 7
    assert second.tolist() == wanted
    assert lists(tokenizer.encode_ids(["We are"])) == called(tokenizer, ["We are"])


def test_tokens_added_later_are_found(tokenizer) -> None:
    texts = ["We are people"]
    assert lists(tokenizer.encode_ids(texts)) == called(tokenizer, texts)
    tokenizer.add_tokens(["people"])
    tokenizer.newline = "authors"
    texts = ["We are people\nof"]
    assert lists(tokenizer.encode_ids(texts)) == called(tokenizer, texts)
    assert len(tokenizer) - 1 in tokenizer.encode_ids(texts)[0]


def test_a_copy_in_another_process_learns_for_itself(tokenizer) -> None:
    texts = ["We are the people"]
    wanted = lists(tokenizer.encode_ids(texts))
    assert lists(pickle.loads(pickle.dumps(tokenizer)).encode_ids(texts)) == wanted


@pytest.mark.parametrize("texts", ["one text", [["two", "words"]], [1, 2], [b"bytes"]])
def test_anything_but_texts_is_refused(tokenizer, texts: object) -> None:
    with pytest.raises(TypeError, match="list of strings"):
        tokenizer.encode_ids(texts)


def test_a_length_of_nothing_is_refused(tokenizer) -> None:
    with pytest.raises(BadSetting, match="max_length=0"):
        tokenizer.encode_ids(["a"], max_length=0)


# -- vocabularies whose words cannot be told apart by blanks ----------------------------------------------


def variants(model: bytes) -> Iterator[bytes]:
    table = read_model(model)
    yield write_model(replace(table, remove_extra_whitespaces=False))
    yield write_model(replace(table, add_dummy_prefix=False))
    more = {"pieces": [*table.pieces, "We are"], "scores": [*table.scores, 0.0]}
    yield write_model(replace(table, **more, kinds=[*table.kinds, USER_DEFINED]))


@pytest.mark.parametrize("number", range(3))
def test_other_vocabularies_take_the_usual_way(small: str, kind: type, number: int, tmp_path: Path) -> None:
    file = tmp_path / "spiece.model"
    file.write_bytes([*variants(Path(small).read_bytes())][number])
    tokenizer = kind(str(file))
    texts = ["".join(WORDS), " We are  the people ", *("a" + blank + "b" for blank in BLANKS)]
    assert lists(tokenizer.encode_ids(texts)) == called(tokenizer, texts)


def compiled(rules: dict[str, str], folder: Path) -> bytes:
    """The table that sentencepiece makes of rules."""
    import sentencepiece

    codes = [
        f"{' '.join(f'{ord(c):X}' for c in source)}\t{' '.join(f'{ord(c):X}' for c in target)}"
        for source, target in rules.items()
    ]
    (folder / "rules.tsv").write_text("\n".join(codes) + "\n", "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ab ac ad yz xy"] * 50), model_prefix=str(folder / "m"), vocab_size=14,
        normalization_rule_tsv=str(folder / "rules.tsv"), hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return read_model((folder / "m.model").read_bytes()).charsmap


@pytest.mark.parametrize(
    ("rules", "alone"),
    [
        ({"x": "y"}, True),
        ({"x": "y", "xy": "z", "\t": " "}, True),
        ({"a b": "ab", "x": "y"}, False),
        ({" x": "z"}, False),
        ({"x ": "z", "xy": "z"}, False),
        ({"x": "▁y"}, False),
    ],
)
def test_which_tables_leave_words_alone(rules: dict[str, str], alone: bool, tmp_path: Path) -> None:
    assert leaves_words_alone(compiled(rules, tmp_path), "▁") is alone


def test_the_usual_table_leaves_words_alone(small: str) -> None:
    table = read_model(Path(small).read_bytes())
    assert table.charsmap
    assert leaves_words_alone(table.charsmap, "▁")
    assert leaves_words_alone(b"", "▁")


def test_special_tokens_in_a_text_are_text_where_that_is_asked_for(every) -> None:
    texts = [
        "</s>",
        "We<mask_1> are",
        "<unk_7><pad> the <mask_2>",
        "<unk>",
        "plain people",
        "<sum> newtoken",
    ]
    for tokenizer in every:
        special = set(tokenizer.all_special_ids)
        found = lists(tokenizer.encode_ids(texts, add_special_tokens=False, split_special_tokens=True))
        assert all(special & set(row) <= {tokenizer.unk_token_id} for row in found)
        broken = [text.replace("<", "< ").replace(">", " >") for text in texts]
        apart = lists(tokenizer.encode_ids(broken, add_special_tokens=False))
        piece = tokenizer.convert_ids_to_tokens
        assert ["".join(piece(row)).replace("▁", "") for row in found[:4]] == [
            "".join(piece(row)).replace("▁", "") for row in apart[:4]
        ]
        assert found[4] == tokenizer.encode_ids(texts[4:5], add_special_tokens=False)[0].tolist()
        if "newtoken" in tokenizer.added_tokens_encoder:  # no special token: still whole
            assert tokenizer.convert_tokens_to_ids("newtoken") in found[5]
