"""A student out of a teacher's weights: fewer layers, fewer features, heads and inner units.

No framework is needed: a student's leaf is a teacher's leaf under another layer's number, or some of its
rows and columns. What is kept of a width is what weighs most in the teacher:

    features      by the squares of everything that writes them: the table of tokens, every ``out_proj`` and
                  ``fc2``; the same ones everywhere, for all layers add to the same states
    heads         by the squares of their columns of ``out_proj``, for each attention by itself; a head
                  keeps its width
    inner units   by the product of the norms of what they read (``fc1``) and write (``fc2``), layer by
                  layer
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pegasus.checkpoint.formats import open_checkpoint
from pegasus.checkpoint.raw import RawTensor
from pegasus.checkpoint.report import fit
from pegasus.checkpoint.writing import write_checkpoint
from pegasus.errors import BadSetting, CheckpointMismatch
from pegasus.spec.config import PegasusConfig
from pegasus.spec.layer_maps import first_layers
from pegasus.spec.parameters import Parameter, parameters

Kept = npt.NDArray[np.int64]
_LAYER = re.compile(r"\b(encoder|decoder)\.layers\.(\d+)\.")
_GENERATION = "generation_config.json"


@dataclass(frozen=True)
class StudentShape:
    """What a student has of its teacher; None: all of it.

    Attributes:
        encoder_layers: how many layers of the encoder.
        decoder_layers: how many of the decoder.
        encoder_from: which ones, from 0, in the student's order; None: as ``pegasus.spec.layer_maps`` says.
        decoder_from: the same of the decoder.
        width: features (``d_model``). Heads keep their width, so it is a multiple of that.
        encoder_ffn: inner units of the encoder's layers; None: in the same proportion as the width.
        decoder_ffn: of the decoder's.
    """

    encoder_layers: int | None = None
    decoder_layers: int | None = None
    encoder_from: tuple[int, ...] | None = None
    decoder_from: tuple[int, ...] | None = None
    width: int | None = None
    encoder_ffn: int | None = None
    decoder_ffn: int | None = None

    def layers(self, config: PegasusConfig, stack: str) -> tuple[int, ...]:
        """The teacher's layers that the student's "encoder" or "decoder" begins with.

        Raises:
            BadSetting: there are no such layers.
        """
        teacher = getattr(config, f"{stack}_layers")
        count, chosen = getattr(self, f"{stack}_layers"), getattr(self, f"{stack}_from")
        if chosen is None:
            return first_layers(teacher, teacher if count is None else count)
        if count not in (None, len(chosen)) or not chosen or not all(0 <= one < teacher for one in chosen):
            raise BadSetting(
                f"{stack}_from is {list(chosen)}: it names {count or 'some'} layers of the teacher, which "
                f"has 0 to {teacher - 1}"
            )
        return tuple(chosen)


def student_config(config: PegasusConfig, shape: StudentShape) -> PegasusConfig:
    """The configuration of a student.

    Raises:
        BadSetting: the shape is none that can be cut out of the teacher.
    """
    width = shape.width or config.d_model
    made = copy.deepcopy(config)
    if config.pruned_heads:
        raise BadSetting(
            "the teacher has pruned heads, and a student is cut out of whole layers: use another"
        )
    fields: dict[str, int] = {"d_model": width}
    for stack in ("encoder", "decoder"):
        heads, inner = (getattr(config, f"{stack}_{name}") for name in ("attention_heads", "ffn_dim"))
        of_head = config.d_model // heads
        if width > config.d_model or width % of_head:
            raise BadSetting(
                f"a width of {width} cannot be cut out of {config.d_model}: heads of the {stack} are "
                f"{of_head} wide, so give a multiple of that, {config.d_model} at most"
            )
        units = getattr(shape, f"{stack}_ffn") or inner * width // config.d_model
        if units > inner:
            raise BadSetting(f"{stack}_ffn is {units}, and the teacher's layers have {inner}: give less")
        fields |= {
            f"{stack}_layers": len(shape.layers(config, stack)),
            f"{stack}_attention_heads": width // of_head,
            f"{stack}_ffn_dim": units,
        }
    made.update({**fields, "num_hidden_layers": fields["encoder_layers"]})
    return made


def shrink(teacher: Path, student: Path, shape: StudentShape) -> PegasusConfig:
    """Write a student's weights and its ``config.json`` and ``generation_config.json``; no tokenizer.

    Args:
        teacher: the folder of a checkpoint, in any format.
        student: where the student is written.
        shape: what it has of its teacher.

    Returns:
        the student's configuration.

    Raises:
        BadSetting: the shape is none that can be cut out of the teacher.
        CheckpointMismatch: the teacher's weights are not those of its configuration.
    """
    config: PegasusConfig = PegasusConfig.from_pretrained(teacher)
    smaller = student_config(config, shape)
    fitted = fit(open_checkpoint(teacher).tensors, config, "conditional")
    if fitted.report.missing or fitted.report.mismatched:
        raise CheckpointMismatch(
            f"the weights of {teacher} are not those of its configuration. "
            f"{'. '.join(fitted.report.lines())}. A student needs all of them"
        )
    texts = [("config.json", smaller.to_json_string() + "\n")]
    if (teacher / _GENERATION).is_file():
        texts.insert(0, (_GENERATION, (teacher / _GENERATION).read_text(encoding="utf-8")))
    cut = Cut(config, smaller, shape, fitted.sources)
    write_checkpoint(student, cut.tensors(), texts)
    return smaller


class Cut:
    """Which rows and columns of which of a teacher's leaves are a student's.

    Args:
        config: the teacher's.
        smaller: the student's.
        shape: says which layers are kept.
        tensors: the teacher's, by canonical name.
    """

    def __init__(
        self,
        config: PegasusConfig,
        smaller: PegasusConfig,
        shape: StudentShape,
        tensors: Mapping[str, RawTensor],
    ) -> None:
        self.config, self.smaller, self.given = config, smaller, tensors
        self.maps = {stack: shape.layers(config, stack) for stack in ("encoder", "decoder")}
        self._features = self._kept_features()

    def tensors(self) -> Iterator[tuple[str, RawTensor]]:
        """The student's leaves in their order."""
        for leaf in parameters(self.smaller, "conditional").values():
            source = self.source(leaf.name)
            if leaf.kind == "positions" or source not in self.given:
                continue  # computed, or one that may be absent
            tensor, (rows, columns) = self.given[source], self._axes(leaf, source)
            if rows is None and columns is None:
                yield leaf.name, tensor
                continue
            array = tensor.array() if rows is None else tensor.array()[rows]
            array = array if columns is None else array[:, columns]
            yield leaf.name, RawTensor.from_array(np.ascontiguousarray(array))

    def source(self, name: str) -> str:
        """The name of the teacher's leaf that a leaf of the student comes from."""
        return _LAYER.sub(
            lambda match: f"{match[1]}.layers.{self.maps[match[1]][int(match[2])]}.", name, count=1
        )

    def _axes(self, leaf: Parameter, source: str) -> tuple[Kept | None, Kept | None]:
        """The rows and the columns that are kept of a teacher's leaf; None: all."""
        layer, _, part = source.rpartition(".")
        block, _, name = layer.rpartition(".")
        if leaf.kind == "logits_bias":
            return None, None
        if name in ("q_proj", "k_proj", "v_proj"):
            rows, columns = self._heads(block), self._features
        elif name == "out_proj":
            rows, columns = self._features, self._heads(block)
        elif name == "fc1":
            rows, columns = self._units(block), self._features
        elif name == "fc2":
            rows, columns = self._features, self._units(block)
        elif leaf.kind in ("embedding", "kernel"):  # the tables of tokens and of the output
            rows, columns = None, self._features
        else:
            rows, columns = self._features, None
        return rows, columns if part == "weight" and len(leaf.shape) == 2 else None

    def _kept_features(self) -> Kept | None:
        count = self.smaller.d_model
        if count == self.config.d_model:
            return None
        weight = (self._numbers("model.shared.weight") ** 2).sum(0)
        for name in self.given:
            if name.endswith(("out_proj.weight", "fc2.weight")):
                weight += (self._numbers(name) ** 2).sum(1)
        return _heaviest(weight, count)

    def _heads(self, attention: str) -> Kept | None:
        stack = "decoder" if ".decoder." in attention else "encoder"
        heads, kept = (getattr(one, f"{stack}_attention_heads") for one in (self.config, self.smaller))
        if heads == kept:
            return None
        wide = self.config.d_model // heads
        weight = (self._numbers(f"{attention}.out_proj.weight") ** 2).sum(0).reshape(heads, wide).sum(1)
        places: Kept = (_heaviest(weight, kept)[:, None] * wide + np.arange(wide)).reshape(-1)
        return places

    def _units(self, layer: str) -> Kept | None:
        stack = "decoder" if ".decoder." in layer else "encoder"
        if getattr(self.config, f"{stack}_ffn_dim") == (count := getattr(self.smaller, f"{stack}_ffn_dim")):
            return None
        read, written = (
            np.linalg.norm(self._numbers(f"{layer}.{name}.weight"), axis=axis)
            for name, axis in (("fc1", 1), ("fc2", 0))
        )
        return _heaviest(read * written, count)

    def _numbers(self, name: str) -> npt.NDArray[np.float32]:
        return self.given[name].array().astype(np.float32)


def _heaviest(weight: npt.NDArray[np.floating], count: int) -> Kept:
    """The places of the heaviest in their order; of equal ones the first."""
    return np.sort(np.argsort(-weight, kind="stable")[:count]).astype(np.int64)
