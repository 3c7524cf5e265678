"""A checkpoint that is to be converted: tensors by canonical names, and what each was called in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pegasus.checkpoint.files import Format
from pegasus.checkpoint.raw import RawTensor
from pegasus.errors import NotOffered
from pegasus.spec.config import PegasusConfig

#: What a name has that only a model of another family gives → that family.
_STRANGERS = {
    re.compile("^pegasus/|BigBird|attention/self/"): "BigBird-PEGASUS",
    re.compile("GlobalLocalSelfAttention|embed_global|global_self_attn|encoder/Embed_0/"): "PEGASUS-X",
    re.compile("Local2SelfAttention|Performer"): "a PEGASUS with another attention",
}
_MODEL_TYPES = {"bigbird_pegasus": "BigBird-PEGASUS", "pegasus_x": "PEGASUS-X"}


@dataclass(frozen=True)
class Source:
    """What was found.

    Attributes:
        format: of the files.
        place: the folder, or the file, or what stands before ``.index``.
        config: the configuration, the checkpoint's own or what its shapes say.
        tensors: by canonical name, each parameter once.
        names: canonical name → what it is called there.
        skipped: what is left out on purpose: an optimizer's, a count of steps, what is computed.
        texts: names of text files that a folder of the new format holds too → their contents.
    """

    format: Format
    place: Path
    config: PegasusConfig
    tensors: Mapping[str, RawTensor]
    names: Mapping[str, str]
    skipped: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


def refuse_strangers(place: Path, names: Iterable[str]) -> None:
    """Models of the same authors that compute otherwise.

    Raises:
        NotOffered: which one it is.
    """
    for name in names:
        for pattern, family in _STRANGERS.items():
            if pattern.search(name):
                raise _stranger(place, family, name)


def refuse_strangers_by_type(place: Path, model_type: object) -> None:
    """The same by what ``config.json`` says.

    Raises:
        NotOffered: which one it is.
    """
    if model_type in _MODEL_TYPES:
        raise _stranger(place, _MODEL_TYPES[str(model_type)], f"model_type is {model_type}")


def _stranger(place: Path, family: str, sign: str) -> NotOffered:
    return NotOffered(
        f"{place} is {family} ({sign}), which computes otherwise than PEGASUS and is not offered here: "
        "convert a checkpoint of PEGASUS."
    )
