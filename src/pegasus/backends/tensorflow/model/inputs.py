"""The three forms in which a model takes its inputs, as one: a dictionary by name.

Everything by keyword; one list, tuple or dictionary first; or a single tensor first.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pegasus.errors import BadSetting, UnsupportedArgument
from pegasus.spec.outputs import encoder_record

_SWITCHES = ("use_cache", "output_attentions", "output_hidden_states", "return_dict", "training")
_STATES = ("inputs_embeds", "decoder_inputs_embeds", "encoder_hidden_states")
_FLOATS = (*_STATES, "head_mask", "decoder_head_mask", "cross_attn_head_mask")


def argument_names(owner: Any) -> list[str]:
    """The arguments of the ``call`` of a class, in their order."""
    return [name for name in inspect.signature(owner.call).parameters if name != "self"]


def settled(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs by name, as tensors; those that are None are left out.

    Args:
        names: the arguments of the model's ``call``, in their order.
        args: what came without a name.
        kwargs: what came by name.

    Raises:
        BadSetting: an input came twice, or there are more of them than arguments.
        UnsupportedArgument: an input has a name that the model does not know.
    """
    found: dict[str, Any] = {}
    first = args[0] if args else kwargs.get(names[0])
    if isinstance(first, Mapping):
        kwargs = {name: value for name, value in kwargs.items() if name != names[0]}
        given = [first, dict(zip(names[1:], args[1:], strict=False)), kwargs]
    elif isinstance(first, list | tuple) and _tensors(first):
        kwargs = {name: value for name, value in kwargs.items() if name != names[0]}
        given = [_in_order(names, first), kwargs]
        if len(args) > 1:
            raise BadSetting("a list of inputs came first and others after it: put all of them into it.")
    else:
        given = [_in_order(names, args), kwargs]
    for part in given:
        for name, value in part.items():
            if name in found and value is not None:
                raise BadSetting(f"{name} came twice: give it once.")
            if value is not None:
                found[name] = value
    if unknown := sorted(set(found) - set(names)):
        raise UnsupportedArgument(
            f"the model does not take {', '.join(unknown)}: its arguments are {', '.join(names)}."
        )
    return {name: _made(name, value) for name, value in found.items()}


def _in_order(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    if len(values) > len(names):
        raise BadSetting(f"{len(values)} inputs came without a name, and the model takes {len(names)}.")
    return dict(zip(names, values))


def _tensors(values: Sequence[Any]) -> bool:
    """Whether these are several inputs, and not the rows of one."""
    return any(hasattr(value, "dtype") for value in values) and all(
        value is None or getattr(value, "ndim", getattr(value, "shape", ())) not in ((), 0, 1)
        for value in values
    )


def _made(name: str, value: Any) -> Any:
    if name in _SWITCHES:
        return value
    if name == "encoder_outputs":
        return encoder_record(value)
    if name == "past_key_values":
        return tuple(tuple(_tensor(one) for one in layer) for layer in value)
    tensor = _tensor(value)
    return tensor if name in _FLOATS or tensor.dtype == "int32" else _whole(tensor)


def _tensor(value: Any) -> Any:
    if hasattr(value, "dtype") and not isinstance(value, np.ndarray | np.generic):
        return value
    return tf.convert_to_tensor(np.asarray(value))


def _whole(tensor: Any) -> Any:
    """Numbers of tokens and masks as int32; what is symbolic is turned when the graph is made."""
    return tf.cast(tensor, tf.int32) if tf.is_tensor(tensor) else tensor
