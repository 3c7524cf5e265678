"""Line breaks: lost, or written as the authors' two code bases write them, and read back."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pegasus.errors import BadSetting
from pegasus.tokenization.segmentation.newline import newline_origins, read_newlines, write_newlines
from pegasus.tokenization.vocabulary.layout import Vocabulary
from pegasus.tokenization.vocabulary.model_file import read_model, write_model

TEXT = "We are\nthe people.\n\nThe laws"


def tokens(tokenizer, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False).input_ids)


def test_dropped_by_default(tokenizer) -> None:
    assert tokenizer.newline == "drop"
    assert "<n>" not in tokens(tokenizer, TEXT)
    assert tokens(tokenizer, TEXT) == tokens(tokenizer, TEXT.replace("\n", " "))
    assert tokenizer.decode([152, 106, 147]) == "We<n> are"


def test_as_the_authors_write_them(kind, small: str) -> None:
    tokenizer = kind(small, newline="authors")
    assert tokens(tokenizer, "We\nWe") == ["▁We", "<n>", "W", "e"]
    assert tokenizer.decode(tokenizer(TEXT).input_ids, skip_special_tokens=True) == TEXT


def test_as_the_authors_flax_code_writes_them(kind, small: str) -> None:
    tokenizer = kind(small, newline="flax")
    assert tokens(tokenizer, "We\nWe") == ["▁We", "<n>", "▁We"]
    assert tokenizer.decode(tokenizer(TEXT).input_ids, skip_special_tokens=True) == TEXT


@pytest.mark.parametrize("newline", ["authors", "flax"])
def test_a_model_trained_with_blanks_around_the_symbol_reads_well(kind, small: str, newline: str) -> None:
    tokenizer = kind(small, newline=newline)
    assert tokenizer.decode(tokenizer("We<n> are").input_ids, True) == (
        "We\n are" if newline == "authors" else "We\nare"
    )


@pytest.mark.parametrize("newline", ["authors", "flax"])
def test_offsets_count_in_the_text_that_was_given(kind, small: str, newline: str) -> None:
    tokenizer = kind(small, newline=newline)
    found = tokenizer(TEXT, return_offsets_mapping=True, add_special_tokens=False)
    for token, (start, end) in zip(found.tokens(), found["offset_mapping"]):
        if token != "▁":
            assert TEXT[start:end] == ("\n" if token == "<n>" else token.removeprefix("▁"))


def test_the_option_may_change_later(tokenizer) -> None:
    tokenizer.newline = "authors"
    assert "<n>" in tokens(tokenizer, TEXT)
    with pytest.raises(BadSetting, match="drop, authors, flax"):
        tokenizer.newline = "keep"
    assert tokenizer.newline == "authors"


def test_a_vocabulary_without_the_symbol_is_refused(kind, small: str, tmp_path) -> None:
    from dataclasses import replace
    from pathlib import Path

    table = read_model(Path(small).read_bytes())
    older = replace(table, pieces=[piece if piece != "<n>" else "<q>" for piece in table.pieces])
    path = tmp_path / "spiece.model"
    path.write_bytes(write_model(older))
    with pytest.raises(BadSetting, match="does not have"):
        kind(str(path), newline="authors")
    assert kind(str(path)).newline == "drop"


@given(st.text(alphabet="ab\n ", max_size=20), st.sampled_from(["drop", "authors", "flax"]))
def test_origins_are_as_long_as_the_text(text: str, option) -> None:
    origins = newline_origins(text, option)
    written = write_newlines(text, option)
    if origins is None:
        assert written == text
        return
    assert len(origins) == len(written) + 1
    assert origins == sorted(origins)
    for place, character in zip(origins, written):
        if character in "ab":
            assert text[place] == character
        elif character == "<":
            assert text[place] == "\n"


@given(st.text(alphabet="ab\n", max_size=20), st.sampled_from(["authors", "flax"]))
def test_written_and_read(text: str, option) -> None:
    assert read_newlines(write_newlines(text, option), option) == text


def test_vocabulary_needs_something() -> None:
    with pytest.raises(ValueError, match="bytes or its table"):
        Vocabulary()
