"""Special tokens: their names, and tokens of one's own that work."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from pegasus import PegasusTokenizer
from pegasus.errors import BadSetting
from pegasus.tokenization.vocabulary.added_tokens import AddedToken, as_token, rules_of
from pegasus.tokenization.vocabulary.layout import Layout


def test_the_reserved_ids() -> None:
    names = Layout().reserved
    assert [names[number] for number in (0, 1, 2, 3, 4, 104, 105)] == [
        "<pad>", "</s>", "<mask_1>", "<mask_2>", "<unk_2>", "<unk_102>", "<unk>",
    ]  # fmt: skip
    assert list(names) == list(range(106))
    assert Layout(offset=0).reserved == {0: "<pad>", 1: "</s>", 2: "<unk>"}
    unmasked = Layout(mask_token_sent=None).reserved
    assert (len(unmasked), unmasked[2], unmasked[104], unmasked[105]) == (
        106,
        "<unk_2>",
        "<unk_104>",
        "<unk>",
    )
    assert len(set(unmasked.values())) == 106


def test_names_and_ids(tokenizer) -> None:
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<pad>", 0)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("</s>", 1)
    assert (tokenizer.unk_token, tokenizer.unk_token_id) == ("<unk>", 105)
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("<mask_2>", 3)
    assert (tokenizer.mask_token_sent, tokenizer.mask_token_sent_id) == ("<mask_1>", 2)
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == (None, None)
    assert tokenizer.pad_token_type_id == 0
    assert tokenizer.additional_special_tokens_ids == [2, *range(4, 105)]


def test_names_of_your_own(kind, small: str) -> None:
    tokenizer = kind(
        small,
        pad_token="[PAD]",
        eos_token="[END]",
        unk_token="[?]",
        mask_token="[M]",
        mask_token_sent="[S]",
    )
    assert tokenizer("the [M] ☃ [S]").input_ids == [108, 3, 115, 105, 2, 1]
    assert tokenizer.decode([0, 1, 2, 3, 105]) == "[PAD][END][S][M][?]"
    assert len(tokenizer) == 1103


def test_no_masks(kind, small: str) -> None:
    tokenizer = kind(small, mask_token_sent=None)
    assert tokenizer.convert_ids_to_tokens([2, 3, 104, 105]) == ["<unk_2>", "<unk_3>", "<unk_104>", "<unk>"]
    assert tokenizer.mask_token_id == 1103
    assert tokenizer("the people").input_ids == kind(small)("the people").input_ids


def test_no_offset(kind, small: str) -> None:
    tokenizer, usual = kind(small, offset=0, mask_token_sent=None), kind(small)
    ids = usual("We are a nation ☃<n>.").input_ids
    assert tokenizer("We are a nation ☃<n>.").input_ids == [
        number - 103 if number > 1 else number for number in ids
    ]
    assert tokenizer.decode(tokenizer("We are").input_ids, skip_special_tokens=True) == "We are"
    assert tokenizer.vocab_size == 1000


def test_a_token_that_exists_is_named_without_a_new_id(tokenizer) -> None:
    tokenizer.bos_token = tokenizer.eos_token
    assert tokenizer.bos_token_id == 1
    tokenizer.mask_token_id = 2
    assert tokenizer.mask_token == "<mask_1>"
    tokenizer.bos_token = None
    assert tokenizer.bos_token_id is None
    assert len(tokenizer) == 1103


def test_a_token_that_does_not_exist_is_added(tokenizer) -> None:
    assert tokenizer.add_special_tokens({"cls_token": "[CLS]", "sep_token": AddedToken("[SEP]")}) == 2
    assert (tokenizer.cls_token_id, tokenizer.sep_token_id) == (1103, 1104)
    assert tokenizer.all_special_tokens[:4] == ["</s>", "<unk>", "[SEP]", "<pad>"]
    with pytest.raises(BadSetting, match="summary_token"):
        tokenizer.add_special_tokens({"summary_token": "<x>"})


def test_tokens_of_your_own(tokenizer) -> None:
    assert tokenizer.add_tokens(["covid", "covid", "", "the"]) == 2
    assert tokenizer.add_tokens("covid-19") == 1
    assert len(tokenizer) == 1106
    assert tokenizer.vocab_size == 1103
    assert tokenizer.convert_tokens_to_ids(["covid", "the", "covid-19"]) == [1103, 1104, 1105]
    # the longest wins, and a word may contain one
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("covid-19 covids").input_ids)
    assert tokens == ["covid-19", "covid", "▁s", "</s>"]
    assert tokenizer.get_vocab()["covid"] == 1103
    assert tokenizer.get_added_vocab()["covid-19"] == 1105


def test_a_piece_may_be_declared_special(tokenizer) -> None:
    assert tokenizer.add_tokens(["▁the"], special_tokens=True) == 0
    assert tokenizer.convert_tokens_to_ids("▁the") == 108
    assert 108 in tokenizer.all_special_ids


def test_symbols_of_the_vocabulary_keep_their_way_of_being_cut(tokenizer) -> None:
    before = tokenizer("line<n>line").input_ids
    assert tokenizer.add_tokens(["<n>"]) == 0
    assert tokenizer("line<n>line").input_ids == before


def test_rules_of_added_tokens(tokenizer) -> None:
    tokenizer.add_tokens([
        AddedToken("<left>", lstrip=True), AddedToken("<right>", rstrip=True),
        AddedToken("one", single_word=True),
    ])  # fmt: skip
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("are <left> <right> are one ones someone").input_ids)
    assert tokens[:4] == ["▁are", "<left>", "<right>", "▁are"]
    assert tokens.count("one") - ("one" in tokenizer.tokenize("ones someone")) == 1
    text = "are  <left>  are"
    found = tokenizer(text, return_offsets_mapping=True)
    assert found["offset_mapping"][1] == (3, 11)
    assert tokenizer.convert_ids_to_tokens(found.input_ids)[1] == "<left>"


@pytest.mark.parametrize("token", [7, None, ["a"]])
def test_what_is_no_token_is_refused(tokenizer, token) -> None:
    with pytest.raises(TypeError, match="AddedToken"):
        tokenizer.add_tokens([token])
    with pytest.raises(TypeError, match="list"):
        tokenizer.additional_special_tokens = "<one>"


def test_replacing_the_additional_ones(tokenizer) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<a>"]})
    assert tokenizer.additional_special_tokens == ["<a>"]
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<b>"]}, replace_additional_special_tokens=False
    )
    assert tokenizer.additional_special_tokens == ["<a>", "<b>"]
    # what is reserved stays a token
    assert tokenizer("<unk_7>").input_ids == [9, 1]


def test_spaces_around_added_tokens(tokenizer) -> None:
    tokenizer.add_tokens(["<one>"])
    ids = tokenizer("are <one> are").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "are <one> are"
    assert tokenizer.decode(ids, True, spaces_between_special_tokens=False) == "are<one>are"


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies_are_whole_and_apart(tokenizer, twin) -> None:
    tokenizer.add_tokens(["<one>"])
    tokenizer("We are")
    other = twin(tokenizer)
    assert other("a <one> ﬁne").data == tokenizer("a <one> ﬁne").data
    other.add_tokens(["<two>"])
    assert len(tokenizer) == len(other) - 1
    assert tokenizer("<two>").input_ids != other("<two>").input_ids


def test_pickled_tokenizers_are_small_next_to_their_memory(small: str) -> None:
    tokenizer = PegasusTokenizer(small)
    fresh = len(pickle.dumps(tokenizer))
    tokenizer(" ".join(f"word{number}" for number in range(3000)))
    assert len(pickle.dumps(tokenizer)) < fresh + 100


def test_a_model_grows_with_the_tokenizer(tokenizer, tmp_path: Path) -> None:
    tokenizer.add_tokens(["<one>"], special_tokens=True)
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    assert len(again) == max(again.get_vocab().values()) + 1 == 1104
    assert again.added_tokens_decoder[1103].special
    assert again.all_special_tokens == tokenizer.all_special_tokens


def test_every_form_of_a_token() -> None:
    token = AddedToken("<x>", lstrip=True, special=True, normalized=False)
    assert rules_of(as_token(rules_of(token), special=False)) == rules_of(token)
    assert as_token("x", special=True).special
    assert not as_token("x", special=True).normalized
    assert as_token(AddedToken("y"), special=True).special
