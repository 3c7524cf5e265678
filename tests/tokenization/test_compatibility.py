"""What code written for transformers 4.34 calls, on both tokenizers."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken

from pegasus import AutoTokenizer, PegasusTokenizer, PegasusTokenizerFast
from pegasus.errors import BadSetting, NotOffered

ONE, TWO = "The people gave 7 votes.", "It was a long way to the school, and he had no map."
CORPUS = [["One sentence stands here.", "Two of them stand here."], ["Letters (and #) and 3 figures."]]


@pytest.fixture
def bigbird(kind, small: str):
    """As BigBird-Pegasus describes its vocabulary: nothing reserved, a mask of its own."""
    return kind(small, offset=0, mask_token="[MASK]", mask_token_sent=None)


def test_old_calls_work_and_warn(tokenizer) -> None:
    with pytest.warns(FutureWarning, match="text_target"):
        found = tokenizer.prepare_seq2seq_batch(
            [ONE, TWO], [TWO, ONE], max_length=5, max_target_length=9, return_tensors="np", src_lang="en"
        )
    assert (found.input_ids.shape, found.labels.shape) == ((2, 5), (2, 9))
    with pytest.warns(FutureWarning):
        assert tokenizer.prepare_seq2seq_batch([TWO], [ONE], max_length=4).labels[0][-1] == 1
    with pytest.warns(FutureWarning), tokenizer.as_target_tokenizer():
        assert tokenizer(ONE).input_ids == tokenizer(text_target=ONE).input_ids
    with pytest.warns(FutureWarning):
        assert tokenizer.sanitize_special_tokens() == 0


def test_old_keywords_work_and_warn(tokenizer) -> None:
    with pytest.warns(FutureWarning, match="pad_to_max_length"):
        padded = tokenizer(ONE, pad_to_max_length=True, max_length=20)
    assert padded.data == tokenizer(ONE, padding="max_length", max_length=20).data
    with pytest.warns(FutureWarning):
        assert (
            tokenizer([ONE, TWO], pad_to_max_length=True).data == tokenizer([ONE, TWO], padding=True).data
        )
    with pytest.warns(FutureWarning, match="truncation_strategy"):
        cut = tokenizer(TWO, truncation_strategy="only_first", max_length=6)
    assert cut.data == tokenizer(TWO, truncation="only_first", max_length=6).data
    # today's names win, and who asks for silence gets it
    assert (
        len(tokenizer(TWO, padding=False, truncation_strategy="only_first", truncation=False).input_ids) > 6
    )
    assert len(tokenizer(ONE, pad_to_max_length=True, max_length=30, verbose=False).input_ids) == 30


def test_lengths_beside_special_tokens(tokenizer, caplog) -> None:
    assert (tokenizer.max_len_single_sentence, tokenizer.max_len_sentences_pair) == (63, 63)
    tokenizer.max_len_single_sentence = 63
    assert "no effect" in caplog.text
    with pytest.raises(BadSetting, match="model_max_length"):
        tokenizer.max_len_sentences_pair = 60


def test_spans_have_names(tokenizer) -> None:
    found = tokenizer([ONE, TWO])
    school = TWO.index("school")
    word = found.char_to_word(1, school)
    assert found.word_to_chars(1, word).start == school
    tokens = found.word_to_tokens(1, word)
    assert found.token_to_chars(1, tokens.start).start == school
    assert found.token_to_chars(1, tokens.end - 1).end == school + len("school,")


def test_what_was_cut_away_has_the_form_of_each_class(small: str) -> None:
    slow, fast = PegasusTokenizer(small), PegasusTokenizerFast(small)
    ids = slow(TWO, add_special_tokens=False).input_ids
    keywords = {"truncation": True, "max_length": 7, "stride": 2, "return_overflowing_tokens": True}
    one = slow(TWO, **keywords)
    assert one.input_ids == [*ids[:6], 1]
    assert one["overflowing_tokens"] == ids[4:]
    assert one["num_truncated_tokens"] == len(ids) + 1 - 7
    assert "overflow_to_sample_mapping" not in one
    several = fast(TWO, **keywords)
    assert several.input_ids[0] == one.input_ids
    assert several["overflow_to_sample_mapping"] == [0] * len(several.input_ids)
    with pytest.raises(BadSetting, match="only_first"):
        slow(TWO, ONE, **keywords)


def test_sequences_are_cut_by_themselves(tokenizer) -> None:
    first, second = list(range(200, 210)), list(range(300, 306))
    cut = tokenizer.truncate_sequences
    assert cut(first, second, 6) == (first[:5], second[:5], [])
    assert cut(first, second, 5) == (first[:6], second[:5], [])
    assert cut(first, second, 3, "only_first", 2) == (first[:7], second, first[5:])
    assert cut(first, second, 4, "only_second") == (first, second[:2], second[2:])
    assert cut(first, None, 0) == (first, None, [])
    assert cut(first, second, 99) == ([], [], [])
    tokenizer.truncation_side = "left"
    assert cut(first, None, 3, stride=1) == (first[3:], None, first[:4])
    with pytest.raises(BadSetting, match="cannot remove 6"):
        cut(first, second, 6, "only_second")


def test_what_it_says_about_itself(tokenizer) -> None:
    tokenizer.name_or_path = "here"
    shown = repr(tokenizer)
    assert shown.startswith(f"{type(tokenizer).__name__}(name_or_path='here', vocab_size=1103, ")
    assert "special_tokens={'eos_token': '</s>'" in shown
    assert "\n\t105: AddedToken(" in shown
    kwargs = tokenizer.init_kwargs
    assert (kwargs["offset"], kwargs["pad_token"], kwargs["model_max_length"]) == (103, "<pad>", 64)
    assert kwargs["additional_special_tokens"] == tokenizer.additional_special_tokens
    assert tokenizer.init_inputs == ()
    assert tokenizer.max_model_input_sizes == {"google/pegasus-xsum": 512}
    assert type(tokenizer).vocab_files_names["vocab_file"] == "spiece.model"


def test_unknown_arguments_are_kept(kind, small: str, tmp_path: Path) -> None:
    one, other = kind(small, colour="red"), kind(small, colour=AddedToken("blue"))
    assert one.init_kwargs["colour"] == "red"
    other.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["colour"] == "blue"
    assert kind.from_pretrained(tmp_path).init_kwargs["colour"] == "blue"


def test_special_tokens_with_their_rules(tokenizer, tmp_path: Path) -> None:
    tokenizer.add_special_tokens({
        "cls_token": AddedToken("<cls>", rstrip=True), "additional_special_tokens": ["<one>"],
    })  # fmt: skip
    extended = tokenizer.special_tokens_map_extended
    assert extended["cls_token"].rstrip
    assert [token.content for token in extended["additional_special_tokens"]] == ["<one>"]
    assert [str(token) for token in tokenizer.all_special_tokens_extended] == tokenizer.all_special_tokens
    # a token that is there gets the rules it is given
    tokenizer.add_tokens(AddedToken("<mask_1>", lstrip=True))
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, type(tokenizer).from_pretrained(tmp_path)):
        assert one.added_tokens_decoder[2].lstrip
        assert one.added_tokens_decoder[2].special
        assert one("the   <mask_1>", return_offsets_mapping=True)["offset_mapping"][1] == (3, 14)
        assert one.tokenize("<cls>   the") == ["<cls>", "▁the"]


def test_special_tokens_are_set_by_their_ids(tokenizer) -> None:
    tokenizer.additional_special_tokens_ids = [2, 108]
    assert tokenizer.additional_special_tokens == ["<mask_1>", "▁the"]
    assert tokenizer.decode([2, 108, 147], skip_special_tokens=True) == "are"
    tokenizer.additional_special_tokens_ids = []
    assert tokenizer.additional_special_tokens == []
    tokenizer.additional_special_tokens = None
    assert tokenizer.additional_special_tokens is None
    assert tokenizer.additional_special_tokens_ids is None
    assert tokenizer.all_special_tokens == ["</s>", "<unk>", "<pad>", "<mask_2>"]
    tokenizer.eos_token_id = 108
    assert (tokenizer.eos_token, tokenizer("people").input_ids[-1]) == ("▁the", 108)
    with pytest.raises(BadSetting, match="eos_token cannot be 5"):
        tokenizer.eos_token = 5


def test_special_tokens_as_text(tokenizer) -> None:
    tokenizer.add_tokens(["covid-19"])
    text = "the <mask_1> covid-19</s>"
    assert tokenizer(text).input_ids[1:] == [2, 1103, 1, 1]
    for found in (
        tokenizer(text, split_special_tokens=True).input_ids,
        tokenizer.encode_ids([text], split_special_tokens=True)[0].tolist(),
        [*tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text, split_special_tokens=True)), 1],
    ):
        assert not {0, 2, 3} & set(found)
        assert found.count(1) == 1
        assert 1103 in found  # what is no special token is part of the text
    tokenizer.split_special_tokens = True
    assert tokenizer.tokenize("<pad>")[0] != "<pad>"
    assert tokenizer.encode_ids([text])[0].tolist() == tokenizer(text).input_ids


def test_padding_under_other_names(kind, small: str, tmp_path: Path) -> None:
    tokenizer = kind(small, model_input_names=["inputs", "attention_mask"])
    found = tokenizer.pad([{"inputs": [7, 8]}, {"inputs": [9]}], pad_to_multiple_of=4)
    assert found.data == {
        "inputs": [[7, 8, 0, 0], [9, 0, 0, 0]],
        "attention_mask": [[1, 1, 0, 0], [1, 0, 0, 0]],
    }
    with pytest.raises(BadSetting, match="needs 'inputs'"):
        tokenizer.pad({"input_ids": [[7]]})
    tokenizer.save_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path).model_input_names == ["inputs", "attention_mask"]
    without = kind(small, model_input_names=["input_ids"])
    assert without(ONE).keys() == {"input_ids"}
    with pytest.raises(BadSetting, match="'labels' does not have 2 rows"):
        without.pad({"input_ids": [[7], [8]], "labels": [1, 2, 3]})


def test_without_a_pad_token(tokenizer) -> None:
    tokenizer.pad_token = None
    assert len(tokenizer([ONE, TWO]).input_ids) == 2
    assert tokenizer.pad({"input_ids": [[7, 8]]}, padding=False).input_ids == [[7, 8]]
    with pytest.raises(BadSetting, match="no pad_token"):
        tokenizer(ONE, padding=True)


def test_arrays_and_their_numbers(tokenizer) -> None:
    ids = tokenizer(TWO).input_ids
    assert tokenizer(np.array([ONE, TWO])).data == tokenizer([ONE, TWO]).data
    assert tokenizer(TWO, truncation=True, max_length=np.int64(6)).input_ids == [*ids[:5], 1]
    assert tokenizer.convert_ids_to_tokens(np.int64(108)) == tokenizer.convert_ids_to_tokens(108) == "▁the"
    assert tokenizer.decode(list(map(np.int32, ids))) == tokenizer.decode(ids)
    assert tokenizer.prepare_for_model(np.array(ids[:-1])).input_ids == ids
    assert tokenizer.convert_tokens_to_ids(None) is None
    for wrong in ("20", 2.5, [3]):
        with pytest.raises(BadSetting, match="max_length is a whole number"):
            tokenizer(ONE, truncation=True, max_length=wrong)
    for rows in ([[1, 2], [3]], np.ones((2, 2), int), [1.5], ["a"]):
        with pytest.raises(BadSetting, match="whole numbers in one row"):
            tokenizer.decode(rows)


def test_conversations(tokenizer, tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "the people"}, {"role": "bot", "content": "we"}]
    lines = tokenizer.apply_chat_template(talk, tokenize=False).splitlines()
    assert lines == ["<|im_start|>user", "the people<|im_end|>", "<|im_start|>bot", "we<|im_end|>"]
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    assert again.apply_chat_template(talk, tokenize=False) == "the people</s>we</s>"
    assert again.apply_chat_template(talk) == tokenizer.encode(
        "the people</s>we</s>", add_special_tokens=False
    )
    padded = again.apply_chat_template(talk, padding=True, max_length=12, return_tensors="np")
    assert padded.shape == (1, 12)
    for template in ("{% for %}", "{{ raise_exception('no') }}", "{{ ''.__class__.__mro__ }}"):
        with pytest.raises(BadSetting, match="chat template"):
            tokenizer.apply_chat_template(talk, chat_template=template)


def test_another_vocabulary_from_texts(small: str) -> None:
    tokenizer = PegasusTokenizerFast(small, model_max_length=64)
    renamed = {"</s>": "<end>", "<mask_2>": "[M]"}
    fresh = tokenizer.train_new_from_iterator(
        CORPUS, 150, special_tokens_map=renamed, new_special_tokens=["<new>"]
    )
    assert (fresh.eos_token, fresh.mask_token, fresh.pad_token) == ("<end>", "[M]", "<pad>")
    assert (fresh.eos_token_id, fresh.mask_token_id, fresh.unk_token_id) == (1, 3, 105)
    assert fresh.convert_tokens_to_ids("<new>") == fresh.vocab_size
    assert fresh.model_max_length == 64
    found = fresh("One sentence stands here.").input_ids
    assert max(found) < fresh.vocab_size < 1103
    assert fresh.decode(found, skip_special_tokens=True) == "One sentence stands here."
    with pytest.raises(BadSetting, match="keep their names"):
        tokenizer.train_new_from_iterator(CORPUS, 150, special_tokens_map={"<unk_9>": "x"})


def test_the_form_of_bigbird(bigbird, small: str, tmp_path: Path) -> None:
    assert (len(bigbird), bigbird.vocab_size, bigbird.mask_token_id) == (1001, 1000, 1000)
    assert bigbird.additional_special_tokens == []
    bigbird.save_pretrained(tmp_path)
    again = type(bigbird).from_pretrained(tmp_path)
    assert again.additional_special_tokens == []
    assert again.special_tokens_map == bigbird.special_tokens_map
    assert again("the [MASK] people <mask_1>").data == bigbird("the [MASK] people <mask_1>").data
    ruled = type(bigbird)(
        small, offset=0, mask_token=AddedToken("[MASK]", lstrip=True), mask_token_sent=None
    )
    assert ruled.tokenize("the [MASK]") == ["▁the", "[MASK]"]


def test_one_form_of_the_vocabulary(tokenizer, kind, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    tokenizer.save_pretrained(old, legacy_format=True)
    tokenizer.save_pretrained(new, legacy_format=False)
    assert not (old / "tokenizer.json").exists()
    assert not (new / "spiece.model").exists()
    assert kind.from_pretrained(old)(TWO).data == kind.from_pretrained(new)(TWO).data == tokenizer(TWO).data


def test_a_single_file(kind, small: str) -> None:
    with pytest.warns(FutureWarning, match="folder"):
        assert kind.from_pretrained(small)(TWO).data == kind(small)(TWO).data


def test_keywords_that_say_nothing_here(kind, tokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    for loader in (kind, AutoTokenizer):
        again = loader.from_pretrained(tmp_path, config=object(), trust_remote_code=True, _from_auto=True)
        assert "config" not in again.init_kwargs
    assert AutoTokenizer.from_pretrained(tmp_path, tokenizer_type="pegasus").is_fast
    with pytest.raises(NotOffered, match="'bert'"):
        AutoTokenizer.from_pretrained(tmp_path, tokenizer_type="bert")
    assert PegasusTokenizerFast.from_pretrained(tmp_path, from_slow=True)(ONE).data == tokenizer(ONE).data


def test_cutting_at_random_survives_copies(small: str) -> None:
    options = {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}
    tokenizer = PegasusTokenizer(small, sp_model_kwargs=options)
    for one in (tokenizer, copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert len({tuple(one.tokenize(TWO)) for _ in range(12)}) > 1
    with pytest.raises(NotOffered, match="PegasusTokenizer"):
        PegasusTokenizerFast(small, sp_model_kwargs=options)


def test_what_belongs_to_a_call_is_no_state(small: str) -> None:
    tokenizer = PegasusTokenizerFast(small)
    with pytest.raises(NotOffered, match="call"):
        tokenizer.set_truncation_and_padding(None, None, 3, 0, None)
    assert tokenizer.decoder.decode(["▁the", "▁people"]) == "the people"
    assert PegasusTokenizer(small).prepare_for_tokenization("a", colour=1) == ("a", {"colour": 1})
