"""What a call takes, gives, refuses and says."""

from __future__ import annotations

import logging
from itertools import chain
from typing import Any

import numpy as np
import pytest

from pegasus import PegasusTokenizerFast
from pegasus.errors import BadSetting, UnsupportedArgument

ONE, TWO = "We are a nation of laws.", "The state of the union is strong, and the people know it."


def test_one_text_gives_lists_and_several_give_rows(tokenizer) -> None:
    assert isinstance(tokenizer(ONE).input_ids[0], int)
    assert tokenizer([ONE]).input_ids == [tokenizer(ONE).input_ids]


def test_tensors(tokenizer) -> None:
    torch = pytest.importorskip("torch")
    batch = tokenizer([ONE, TWO], padding="longest", truncation=True, return_tensors="pt").to("cpu")
    assert batch.input_ids.shape == batch["attention_mask"].shape
    assert batch.input_ids.dtype == torch.int64
    arrays = tokenizer([ONE, TWO], padding=True, return_tensors="np")
    assert isinstance(arrays.input_ids, np.ndarray)
    assert (arrays.input_ids == batch.input_ids.numpy()).all()


def test_rows_of_different_lengths_are_no_tensor(tokenizer) -> None:
    with pytest.raises(BadSetting, match="padding=True"):
        tokenizer([ONE, TWO], return_tensors="np")


def test_an_empty_text_is_a_tensor_too(tokenizer) -> None:
    found = tokenizer("", add_special_tokens=False, return_tensors="np")
    assert found.input_ids.shape == (1, 0)
    assert found.input_ids.dtype == np.int64


def test_no_texts_give_no_rows(tokenizer) -> None:
    assert tokenizer([]).data == {"input_ids": [], "attention_mask": []}


@pytest.mark.parametrize("keyword", ["pad_to_maximum", "truncation_side", "return_tensor"])
def test_unknown_keywords_are_refused_by_name(tokenizer, keyword: str) -> None:
    with pytest.raises(UnsupportedArgument, match=keyword):
        tokenizer(ONE, **{keyword: True})
    with pytest.raises(UnsupportedArgument, match=keyword):
        tokenizer.decode([107], **{keyword: True})


@pytest.mark.parametrize(
    "keywords",
    [
        {"padding": "widest"},
        {"truncation": "first"},
        {"padding_side": "middle", "padding": True},
        {"truncation": True, "max_length": 0},
        {"padding": True, "pad_to_multiple_of": 0},
        {"truncation": True, "padding": True, "max_length": 10, "pad_to_multiple_of": 8},
        {"truncation": True, "max_length": 6, "stride": 5, "return_overflowing_tokens": True},
        {"truncation": "only_second", "max_length": 3},
        {"return_tensors": "mx", "padding": True},
    ],
)
def test_settings_that_make_no_sense_are_refused(tokenizer, keywords: dict[str, Any]) -> None:
    with pytest.raises(BadSetting):
        tokenizer([ONE], **keywords)


@pytest.mark.parametrize("text", [None, 7, {"text": "x"}, [["a", 1]]])
def test_what_is_no_text_is_refused(tokenizer, text: Any) -> None:
    with pytest.raises((TypeError, BadSetting)):
        tokenizer(text, is_split_into_words=isinstance(text, list))


def test_second_texts_must_match(tokenizer) -> None:
    with pytest.raises(BadSetting, match="2 texts and 1 second"):
        tokenizer([ONE, TWO], [ONE])
    with pytest.raises(TypeError, match="one second text for each"):
        tokenizer([ONE, TWO], ONE)


def test_a_text_that_is_too_long_is_said_once(tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tokenizer(TWO * 9)
        tokenizer(TWO * 9)
    (record,) = caplog.records
    assert "longer than the specified maximum sequence length" in record.getMessage()
    assert "> 64" in record.getMessage()


@pytest.mark.parametrize("keywords", [{"verbose": False}, {"truncation": True}, {"max_length": 500}])
def test_nothing_is_said_when_it_was_meant(tokenizer, caplog, keywords: dict[str, Any]) -> None:
    with caplog.at_level(logging.WARNING):
        tokenizer(TWO * 9, **({"truncation": True} if "max_length" in keywords else {}), **keywords)
    assert not caplog.records


def test_max_length_alone_cuts_and_says_so(tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(tokenizer(TWO, max_length=5).input_ids) == 5
    assert "truncation=True" in caplog.text


def test_without_any_maximum_nothing_is_cut_and_that_is_said(kind, small: str, caplog) -> None:
    tokenizer = kind(small)
    with caplog.at_level(logging.WARNING):
        found = tokenizer([ONE, TWO], truncation=True, padding="max_length")
    assert found.input_ids == tokenizer([ONE, TWO]).input_ids
    assert "the model has none" in caplog.text


def test_the_model_s_maximum_counts_where_none_is_given(tokenizer) -> None:
    found = tokenizer([ONE, TWO * 9], truncation=True, padding="max_length")
    assert [len(row) for row in found.input_ids] == [64, 64]
    assert found.input_ids[1][-1] == tokenizer.eos_token_id


def test_the_left_side(tokenizer) -> None:
    ids = tokenizer(TWO).input_ids
    tokenizer.truncation_side = tokenizer.padding_side = "left"
    assert tokenizer(TWO, truncation=True, max_length=6).input_ids == ids[-6:]
    padded = tokenizer([ONE, TWO], padding=True)
    assert padded.input_ids[0][0] == tokenizer.pad_token_id
    assert padded.attention_mask[0][0] == 0


def test_overflowing_rows_cover_the_text(small: str) -> None:
    tokenizer = PegasusTokenizerFast(small)
    ids = tokenizer(TWO, add_special_tokens=False).input_ids
    for side in ("right", "left"):
        tokenizer.truncation_side = side
        rows = tokenizer(TWO, truncation=True, max_length=7, return_overflowing_tokens=True).input_ids
        texts = [row[:-1] for row in rows]
        assert [*chain.from_iterable(texts if side == "right" else texts[::-1])] == ids


def test_overflow_of_ids_on_the_left(tokenizer) -> None:
    tokenizer.truncation_side = "left"
    found = tokenizer.prepare_for_model(
        [110, 120, 130, 140], truncation=True, max_length=3, stride=1, return_overflowing_tokens=True
    )
    assert found.input_ids == [130, 140, 1]
    assert found["overflowing_tokens"] == [110, 120, 130]
    assert found["num_truncated_tokens"] == 2


def test_targets_become_labels(tokenizer) -> None:
    both = tokenizer([ONE, TWO], text_target=[TWO, ONE])
    assert both["labels"] == tokenizer(text_target=[TWO, ONE])["input_ids"]
    assert both["input_ids"] == tokenizer([ONE, TWO])["input_ids"]
    paired = tokenizer(ONE, text_target=TWO, text_pair_target=ONE)
    assert paired["labels"] == tokenizer(TWO, ONE)["input_ids"]


def test_tokens_and_ids_are_taken_as_they_are(tokenizer) -> None:
    ids = tokenizer(ONE, add_special_tokens=False).input_ids
    tokens = tokenizer.tokenize(ONE)
    assert tokenizer.encode(tokens) == tokenizer.encode(ids) == tokenizer.encode(ONE)
    assert tokenizer.encode_plus(ids, return_offsets_mapping=True).tokens() == [*tokens, "</s>"]


def test_batch_encode_plus_takes_pairs(tokenizer) -> None:
    found = tokenizer.batch_encode_plus([(ONE, TWO), (TWO, ONE)])
    assert found.input_ids == tokenizer([ONE, TWO], [TWO, ONE]).input_ids
    assert tokenizer([[ONE, TWO], [TWO, ONE]]).input_ids == found.input_ids
    assert tokenizer([[110, 120], [130, 140]]).input_ids == [[110, 120, 1], [130, 140, 1]]


def test_tokenize_with_a_second_text(tokenizer) -> None:
    assert tokenizer.tokenize("We", "are", add_special_tokens=True) == ["▁We", "▁are", "</s>"]


def test_words_belong_to_their_numbers(tokenizer) -> None:
    found = tokenizer(["nation", "of", "laws."], is_split_into_words=True)
    assert sorted({word for word in found.word_ids() if word is not None}) == [0, 1, 2]
    assert found.word_to_tokens(1) == (found.word_ids().index(1), found.word_ids().index(2))


def test_padding_collates_single_encodings(tokenizer) -> None:
    torch = pytest.importorskip("torch")
    rows = [tokenizer(text, return_special_tokens_mask=True) for text in (ONE, TWO)]
    whole = tokenizer([ONE, TWO], padding=True, return_special_tokens_mask=True)
    assert tokenizer.pad(rows).data == whole.data
    ragged = {"input_ids": [torch.tensor([5, 1]), torch.tensor([5, 6, 1])]}
    padded = tokenizer.pad(ragged)
    assert padded.input_ids.tolist() == [[5, 1, 0], [5, 6, 1]]
    assert padded.attention_mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert tokenizer.pad(rows, pad_to_multiple_of=32).input_ids[0][-1] == 0
    with pytest.raises(BadSetting, match="input_ids"):
        tokenizer.pad({"labels": [1]})


def test_decoding_takes_tensors_arrays_and_single_ids(tokenizer) -> None:
    torch = pytest.importorskip("torch")
    ids = tokenizer(ONE).input_ids
    for form in (ids, np.array(ids), torch.tensor(ids), tuple(ids)):
        assert tokenizer.decode(form, skip_special_tokens=True) == ONE
    assert tokenizer.batch_decode(torch.tensor([ids, ids]), skip_special_tokens=True) == [ONE, ONE]
    assert tokenizer.decode(ids[0]) == "We"
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("number", [-100, -1, 1103, 10**9])
def test_a_number_that_is_no_id_is_refused(tokenizer, number: int) -> None:
    with pytest.raises(BadSetting, match=f"{number} is no id"):
        tokenizer.decode([107, number])


def test_sampling_cuts_differently_and_spells_the_same(small: str) -> None:
    from pegasus import PegasusTokenizer

    sampling = {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}
    tokenizer = PegasusTokenizer(small, sp_model_kwargs=sampling)
    cuts = {tuple(tokenizer(TWO).input_ids) for _ in range(20)}
    assert len(cuts) > 1
    assert {tokenizer.decode(list(cut), skip_special_tokens=True) for cut in cuts} == {TWO}
    spelled = {tuple(tokenizer.tokenize(TWO)) for _ in range(20)}
    assert len(spelled) > 1
    assert {"".join(tokens) for tokens in spelled} == {"▁" + TWO.replace(" ", "▁")}
    found = tokenizer(TWO + " ☃", return_offsets_mapping=True)
    assert found.tokens()[-2:] == ["☃", "</s>"]
    assert len(found["offset_mapping"]) == len(found.input_ids)
    assert found["offset_mapping"][-2] == (len(TWO) + 1, len(TWO) + 2)
