"""A cached pass equals the whole pass, a padded batch equals its single runs, padding changes nothing."""

from __future__ import annotations

import numpy as np
import pytest


def texts(golden, room):
    return {name: room.native(golden.input(name)) for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1, 1), (3, 3), (1, 5), (5, 1)])
def test_cached_equals_whole(cuts, room, golden, models, close):
    model = models(room, golden)
    ids_BT = golden.input("decoder_input_ids")
    whole = room.call(model, **texts(golden, room), decoder_input_ids=room.native(ids_BT)).logits
    encoded = room.call(model.get_encoder(), **texts(golden, room))
    parts, past, at = [], None, 0
    for size in cuts:
        output = room.call(
            model,
            encoder_outputs=encoded,
            attention_mask=room.native(golden.input("attention_mask")),
            decoder_input_ids=room.native(ids_BT[:, at : at + size]),
            past_key_values=past,
            use_cache=True,
        )
        past, at = output.past_key_values, at + size
        parts.append(room.numpy(output.logits))
    close(np.concatenate(parts, axis=1), room.numpy(whole))


def test_a_cached_causal_model_equals_its_whole_pass(room, golden, models, close):
    model = models(room, golden, "causal")
    ids_BT = golden.input("decoder_input_ids")
    whole = room.call(model, input_ids=room.native(ids_BT)).logits
    first = room.call(model, input_ids=room.native(ids_BT[:, :2]), use_cache=True)
    rest = room.call(model, input_ids=room.native(ids_BT[:, 2:]), past_key_values=first.past_key_values)
    close(room.numpy(rest.logits), room.numpy(whole)[:, 2:])


def test_a_cached_pass_sees_the_mask_of_all_tokens(room, golden, models, close):
    """Behind a cache the decoder's mask covers the cached tokens too."""
    model = models(room, golden)
    ids_BT, mask_BT = golden.input("decoder_input_ids"), np.ones_like(golden.input("decoder_input_ids"))
    mask_BT[0, 1] = mask_BT[2, 2] = 0
    common = texts(golden, room)
    whole = room.call(
        model, **common, decoder_input_ids=room.native(ids_BT), decoder_attention_mask=room.native(mask_BT)
    )
    first = room.call(
        model,
        **common,
        decoder_input_ids=room.native(ids_BT[:, :4]),
        decoder_attention_mask=room.native(mask_BT[:, :4]),
        use_cache=True,
    )
    rest = room.call(
        model,
        **common,
        decoder_input_ids=room.native(ids_BT[:, 4:]),
        decoder_attention_mask=room.native(mask_BT),
        past_key_values=first.past_key_values,
    )
    close(room.numpy(rest.logits), room.numpy(whole.logits)[:, 4:])
    bare = room.call(model, **common, decoder_input_ids=room.native(ids_BT))
    assert np.abs(room.numpy(bare.logits) - room.numpy(whole.logits))[:, 4:].max() > 1e-3


def test_the_cache_is_not_changed_by_the_pass_that_reads_it(room, relu, models, close):
    model = models(room, relu)
    ids_BT = relu.input("decoder_input_ids")
    past = room.call(
        model, **texts(relu, room), decoder_input_ids=room.native(ids_BT[:, :3])
    ).past_key_values
    before = [[room.numpy(t).copy() for t in layer] for layer in past]

    def after(column):
        asked = {"decoder_input_ids": room.native(ids_BT[:, column : column + 1]), "past_key_values": past}
        return room.numpy(room.call(model, **texts(relu, room), **asked).logits)

    first, other, again = after(3), after(4), after(3)
    assert np.abs(first - other).max() > 1e-3
    close(again, first, tolerance=0)
    for layer, kept in zip(past, before, strict=True):
        for tensor, copy in zip(layer, kept, strict=True):
            close(room.numpy(tensor), copy, tolerance=0)


def test_shapes_of_the_cache(room, golden, models):
    model = models(room, golden)
    output = room.call(
        model,
        **texts(golden, room),
        decoder_input_ids=room.native(golden.input("decoder_input_ids")),
        use_cache=True,
    )
    config = model.config
    heads = config.decoder_attention_heads
    width = config.d_model // heads
    assert len(output.past_key_values) == config.decoder_layers
    for layer in output.past_key_values:
        assert [tuple(t.shape) for t in layer] == [(3, heads, 6, width)] * 2 + [(3, heads, 9, width)] * 2


def test_beams_of_one_text_share_its_cross_attention(room, golden, models, close):
    """Rows r of the decoder belong to text r // M where the encoder side has fewer rows."""
    beams = 4
    model = models(room, golden)
    rng = np.random.default_rng(0)
    ids_RT = rng.integers(2, golden.fields["vocab_size"], (3 * beams, 3))
    encoded = room.call(model.get_encoder(), **texts(golden, room))
    mask_BS = golden.input("attention_mask")
    folded = room.call(
        model,
        encoder_outputs=encoded,
        attention_mask=room.native(mask_BS),
        decoder_input_ids=room.native(ids_RT),
        use_cache=True,
    )
    copied = room.call(
        model,
        input_ids=room.native(np.repeat(golden.input("input_ids"), beams, axis=0)),
        attention_mask=room.native(np.repeat(mask_BS, beams, axis=0)),
        decoder_input_ids=room.native(ids_RT),
    )
    close(room.numpy(folded.logits), room.numpy(copied.logits))
    assert {tensor.shape[0] for layer in folded.past_key_values for tensor in layer[2:]} == {3}
    step = rng.integers(2, golden.fields["vocab_size"], (3 * beams, 1))
    pasts = [folded.past_key_values, copied.past_key_values]
    sides = [(encoded, mask_BS), ((room.native(np.repeat(room.numpy(encoded[0]), beams, axis=0)),), None)]
    logits = []
    for past, (memory, mask) in zip(pasts, sides, strict=True):
        mask = np.repeat(mask_BS, beams, axis=0) if mask is None else mask
        output = room.call(
            model,
            encoder_outputs=memory,
            attention_mask=room.native(mask),
            decoder_input_ids=room.native(step),
            past_key_values=past,
        )
        logits.append(room.numpy(output.logits))
    close(logits[0], logits[1])


def test_a_padded_batch_equals_its_single_runs(room, golden, models, close):
    model = models(room, golden)
    ids_BS, mask_BS = golden.input("input_ids"), golden.input("attention_mask")
    ids_BT = golden.input("decoder_input_ids")
    batch = room.call(model, **texts(golden, room), decoder_input_ids=room.native(ids_BT))
    for row, length in enumerate(mask_BS.sum(1)):
        single = room.call(
            model,
            input_ids=room.native(ids_BS[row : row + 1, :length]),
            decoder_input_ids=room.native(ids_BT[row : row + 1]),
        )
        close(room.numpy(batch.logits)[row], room.numpy(single.logits)[0], f"row {row}")


def test_more_padding_changes_nothing(room, golden, models, close):
    model = models(room, golden)
    ids_BT = room.native(golden.input("decoder_input_ids"))
    before = room.call(model, **texts(golden, room), decoder_input_ids=ids_BT)
    # Whatever stands in the padding, even real tokens.
    more = {
        "input_ids": np.pad(golden.input("input_ids"), ((0, 0), (0, 5)), constant_values=7),
        "attention_mask": np.pad(golden.input("attention_mask"), ((0, 0), (0, 5))),
    }
    after = room.call(model, **{k: room.native(v) for k, v in more.items()}, decoder_input_ids=ids_BT)
    close(room.numpy(after.logits), room.numpy(before.logits))


def test_padding_in_the_labels_changes_nothing(room, golden, models, close):
    model = models(room, golden)
    labels_BT = golden.input("labels")
    more = np.pad(labels_BT, ((0, 0), (0, 4)), constant_values=-100)
    one, other = (
        room.call(model, **texts(golden, room), labels=room.native(labels)).loss
        for labels in (labels_BT, more)
    )
    close(room.numpy(one), room.numpy(other))


def test_a_later_target_changes_no_earlier_logits(room, relu, models, close):
    model = models(room, relu)
    ids_BT = relu.input("decoder_input_ids").copy()
    before = room.numpy(room.call(model, **texts(relu, room), decoder_input_ids=room.native(ids_BT)).logits)
    ids_BT[:, 4] = (ids_BT[:, 4] + 5) % 41
    after = room.numpy(room.call(model, **texts(relu, room), decoder_input_ids=room.native(ids_BT)).logits)
    close(after[:, :4], before[:, :4], tolerance=1e-6)
    assert np.abs(after[:, 4:] - before[:, 4:]).max() > 1e-3
