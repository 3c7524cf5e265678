"""From the parameters of a checkpoint to packed weights, one matrix at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from pegasus.backends.native.records import Linear
from pegasus.backends.packed.weights import Kind, PackedWeights, Packer
from pegasus.checkpoint.finite import refuse_not_finite
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.report import Fit, fit
from pegasus.errors import CheckpointMismatch, NotOffered
from pegasus.spec.positions import sinusoid_table

if TYPE_CHECKING:
    from pegasus.spec.config import PegasusConfig

#: A fused matrix: what it is called, and the parts that lie under each other in it.
Plan = Iterator[tuple[str, tuple[str, ...]]]


def pack_tensors(
    tensors: Mapping[str, RawTensor], config: PegasusConfig, kind: Kind, packer: Packer, source: str
) -> PackedWeights:
    """Packs tensors that go by the names of a checkpoint; no more than one matrix is ever held twice.

    Raises:
        CheckpointMismatch: a parameter is missing or has another shape.
        NotOffered: the encoder or the decoder has no layer.
    """
    if not config.encoder_layers or not config.decoder_layers:
        raise NotOffered(
            f"The model has {config.encoder_layers} layers in its encoder and {config.decoder_layers} in "
            "its decoder, and packed inference needs some in both: use PegasusForConditionalGeneration."
        )
    fitted = fit(tensors, config, "conditional")
    report = fitted.report
    if report.missing or report.mismatched:
        raise CheckpointMismatch(
            f"The weights of {source} are not those of its configuration. {'. '.join(report.lines())}. "
            "Packed inference needs all of them: use the config.json that belongs to them, or open the "
            "checkpoint with PegasusForConditionalGeneration and train what is missing."
        )
    return PackedWeights(
        config, kind, packer.layout, _linears(fitted, config, kind, packer), _vectors(fitted, config)
    )


def places(config: PegasusConfig) -> Plan:
    """Every packed matrix, and the canonical names, without ``.weight``, of what is fused in it."""
    for layer in range(config.encoder_layers):
        name = f"model.encoder.layers.{layer}"
        yield from _layer(f"encoder.{layer}", name)
    for layer in range(config.decoder_layers):
        name = f"model.decoder.layers.{layer}"
        yield from _layer(f"decoder.{layer}", name)
        yield f"decoder.{layer}.cross_q", (f"{name}.encoder_attn.q_proj",)
        yield f"decoder.{layer}.cross_kv", tuple(f"{name}.encoder_attn.{part}_proj" for part in "kv")
        yield f"decoder.{layer}.cross_out", (f"{name}.encoder_attn.out_proj",)


def _layer(place: str, name: str) -> Plan:
    yield f"{place}.qkv", tuple(f"{name}.self_attn.{part}_proj" for part in "qkv")
    yield f"{place}.out", (f"{name}.self_attn.out_proj",)
    yield f"{place}.fc1", (f"{name}.fc1",)
    yield f"{place}.fc2", (f"{name}.fc2",)


def _linears(fitted: Fit, config: PegasusConfig, kind: Kind, packer: Packer) -> dict[str, Linear]:
    tied, table = config.tie_word_embeddings, ("model.shared",)
    linears = {"head": _packed(fitted, table if tied else ("lm_head",), _head_bias(fitted), kind, packer)}
    if not tied:
        linears["embedding"] = _packed(fitted, table, None, kind, packer)
    for place, parts in places(config):
        bias = np.concatenate([_take(fitted, f"{part}.bias") for part in parts])
        linears[place] = _packed(fitted, parts, bias, kind, packer)
    return linears


def _packed(
    fitted: Fit, parts: tuple[str, ...], bias_N: np.ndarray | None, kind: Kind, packer: Packer
) -> Linear:
    """Matrices below each other, packed from where they lie; their file's memory is given back at once."""
    raw = [fitted.sources[f"{part}.weight"] for part in parts]
    for part, one in zip(parts, raw):
        refuse_not_finite(f"{part}.weight", one)
    arrays = [np.asarray(one.array(), dtype=np.float32) for one in raw]
    linear = packer.pack(kind, arrays[0] if len(arrays) == 1 else np.concatenate(arrays), bias_N)
    for one in raw:
        one.release()
    return linear


def _head_bias(fitted: Fit) -> np.ndarray | None:
    """The bias of the logits, of which most checkpoints have only zeros."""
    if "final_logits_bias" not in fitted.sources:
        return None
    bias_V = _take(fitted, "final_logits_bias").reshape(-1)
    return bias_V if bias_V.any() else None


def _vectors(fitted: Fit, config: PegasusConfig) -> dict[str, np.ndarray]:
    """The layer norms, and tables of positions that a checkpoint brought and no formula gives."""
    vectors = {}
    for name in fitted.sources:
        if "layer_norm" in name:
            vectors[name.removeprefix("model.")] = _take(fitted, name)
        elif name.endswith("embed_positions.weight"):
            table_PD = _take(fitted, name)
            if not _is_computed(table_PD, config.position_table):
                vectors[name.removeprefix("model.")] = table_PD
    return vectors


def _take(fitted: Fit, name: str) -> np.ndarray:
    """A parameter as float32; a copy, after which its file's memory is given back."""
    raw = fitted.sources[name]
    refuse_not_finite(name, raw)
    values = np.array(raw.array(), dtype=np.float32)
    raw.release()
    return values


def _is_computed(table_PD: np.ndarray, table: str) -> bool:
    """Whether the rows are those of the formula, to the last bit: a half-precision file rounded them."""
    return bool(np.array_equal(table_PD, sinusoid_table(len(table_PD), table_PD.shape[1], table)))
