"""Parameters under the names and in the shapes that the authors' code reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pegasus.checkpoint.authors import FIELDS, MANNERS, reshaped, some
from pegasus.checkpoint.files import Format
from pegasus.checkpoint.raw import RawTensor, turned
from pegasus.errors import NotOffered
from pegasus.spec.authors import flax_name, flax_shape, tensorflow_name
from pegasus.spec.config import PegasusConfig
from pegasus.spec.parameters import Parameter, parameters

_MUST_BE = {name: FIELDS[name] for name in ("activation_function", "scale_embedding", "pad_token_id")}


def authors_name(format: Format, leaf: Parameter) -> str | None:
    """What the authors call a parameter; None where they have none such."""
    return tensorflow_name(leaf) if format == "tf-checkpoint" else flax_name(leaf)


def authors_tensor(format: Format, config: PegasusConfig, leaf: Parameter, tensor: RawTensor) -> RawTensor:
    """A parameter as they keep it."""
    inward = turned(tensor) if leaf.kind == "kernel" else tensor
    if format == "tf-checkpoint":
        return inward
    return reshaped(inward, flax_shape(leaf, config.encoder_attention_heads))


def refuse_what_authors_lack(config: PegasusConfig, tensors: Mapping[str, RawTensor]) -> None:
    """What a model may have and theirs cannot: biases in attention, another activation, a head of its own.

    Raises:
        NotOffered: names all of it.
    """
    leaves = parameters(config, "conditional")
    unlike = [
        f"{name} is {getattr(config, name)!r}"
        for name, due in _MUST_BE.items()
        if getattr(config, name) != due
    ]
    unlike += ["heads are pruned"] if config.pruned_heads else []
    if config.encoder_attention_heads != config.decoder_attention_heads:
        unlike.append("encoder and decoder have different numbers of heads")
    lost = [name for name, leaf in leaves.items() if tensorflow_name(leaf) and name not in tensors]
    unlike += [f"no {lost[0]} and {len(lost) - 1} more"] if lost else []
    for name, tensor in tensors.items():
        if name not in leaves or tensorflow_name(leaves[name]) is None:
            unlike += [f"{name} is not zero"] if np.asarray(tensor.array()).any() else []
            tensor.release()
    if unlike:
        raise NotOffered(
            f"The authors' code has no place for what this model has: {some(unlike)}. Keep it in one of "
            "the other formats."
        )


def differences(config: PegasusConfig) -> list[str]:
    """What the authors' code will compute otherwise than the configuration says."""
    return [
        f"{name} is {getattr(config, name)!r} and will be {value!r}"
        for name, value in MANNERS["authors"].items()
        if getattr(config, name) != value
    ]
