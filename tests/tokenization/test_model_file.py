"""The sentencepiece file is read and written as sentencepiece itself does."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings, strategies as st

from pegasus import PegasusTokenizer, PegasusTokenizerFast
from pegasus.errors import CheckpointCorrupt, NotOffered
from pegasus.tokenization.vocabulary.model_file import (
    BPE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    PieceTable,
    read_model,
    write_model,
)

KINDS = (CONTROL, CONTROL, UNKNOWN)


def table(pieces: dict[str, float], **changes) -> PieceTable:
    names = ["<pad>", "</s>", "<unk>", *pieces]
    kinds = [*KINDS, *(USER_DEFINED if score == 0 else NORMAL for score in pieces.values())]
    return PieceTable(names, [0.0, 0.0, 0.0, *pieces.values()], kinds, **changes)


def test_every_row_is_what_sentencepiece_says(small: str) -> None:
    data = Path(small).read_bytes()
    found, processor = read_model(data), sentencepiece.SentencePieceProcessor(model_file=small)
    numbers = range(len(processor))
    assert found.pieces == [processor.id_to_piece(number) for number in numbers]
    assert found.scores == pytest.approx([processor.get_score(number) for number in numbers])
    assert [kind == CONTROL for kind in found.kinds] == [processor.is_control(number) for number in numbers]
    assert found.unk_id == processor.unk_id()
    assert (found.normalizer, found.add_dummy_prefix, found.remove_extra_whitespaces) == (
        "nmt_nfkc",
        True,
        True,
    )


def test_written_and_read(small: str) -> None:
    found = read_model(Path(small).read_bytes())
    again = write_model(found)
    assert read_model(again) == found
    whole, rebuilt = (
        sentencepiece.SentencePieceProcessor(model_proto=data) for data in (Path(small).read_bytes(), again)
    )
    for text in ("We are ﬁne ☃", "a<n>b", "  ½  "):
        assert whole.encode(text) == rebuilt.encode(text)


PIECES = st.dictionaries(
    st.text(min_size=1, max_size=200).filter(lambda text: text.strip() and "\x00" not in text),
    st.floats(-30, -0.5, width=32),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(PIECES, st.binary(max_size=300), st.booleans())
def test_any_table_survives(pieces: dict[str, float], charsmap: bytes, flag: bool) -> None:
    made = table(
        pieces, charsmap=charsmap, add_dummy_prefix=flag, byte_fallback=flag, model_type=BPE if flag else 1
    )
    assert read_model(write_model(made)) == made


@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_a_file_that_is_cut_short_is_refused(small: str, cut: int) -> None:
    with pytest.raises(CheckpointCorrupt, match="Fetch"):
        read_model(Path(small).read_bytes()[:-cut])


def train(kind: str, **options) -> bytes:
    model = io.BytesIO()
    texts = ["the people of the town keep bees", "the bees keep the town", "we read letters in winter"] * 30
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, model_type=kind, pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1, minloglevel=2, hard_vocab_limit=False, **options,
    )  # fmt: skip
    return model.getvalue()


def test_a_bpe_model_is_for_the_slow_tokenizer(tmp_path: Path) -> None:
    """The authors' test vocabulary is one."""
    path = tmp_path / "spiece.model"
    path.write_bytes(train("bpe", vocab_size=60))
    slow = PegasusTokenizer(str(path))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    text = "the bees keep letters ☃"
    assert slow(text, add_special_tokens=False).input_ids == [
        number + 103 for number in processor.encode(text)
    ]
    assert slow.tokenize(text) == processor.encode(text, out_type=str)
    with pytest.raises(NotOffered, match="Use PegasusTokenizer"):
        PegasusTokenizerFast(str(path))
    slow.save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again" / "tokenizer.json").exists()
    assert PegasusTokenizer.from_pretrained(tmp_path / "again")(text).input_ids == slow(text).input_ids


def test_unknown_characters_as_bytes(tmp_path: Path) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(train("unigram", vocab_size=300, byte_fallback=True))
    slow, fast = PegasusTokenizer(str(path)), PegasusTokenizerFast(str(path))
    text = "the ☃ people é"
    ids = slow(text).input_ids
    assert ids == fast(text).input_ids
    assert slow.decode(ids, skip_special_tokens=True) == fast.decode(ids, skip_special_tokens=True) == text
    assert slow(text, return_offsets_mapping=True)["offset_mapping"][0] == (0, len(text))


def test_pieces_that_span_blanks_are_cut_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "spiece.model"
    pieces = {"▁": -2.0, "▁a": -3.0, "b": -3.0, "a": -3.0, "▁a▁b": -4.0, "▁b": -3.0}
    path.write_bytes(write_model(table(pieces)))
    slow, fast = PegasusTokenizer(str(path)), PegasusTokenizerFast(str(path))
    for text in ("a b", "a b a b", "b a ☃ b"):
        assert slow(text).input_ids == fast(text).input_ids
        assert slow.tokenize(text) == fast.tokenize(text)
    assert slow.tokenize("a b") == ["▁a▁b"]


def test_a_symbol_beats_learnt_pieces(tmp_path: Path) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(write_model(table({"<n>": 0.0, "<n": -1.0, ">": -1.0, "▁": -2.0})))
    for kind in (PegasusTokenizer, PegasusTokenizerFast):
        assert kind(str(path)).tokenize("<n> <n") == ["▁", "<n>", "▁", "<n"]


def _row(text: bytes, more: bytes, last: bytes = b"") -> bytes:
    inside = b"\x0a" + bytes([len(text)]) + text + more + last
    return b"\x0a" + bytes([len(inside)]) + inside


def test_rows_of_every_form_stand_side_by_side() -> None:
    score, half = b"\x15" + struct.pack("<f", -2.5), b"\x15" + struct.pack("<f", -0.5)
    usual = [_row(b"a", score), _row("▁ü".encode(), score, b"\x18\x01"), _row(b"<unk>", half, b"\x18\x02")]
    odd = [
        b"\x0a\x08" + score + b"\x0a\x01b",  # the score first
        _row(b"c\x00d", score),
        _row(b"e", b""),  # no score
        _row(b"f", score, b"\x20\x07"),  # a field that is not known
    ]
    long = b"\x0a\xd3\x01\x0a\xcb\x01" + b"g" * 203 + score
    table = read_model(b"".join([*usual, *odd, long, *usual]))
    texts = ["a", "▁ü", "<unk>", "b", "c\x00d", "e", "f", "g" * 203, "a", "▁ü", "<unk>"]
    assert table.pieces == texts
    assert table.scores == [-2.5, -2.5, -0.5, -2.5, -2.5, 0.0, -2.5, -2.5, -2.5, -2.5, -0.5]
    assert table.kinds == [1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2]
