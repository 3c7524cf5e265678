"""The authors' own checkpoints as a ``Source``.

Every variable is accounted for: it is a parameter, or the optimizer's, or an error that lists it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pegasus.checkpoint.bundle.reading import read_bundle
from pegasus.checkpoint.files import Format
from pegasus.checkpoint.flax_file import read_msgpack
from pegasus.checkpoint.raw import FLOATS, ITEM_SIZES, MadeTensor, RawTensor, turned
from pegasus.checkpoint.source import Source, refuse_strangers
from pegasus.errors import BadSetting, CheckpointMismatch
from pegasus.spec.authors import (
    flax_name,
    flax_shape,
    is_flax_slot,
    is_tensorflow_slot,
    tensorflow_name,
)
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import Parameter, parameters

#: Whose outputs a converted model gives.
Manner = Literal["authors", "transformers"]

_SAID = 12
_LAYER = re.compile(r"(encoder|decoder)/(?:layer|encoderblock|encoderdecoderblock)_(\d+)/")
_HEAD_WIDTH = 64  # of every checkpoint that the authors released
#: What all of the authors' models have in common.
FIELDS: dict[str, Any] = {
    "activation_function": "relu", "scale_embedding": True, "is_encoder_decoder": True,
    "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1,
    "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 0, "decoder_start_token_id": 0,
    "static_position_embeddings": True, "normalize_before": True, "normalize_embedding": False,
    "add_final_layer_norm": True, "add_bias_logits": False,
}  # fmt: skip
#: The switches in which transformers and the authors differ.
MANNERS: dict[Manner, dict[str, Any]] = {
    "authors": {"position_table": "authors", "layer_norm_eps": 1e-12, "decoder_start": "zeros"},
    "transformers": {"position_table": "transformers", "layer_norm_eps": 1e-5},
}


@dataclass(frozen=True)
class Wishes:
    """What the files do not say of themselves.

    Attributes:
        manner: whose outputs the model shall give.
        heads: of both stacks; None: what Flax's shapes say, else as many as there are 64 in the width.
        max_input: tokens of a document.
        max_target: tokens of a summary, EOS included.
        num_beams: of the search.
        length_penalty: of the search.
    """

    manner: Manner = "authors"
    heads: int | None = None
    max_input: int = 1024
    max_target: int = 256
    num_beams: int = 8
    length_penalty: float = 0.8


def read_authors_tensorflow(prefix: Path, wishes: Wishes = Wishes()) -> Source:
    """A TensorFlow checkpoint of the authors' code, as ``bundle.reading.find_bundle`` finds it.

    Raises:
        CheckpointMismatch: variables are unknown, missing or of another shape; lists them.
        NotOffered: it is BigBird-PEGASUS or another family.
        PegasusError: what ``read_bundle`` raises.
    """
    tensors = read_bundle(prefix)
    refuse_strangers(prefix, tensors)
    slots = [name for name in tensors if is_tensorflow_slot(name)]
    found = {name: tensor for name, tensor in tensors.items() if name not in slots}
    shapes = _Shapes(prefix, found, "embeddings/weights", "layer_0/ffn/dense/kernel")
    config = shapes.config(wishes, wishes.heads or _usual_heads(prefix, shapes.width))
    source = _source(prefix, "tf-checkpoint", found, config, tensorflow_name, turned_shape)
    return _settled(replace(source, skipped=tuple(sorted(slots))), wishes)


def read_authors_flax(path: Path, wishes: Wishes = Wishes()) -> Source:
    """A checkpoint of the authors' Flax code: a state of training, or one ported from TensorFlow.

    Raises:
        CheckpointMismatch: arrays are unknown, missing or of another shape; lists them.
        NotOffered: it is PEGASUS-X or another family.
        CheckpointCorrupt: it is damaged, or no such file.
    """
    slots: set[str] = set()

    def is_left_out(place: str) -> bool:
        if is_flax_slot(place):
            slots.add(place)
        return place in slots

    tensors = read_msgpack(path, is_left_out)
    found = {re.sub(r"^(target/)?(params/)*", "", name): tensor for name, tensor in tensors.items()}
    refuse_strangers(path, found)
    shapes = _Shapes(path, found, "shared_embedding/embedding", "block_0/MlpBlock_0/Dense_0/kernel")
    query = found.get("encoder/encoderblock_0/SelfAttention_0/query/kernel")
    by_heads = query is not None and len(query.shape) == 3
    heads = query.shape[1] if by_heads else wishes.heads or _usual_heads(path, shapes.width)  # type: ignore[union-attr]
    if wishes.heads not in (None, heads):
        raise BadSetting(f"heads is {wishes.heads}, and {path} has {heads}: leave it out.")
    config = shapes.config(wishes, heads)
    shape = partial(flax_shape, heads=heads) if by_heads else turned_shape
    source = _source(path, "flax-checkpoint", found, config, flax_name, shape)
    return _settled(replace(source, skipped=tuple(sorted(slots))), wishes)


def turned_shape(leaf: Parameter) -> tuple[int, ...]:
    """The shape of a parameter where matrices are kept [in, out]."""
    return leaf.shape[::-1] if leaf.kind == "kernel" else leaf.shape


class _Shapes:
    """The sizes of a model, read off the names and shapes of its variables."""

    def __init__(self, place: Path, found: Mapping[str, RawTensor], embedding: str, inner: str) -> None:
        if embedding not in found or len(found[embedding].shape) != 2:
            raise CheckpointMismatch(
                f"{place} holds no {embedding}, so it is not the authors' PEGASUS (found: {some(found)}): "
                "give one of their checkpoints."
            )
        self.place, self.found, self.inner = place, found, inner
        self.vocabulary, self.width = found[embedding].shape

    def config(self, wishes: Wishes, heads: int) -> PegasusConfig:
        """The configuration."""
        if not self.width or self.width % heads:
            raise BadSetting(
                f"heads is {heads}, and the width of {self.place} is {self.width}: give a divisor."
            )
        start = wishes.max_target + (wishes.manner == "authors")  # transformers counts the start token
        return PegasusConfig(
            vocab_size=self.vocabulary,
            d_model=self.width,
            encoder_layers=self._layers("encoder"),
            decoder_layers=self._layers("decoder"),
            encoder_ffn_dim=self._width_inside("encoder"),
            decoder_ffn_dim=self._width_inside("decoder"),
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            max_position_embeddings=wishes.max_input,
            max_length=start,
            num_beams=wishes.num_beams,
            length_penalty=wishes.length_penalty,
            architectures=["PegasusForConditionalGeneration"],
            **FIELDS,
            **MANNERS[wishes.manner],
        )

    def _layers(self, side: str) -> int:
        matches = (_LAYER.match(name) for name in self.found)
        return len({match[2] for match in matches if match and match[1] == side})

    def _width_inside(self, side: str) -> int:
        kernels = [
            t for name, t in self.found.items() if name.startswith(side) and name.endswith(self.inner)
        ]
        return kernels[0].shape[-1] if kernels and kernels[0].shape else 1


def _usual_heads(place: Path, width: int) -> int:
    if width % _HEAD_WIDTH:
        raise BadSetting(
            f"{place} does not say how many heads it has, and its width {width} is no multiple of "
            f"{_HEAD_WIDTH}, the width of a head in all released checkpoints: give --heads."
        )
    return width // _HEAD_WIDTH


def _source(
    place: Path,
    format: Format,
    found: Mapping[str, RawTensor],
    config: PegasusConfig,
    name_of: Callable[[Parameter], str | None],
    shape_of: Callable[[Parameter], tuple[int, ...]],
) -> Source:
    """The parameters by canonical names, nothing left over and nothing missing."""
    leaves = parameters(config, "conditional").values()
    wanted = {name: leaf for leaf in leaves if (name := name_of(leaf)) is not None}
    misshapen = [
        f"{name} has {list(found[name].shape)} and needs {list(shape_of(leaf))}"
        for name, leaf in wanted.items()
        if name in found and found[name].shape != shape_of(leaf)
    ]
    odd = [f"{name} is {t.dtype}" for name, t in found.items() if name in wanted and t.dtype not in FLOATS]
    problems = [
        ("unknown", [name for name in found if name not in wanted]),
        ("missing", [name for name in wanted if name not in found]),
        ("of another shape", misshapen),
        ("no numbers of a model", odd),
    ]
    said = [f"{len(names)} {kind}: {some(names)}" for kind, names in problems if names]
    if said:
        raise CheckpointMismatch(
            f"{place} is not a whole PEGASUS of the authors. {'. '.join(said)}. Give the checkpoint as "
            "their code wrote it."
        )
    tensors = {leaf.name: _canonical(found[name], leaf) for name, leaf in wanted.items()}
    return Source(format, place, config, tensors, {leaf.name: name for name, leaf in wanted.items()})


def _canonical(tensor: RawTensor, leaf: Parameter) -> RawTensor:
    if leaf.kind != "kernel":
        return tensor
    return turned(reshaped(tensor, turned_shape(leaf)))


def reshaped(tensor: RawTensor, shape: tuple[int, ...]) -> RawTensor:
    """The same bytes in another shape."""
    if tensor.shape == shape:
        return tensor
    return MadeTensor(tensor.dtype, shape, lambda: tensor.data, tensor)


def _settled(source: Source, wishes: Wishes) -> Source:
    """With what the authors do not have, zeros, and the texts of a folder."""
    tensors = dict(source.tensors)
    dtype = tensors["model.shared.weight"].dtype
    for leaf in parameters(source.config, "conditional").values():
        if leaf.name not in tensors and leaf.kind != "positions":
            tensors[leaf.name] = zeros(dtype, leaf.shape)
    config = source.config
    if wishes.manner == "transformers":
        embedding = tensors["model.shared.weight"]
        tensors["model.shared.weight"] = MadeTensor(
            embedding.dtype, embedding.shape, partial(_without_row, embedding, 0), embedding
        )
    config.torch_dtype = FLOATS[dtype]
    texts = {
        "generation_config.json": _generation(config, wishes),
        "config.json": config.to_json_string() + "\n",
    }
    return replace(source, tensors=tensors, texts=texts)


def zeros(dtype: str, shape: tuple[int, ...]) -> RawTensor:
    """A tensor of zeros that takes no memory until it is looked at."""
    size = math.prod(shape) * ITEM_SIZES[dtype]
    return MadeTensor(dtype, shape, lambda: np.zeros(size, np.uint8))


def _without_row(tensor: RawTensor, row: int) -> np.ndarray:
    rows = np.array(tensor.data).reshape(tensor.shape[0], -1)
    rows[row] = 0
    return rows


def _generation(config: PegasusConfig, wishes: Wishes) -> str:
    settings = {
        "num_beams": wishes.num_beams,
        "length_penalty": wishes.length_penalty,
        "max_length": config.max_length,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }
    if wishes.manner == "authors":
        settings |= {"search": "authors", "length_normalization": "authors"}
    else:
        settings["forced_eos_token_id"] = 1
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def some(names: Iterable[str]) -> str:
    """The first of many names."""
    listed = list(names)
    more = f" and {len(listed) - _SAID} more" if len(listed) > _SAID else ""
    return ", ".join(listed[:_SAID]) + more
