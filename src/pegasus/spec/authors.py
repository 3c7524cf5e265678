"""How the authors' TensorFlow and Flax code name the parameters, and the shapes in which they keep them.

Neither has biases in attention, a bias of the logits, or positions: such parameters have no name there.
Both keep matrices [in, out]; Flax keeps those of attention by heads, [D, H, E], of the output [H, E, D].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pegasus.spec.parameters import Parameter

_LAYER = re.compile(r"model\.(encoder|decoder)\.layers\.(\d+)\.(.+)\.(weight|bias)")
_NORM = re.compile(r"model\.(encoder|decoder)\.layer_norm\.(weight|bias)")
_EMBEDDING = "model.shared.weight"

#: What belongs to the optimizer or counts steps: it is no parameter.
_TENSORFLOW_SLOTS = re.compile(r"(^|/)(Adafactor(_\d+)?$|global_step$|Adam(_\d+)?$|beta[12]_power$)")
_FLAX_SLOTS = re.compile(r"(step|opt_state\d*|state)(/|$)")


def tensorflow_name(leaf: Parameter) -> str | None:
    """The name of a parameter's variable; None where the authors have no such parameter."""
    if leaf.name == _EMBEDDING:
        return "embeddings/weights"
    if norm := _NORM.fullmatch(leaf.name):
        return f"{norm[1]}/LayerNorm/{_norm_word(norm[2])}"
    found = _LAYER.fullmatch(leaf.name)
    if found is None:
        return None
    side, number, place, word = found.groups()
    inner = _in_layer(place, word, _TENSORFLOW_PLACES, _norm_word)
    return inner and f"{side}/layer_{number}/{inner}"


def flax_name(leaf: Parameter) -> str | None:
    """The path of a parameter below ``params``; None where the authors have no such parameter."""
    if leaf.name == _EMBEDDING:
        return "shared_embedding/embedding"
    if norm := _NORM.fullmatch(leaf.name):
        last = "encoder_norm" if norm[1] == "encoder" else "encoderdecoder_norm"
        return f"{norm[1]}/{last}/{_flax_norm_word(norm[2])}"
    found = _LAYER.fullmatch(leaf.name)
    if found is None:
        return None
    side, number, place, word = found.groups()
    block = "encoderblock" if side == "encoder" else "encoderdecoderblock"
    places = {**_FLAX_PLACES, "final": "LayerNorm_1" if side == "encoder" else "LayerNorm_2"}
    inner = _in_layer(place, word, places, _flax_norm_word)
    return inner and f"{side}/{block}_{number}/{inner}"


def flax_shape(leaf: Parameter, heads: int) -> tuple[int, ...]:
    """The shape in which Flax keeps a parameter that it has.

    Args:
        leaf: the parameter, its shape as PyTorch has it.
        heads: H of its stack.
    """
    if leaf.kind != "kernel":
        return leaf.shape
    out, into = leaf.shape
    if "_attn." not in leaf.name:
        return into, out
    if "out_proj" in leaf.name:
        return heads, into // heads, out
    return into, heads, out // heads


def is_tensorflow_slot(name: str) -> bool:
    """Whether a variable is the optimizer's or the count of steps."""
    return bool(_TENSORFLOW_SLOTS.search(name))


def is_flax_slot(name: str) -> bool:
    """The same of a path in a file of Flax."""
    return bool(_FLAX_SLOTS.match(name))


_PROJECTIONS = re.compile(r"(self_attn|encoder_attn)\.([qkv]|out)_proj")
_TENSORFLOW_PLACES = {
    "self_attn": "self_attention",
    "encoder_attn": "memory_attention",
    "q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "output_proj",
    "self_attn norm": "self_attention/LayerNorm",
    "encoder_attn norm": "memory_attention/LayerNorm",
    "final": "ffn/LayerNorm",
    "fc1": "ffn/dense", "fc2": "ffn/dense_1",
}  # fmt: skip
_FLAX_PLACES = {
    "self_attn": "SelfAttention_0",
    "encoder_attn": "MultiHeadDotProductAttention_0",
    "q": "query", "k": "key", "v": "value", "out": "out",
    "self_attn norm": "LayerNorm_0",
    "encoder_attn norm": "LayerNorm_1",
    "fc1": "MlpBlock_0/Dense_0", "fc2": "MlpBlock_0/Dense_1",
}  # fmt: skip


def _in_layer(
    place: str, word: str, places: Mapping[str, str], norm_word: Callable[[str], str]
) -> str | None:
    """A name within a layer."""
    if projection := _PROJECTIONS.fullmatch(place):
        if word == "bias":
            return None
        return f"{places[projection[1]]}/{places[projection[2]]}/kernel"
    if place in ("fc1", "fc2"):
        return f"{places[place]}/{'kernel' if word == 'weight' else 'bias'}"
    stem = place.removesuffix("_layer_norm")
    return f"{places['final' if stem == 'final' else f'{stem} norm']}/{norm_word(word)}"


def _norm_word(word: str) -> str:
    return "gamma" if word == "weight" else "beta"


def _flax_norm_word(word: str) -> str:
    return "scale" if word == "weight" else "bias"
