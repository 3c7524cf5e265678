"""The loss of a batch: cross-entropy over the tied output layer, a slice of tokens at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pegasus.backends.contract import IGNORED, PARTS, Batch
from pegasus.backends.jax.inference.buckets import doubled, padded, stepped
from pegasus.backends.jax.learning.distillation import Guide, compared, divergence
from pegasus.backends.jax.model.mode import Mode
from pegasus.errors import BadSetting

#: Logits that exist at a time: 2**24 float32 numbers are 64 MiB.
SLICE = 2**24


def rounded(batch: Batch, multiple: int, pad: int) -> dict[str, np.ndarray]:
    """A batch with its sizes rounded up, so that few programs are compiled; what is added counts nowhere.

    Args:
        batch: as ``contract.Batch`` says.
        multiple: of the rows.
        pad: the padding token.

    Raises:
        BadSetting: it has no labels.
    """
    if not any(name in batch for name in PARTS.values()):
        raise BadSetting(f"a batch has only {sorted(batch)}; to learn from it, it must have labels")
    filled = {"input_ids": pad, "attention_mask": 0}
    arrays = dict(batch)
    arrays.setdefault("attention_mask", np.ones_like(batch["input_ids"]))
    rows = -(-doubled(len(batch["input_ids"])) // multiple) * multiple
    return {
        name: padded(array.astype(np.int32), (rows, stepped(array.shape[1])), filled.get(name, IGNORED))
        for name, array in arrays.items()
    }


def losses(
    module: Any,
    variables: Any,
    batch: Mapping[str, jax.Array],
    key: jax.Array,
    mode: Mode,
    parts: tuple[str, ...],
    smoothing: float,
    starts: tuple[int, int],
    guide: Guide | None = None,
    taught: Any = None,
) -> dict[str, jax.Array]:
    """Each part of the loss that the batch has labels for, summed over its tokens.

    Args:
        module: with a head.
        variables: its parameters.
        batch: what ``rounded`` made.
        key: what dropout is drawn from.
        mode: whether it is drawn.
        parts: of the objective.
        smoothing: of the target's loss.
        starts: the padding token and the one that the decoder starts from.
        guide: a teacher, and what is compared with it.
        taught: its parameters.
    """
    keys = jax.random.split(key)
    if guide is not None:
        mode = replace(mode, attentions=guide.mode.attentions, hidden=guide.mode.hidden)
    ids, mask = batch["input_ids"], batch["attention_mask"]

    def read(method: str, key: jax.Array, *args: Any) -> Any:
        return module.apply(variables, *args, mode=mode, method=method, rngs={"dropout": key})

    encoded = read("encode", keys[0], ids, mask)
    found = {}
    if "labels" in batch and (guide is not None or "target" in parts):
        labels = batch["labels"]
        decoded = read("decode_states", keys[1], _shifted(labels, starts), encoded.states, mask)
        if "target" in parts:
            found["target"] = _cross_entropy(module, variables, decoded.states, labels, smoothing)
        if guide is not None:
            found |= _guided(guide, taught, module, variables, batch, (encoded, decoded))
    if "mlm_labels" in batch and "mlm" in parts:
        found["mlm"] = _cross_entropy(module, variables, encoded.states, batch["mlm_labels"], 0.0)
    return found


def _shifted(labels: jax.Array, starts: tuple[int, int]) -> jax.Array:
    """What the decoder reads where these are its labels."""
    first = jnp.full_like(labels[:, :1], starts[1])
    given = jnp.concatenate([first, labels[:, :-1]], axis=1)
    return jnp.where(given == IGNORED, starts[0], given)


def _guided(
    guide: Guide,
    taught: Any,
    module: Any,
    variables: Any,
    batch: Mapping[str, jax.Array],
    passes: tuple[Any, Any],
) -> dict[str, jax.Array]:
    """What is compared with the teacher, which reads the same."""
    mask, labels, theirs = batch["attention_mask"], batch["labels"], guide.module
    encoded = theirs.apply(taught, batch["input_ids"], mask, mode=guide.mode, method="encode")
    given = _shifted(labels, guide.starts)
    decoded = theirs.apply(taught, given, encoded.states, mask, mode=guide.mode, method="decode_states")
    found = compared(guide, batch, passes, (encoded, decoded))
    if guide.settings.logits:

        def of_slice(mine: jax.Array, wanted: jax.Array, labels: jax.Array) -> jax.Array:
            mine = module.apply(variables, mine, method="logits")
            wanted = theirs.apply(taught, wanted, method="logits")
            each = divergence(mine, wanted, guide.settings.temperature)
            return jnp.where(labels != IGNORED, each, 0).sum()

        found["logits"] = _sliced(module, of_slice, passes[1].states, decoded.states, labels)
    return found


def _cross_entropy(
    module: Any, variables: Any, states: jax.Array, labels: jax.Array, smoothing: float
) -> jax.Array:
    """A slice of positions at a time; the logits of a slice are computed again on the way back."""

    def of_slice(states: jax.Array, labels: jax.Array) -> jax.Array:
        logs = jax.nn.log_softmax(module.apply(variables, states, method="logits"))
        counted = labels != IGNORED
        right = jnp.take_along_axis(logs, jnp.where(counted, labels, 0)[..., None], axis=-1)[..., 0]
        each = -(1 - smoothing) * right - smoothing * logs.mean(-1)
        return jnp.where(counted, each, 0).sum()

    return _sliced(module, of_slice, states, labels)


def _sliced(module: Any, of_slice: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """The sum of a function over slices of positions."""
    rows, length = arrays[0].shape[:2]
    size = max(1, SLICE // (rows * module.sizes.vocabulary))
    slices = [slice(at, at + size) for at in range(0, length, size)]
    again = jax.checkpoint(of_slice)
    return sum((again(*(array[:, one] for array in arrays)) for one in slices), jnp.float32(0))
