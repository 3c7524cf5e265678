"""What a forward pass gives back: only what was asked for, as a record or as a plain tuple."""

from __future__ import annotations

import numpy as np
import pytest


def arguments(golden, room, kind):
    if kind == "causal":
        return {"input_ids": room.native(golden.input("decoder_input_ids"))}
    names = ("input_ids", "attention_mask", "decoder_input_ids")
    return {name: room.native(golden.input(name)) for name in names}


FIRST = {"bare": "last_hidden_state", "conditional": "logits", "causal": "logits"}
SIDES = ("encoder_last_hidden_state",)


@pytest.mark.parametrize("kind", FIRST)
def test_nothing_comes_that_was_not_asked_for(kind, room, relu, models):
    output = room.call(models(room, relu, kind), **arguments(relu, room, kind), use_cache=False)
    expected = {FIRST[kind]} | (set() if kind == "causal" else {"encoder_last_hidden_state"})
    assert set(output) == expected
    for field in (
        "past_key_values",
        "decoder_attentions",
        "cross_attentions",
        "attentions",
        "hidden_states",
    ):
        assert getattr(output, field, None) is None


@pytest.mark.parametrize("kind", FIRST)
def test_use_cache_is_the_default_of_the_configuration(kind, room, relu, models):
    model = models(room, relu, kind)
    assert room.call(model, **arguments(relu, room, kind)).past_key_values is not None
    model.config.use_cache = False
    assert room.call(model, **arguments(relu, room, kind)).past_key_values is None


@pytest.mark.parametrize("kind", FIRST)
def test_the_configuration_may_ask_for_everything(kind, room, relu, models):
    model = models(room, relu, kind, output_attentions=True, output_hidden_states=True)
    output = room.call(model, **arguments(relu, room, kind))
    names = (
        ("attentions", "hidden_states")
        if kind == "causal"
        else ("decoder_attentions", "encoder_hidden_states")
    )
    assert all(output[name] is not None for name in names)


@pytest.mark.parametrize("kind", FIRST)
@pytest.mark.parametrize(
    "asked", [{}, {"output_attentions": True}, {"output_hidden_states": True, "use_cache": False}]
)
def test_a_tuple_holds_what_the_record_holds(kind, asked, room, relu, models, close):
    model, given = models(room, relu, kind), arguments(relu, room, kind)
    record = room.call(model, **given, **asked)
    plain = room.call(model, **given, **asked, return_dict=False)
    assert type(plain) is tuple
    assert len(plain) == len(record.to_tuple())
    same(plain, record.to_tuple(), room, close)


def test_a_tuple_with_a_loss_starts_with_it(room, relu, models, close):
    model = models(room, relu)
    given = {name: room.native(relu.input(name)) for name in ("input_ids", "attention_mask", "labels")}
    loss, logits, *_ = room.call(model, **given, return_dict=False)
    close(room.numpy(loss), relu.answers("labels")["loss"])
    close(room.numpy(logits), relu.answers("labels")["logits"])


def test_the_configuration_may_ask_for_tuples(room, relu, models):
    model = models(room, relu, return_dict=False)
    assert isinstance(room.call(model, **arguments(relu, room, "conditional")), tuple)


def same(one, other, room, close):
    if isinstance(one, tuple | list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b, room, close)
    else:
        close(room.numpy(one), room.numpy(other))


def test_asking_to_see_attentions_changes_no_number(room, golden, models, close):
    """The fused attention and the exact one are the same function."""
    model, given = models(room, golden), arguments(golden, room, "conditional")
    plain, seen = (room.call(model, **given, output_attentions=wanted) for wanted in (False, True))
    close(room.numpy(plain.logits), room.numpy(seen.logits))


def test_attentions_are_distributions_over_what_may_be_seen(room, golden, models):
    output = room.call(
        models(room, golden), **arguments(golden, room, "conditional"), output_attentions=True
    )
    mask_BS = golden.input("attention_mask")[:, None, None, :]
    for weights in output.encoder_attentions + output.cross_attentions:
        array = room.numpy(weights)
        np.testing.assert_allclose(array.sum(-1), 1, atol=1e-5)
        assert (array * (1 - mask_BS)).max() == 0
    for weights in output.decoder_attentions:
        assert np.triu(room.numpy(weights), 1).max() == 0


def test_hidden_states_are_embeddings_then_one_a_layer(room, golden, models, close):
    model = models(room, golden)
    output = room.call(model, **arguments(golden, room, "conditional"), output_hidden_states=True)
    assert len(output.encoder_hidden_states) == model.config.encoder_layers + 1
    assert len(output.decoder_hidden_states) == model.config.decoder_layers + 1
    bare = room.call(models(room, golden, "bare"), **arguments(golden, room, "conditional"))
    close(room.numpy(output.encoder_last_hidden_state), room.numpy(bare.encoder_last_hidden_state))


@pytest.mark.parametrize("form", ["record", "tuple", "longer"])
def test_every_form_of_encoder_outputs(form, room, relu, models, close):
    model = models(room, relu)
    given = arguments(relu, room, "conditional")
    expected = room.call(model, **given)
    encoded = room.call(
        model.get_encoder(),
        input_ids=given.pop("input_ids"),
        attention_mask=given["attention_mask"],
        output_hidden_states=form == "longer",
    )
    output = room.call(model, **given, encoder_outputs=encoded if form == "record" else encoded.to_tuple())
    close(room.numpy(output.logits), room.numpy(expected.logits))
    assert (output.encoder_hidden_states is not None) == (form == "longer")


def test_encoder_outputs_as_a_tuple_and_no_record_wanted(room, relu, models, close):
    model = models(room, relu)
    given = arguments(relu, room, "conditional")
    expected = room.call(model, **given).logits
    encoded = room.call(
        model.get_encoder(), input_ids=given.pop("input_ids"), attention_mask=given["attention_mask"]
    )
    logits = room.call(model, **given, encoder_outputs=(encoded[0],), return_dict=False)[0]
    close(room.numpy(logits), room.numpy(expected))
