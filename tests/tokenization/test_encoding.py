"""The dictionary that a tokenizer returns, and the way back from tokens to the text."""

from __future__ import annotations

import copy
import pickle

import pytest

from pegasus import BatchEncoding, PegasusTokenizerFast
from pegasus.errors import OriginUnknown

TEXT = "We are  a nation of ﬁne ½ laws. <mask_1> ☃"


def test_entries_are_attributes(tokenizer) -> None:
    found = tokenizer(TEXT)
    assert found.input_ids is found["input_ids"]
    assert {**found} == found.data == dict(found.items())
    assert "attention_mask" in found
    assert len(found) == 2
    with pytest.raises(AttributeError, match="no 'labels'"):
        _ = found.labels
    with pytest.raises(KeyError):
        found["labels"]


def test_it_is_unpacked_into_a_model_s_call(tokenizer) -> None:
    def model(input_ids=None, attention_mask=None):
        return len(input_ids), len(attention_mask)

    assert model(**tokenizer([TEXT, TEXT])) == (2, 2)


def test_slices_and_rows(tokenizer) -> None:
    found = tokenizer(["We are", "a nation", "of laws"])
    assert found[1:]["input_ids"] == found.input_ids[1:]
    assert found[1].ids == found.input_ids[1]
    assert found.encodings is not None
    assert len(found.encodings) == 3
    assert found[2].tokens == found.tokens(2)


def test_words_and_characters(tokenizer) -> None:
    found = tokenizer(TEXT)
    offsets, words = found.encodings[0].offsets, found.word_ids()
    nation = TEXT.index("nation")
    token = found.char_to_token(nation)
    assert offsets[token] == (nation, nation + 6)
    assert found.token_to_chars(token) == (nation, nation + 6)
    assert found.token_to_word(token) == words[token] == found.char_to_word(nation) == 3
    assert found.word_to_chars(3) == (nation, nation + 6)
    assert found.word_to_tokens(3) == (token, token + 1)
    assert found.char_to_token(TEXT.index("  ")) is None
    assert found.word_to_tokens(99) is None
    assert found.char_to_word(TEXT.index("  ")) is None
    assert found.token_to_chars(len(found.input_ids) - 1) is None
    assert words[-1] is None


def test_one_character_that_becomes_several(tokenizer) -> None:
    found = tokenizer("½", return_offsets_mapping=True, add_special_tokens=False)
    assert set(found["offset_mapping"]) == {(0, 1)}
    assert "".join(found.tokens()) == "▁1⁄2"


def test_pairs_know_their_texts(tokenizer) -> None:
    found = tokenizer(["We are"], ["a nation"])
    owners = found.sequence_ids()
    assert owners == [0, 0, 1, 1, None]
    assert found.token_to_sequence(0, 2) == 1
    assert found.n_sequences == 2
    assert found.char_to_token(0, 3, sequence_index=1) == 3
    assert tokenizer("We").n_sequences == 1


def test_a_row_that_was_cut_knows_its_place(small: str) -> None:
    tokenizer = PegasusTokenizerFast(small)
    rows = tokenizer(TEXT, truncation=True, max_length=6, return_overflowing_tokens=True)
    whole = tokenizer(TEXT, return_offsets_mapping=True)
    spans = [
        span for row in rows.encodings for span, owner in zip(row.offsets, row.sequence_ids) if owner == 0
    ]
    assert spans == whole["offset_mapping"][:-1]


def test_padding_is_no_text(tokenizer) -> None:
    found = tokenizer(["We are", TEXT], padding=True)
    row = found[0]
    assert row.tokens[-1] == "<pad>"
    assert row.special_tokens_mask[2:] == [1] * (len(row) - 2)
    assert row.word_ids[2:] == [None] * (len(row) - 2)
    assert row.type_ids == [0] * len(row)


def test_tokens_added_later_do_not_change_what_was_said_before(tokenizer) -> None:
    found = tokenizer("a newtoken")
    tokenizer.add_tokens(["newtoken"])
    assert len(found.tokens()) == len(found.input_ids)
    assert "newtoken" not in found.tokens()
    assert "newtoken" in tokenizer("a newtoken").tokens()


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda found: pickle.loads(pickle.dumps(found))]
)
def test_pickled_and_copied_numbers_and_origins_stay(tokenizer, twin) -> None:
    found = tokenizer([TEXT, "We are"], ["a pair", "of texts"], padding=True, return_tensors="np")
    other = twin(found)
    assert type(other) is BatchEncoding
    assert (other.input_ids == found.input_ids).all()
    assert other.is_fast
    assert other.n_sequences == 2
    for row in range(2):
        assert other.tokens(row) == found.tokens(row)
        assert other.word_ids(row) == found.word_ids(row)
        assert other.sequence_ids(row) == found.sequence_ids(row)
        assert other[row].offsets == found[row].offsets
        assert other[row].special_tokens_mask == found[row].special_tokens_mask
    assert other.char_to_token(0, 4) == found.char_to_token(0, 4)


def test_a_pickled_encoding_holds_no_vocabulary(tokenizer) -> None:
    """It goes from process to process; only its own tokens go with it."""
    assert len(pickle.dumps(tokenizer("We are"))) < 2000


def test_pickled_without_origins(tokenizer) -> None:
    padded = pickle.loads(pickle.dumps(tokenizer.pad({"input_ids": [[5, 6], [7]]})))
    assert not padded.is_fast
    with pytest.raises(OriginUnknown, match="where its tokens came from"):
        padded.tokens()


def test_built_from_numbers() -> None:
    found = BatchEncoding({"input_ids": [[1, 2]]})
    assert found.convert_to_tensors(None) is found
    assert found.convert_to_tensors("np").input_ids.shape == (1, 2)
    assert BatchEncoding(
        {"input_ids": [1, 2]}, tensor_type="np", prepend_batch_axis=True
    ).input_ids.shape == (1, 2)
    assert found.n_sequences is None
    assert BatchEncoding().data == {}
