"""The output records: attribute, key, index and tuple access, and the fields of the reference page."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields

import pytest

from pegasus.spec import outputs

#: The records of the reference page's PyTorch part, and their fields in order.
RECORDS = {
    "BaseModelOutput": "last_hidden_state hidden_states attentions",
    "BaseModelOutputWithPastAndCrossAttentions": (
        "last_hidden_state past_key_values hidden_states attentions cross_attentions"
    ),
    "Seq2SeqModelOutput": (
        "last_hidden_state past_key_values decoder_hidden_states decoder_attentions cross_attentions "
        "encoder_last_hidden_state encoder_hidden_states encoder_attentions"
    ),
    "Seq2SeqLMOutput": (
        "loss logits past_key_values decoder_hidden_states decoder_attentions cross_attentions "
        "encoder_last_hidden_state encoder_hidden_states encoder_attentions"
    ),
    "CausalLMOutputWithCrossAttentions": (
        "loss logits past_key_values hidden_states attentions cross_attentions"
    ),
}


@pytest.mark.parametrize("name", RECORDS)
def test_fields(name):
    assert [field.name for field in fields(getattr(outputs, name))] == RECORDS[name].split()


def record():
    return outputs.Seq2SeqLMOutput(logits="L", past_key_values=((1, 2),), encoder_last_hidden_state="E")


def test_four_ways_to_a_field():
    out = record()
    assert out.logits == out["logits"] == out[0] == out.to_tuple()[0] == "L"
    assert out[-1] == "E"
    assert out[:2] == ("L", ((1, 2),))
    assert out.get("logits") == "L"


def test_what_was_not_asked_for_is_absent():
    out = record()
    assert out.loss is None
    assert "loss" not in out
    assert list(out) == list(out.keys()) == ["logits", "past_key_values", "encoder_last_hidden_state"]
    assert len(out) == 3
    with pytest.raises(KeyError):
        out["loss"]
    with pytest.raises(IndexError):
        out[3]


def test_setting_reaches_both_forms():
    out = record()
    out.logits = "M"
    assert out["logits"] == out[0] == "M"
    out["logits"] = "N"
    assert out.logits == out[0] == "N"


def test_a_field_cannot_be_deleted():
    with pytest.raises(TypeError, match="cannot be deleted"):
        del record()["logits"]


def test_copies_and_pickles():
    for again in (copy.deepcopy(record()), copy.copy(record()), pickle.loads(pickle.dumps(record()))):
        assert type(again) is outputs.Seq2SeqLMOutput
        assert again.to_tuple() == record().to_tuple()
        assert again.loss is None


def test_a_record_is_rebuilt_from_a_mapping_or_from_pairs():
    """As accelerate and DataParallel do, which know dictionaries but not these."""
    out = record()
    for again in (
        type(out)({k: v * 2 for k, v in out.items()}),
        type(out)((k, v * 2) for k, v in out.items()),
    ):
        assert again.logits == again[0] == "LL"
        assert list(again) == list(out)
        assert again.loss is None
    with pytest.raises(TypeError, match="no field 'lojits'"):
        outputs.Seq2SeqLMOutput({"lojits": 1})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("pop", ["last_hidden_state"]),
        ("popitem", []),
        ("clear", []),
        ("update", [{"last_hidden_state": 2}]),
        ("setdefault", ["attentions", 2]),
    ],
)
def test_keys_and_attributes_cannot_come_apart(name, arguments):
    record = outputs.BaseModelOutput(last_hidden_state=1)
    with pytest.raises(TypeError, match=r"set its fields, or change dict\(record\)"):
        getattr(record, name)(*arguments)
    assert dict(record) == {"last_hidden_state": 1}
    assert (record.last_hidden_state, record.attentions) == (1, None)
