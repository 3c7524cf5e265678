"""Scores in a JAX array, and the best of them: little more than the answers leaves the device.

Arrays of JAX cannot be changed, so a change puts a new one in the place of the old. How many numbers are
changed or asked for is rounded up (``buckets``), so that few programs are compiled.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pegasus.backends.jax.inference.buckets import doubled, padded

#: log Σ exp, the best scores [N, C] and their tokens of untouched logits.
Found = tuple[jax.Array, jax.Array, jax.Array]


@jax.jit
def _get(scores_NV: jax.Array, rows_K: jax.Array, tokens_K: jax.Array) -> jax.Array:
    return scores_NV[rows_K, tokens_K]


@jax.jit
def _put(scores_NV: jax.Array, rows_K: jax.Array, tokens_K: jax.Array, values_K: jax.Array) -> jax.Array:
    return scores_NV.at[rows_K, tokens_K].set(values_K, mode="drop")


@partial(jax.jit, static_argnames="change")
def _map(scores_NV: jax.Array, rows_N: jax.Array, change: str, value: jax.Array) -> jax.Array:
    """Other numbers in the rows that are true."""
    if change == "fill":
        new: Any = value
    elif change == "log_softmax":
        new = jax.nn.log_softmax(scores_NV, axis=-1)
    else:
        most = jnp.finfo(jnp.float32).max
        new = jnp.nan_to_num(scores_NV, nan=0.0, posinf=most, neginf=-jnp.inf)
    return jnp.where(rows_N[:, None], new, scores_NV)


def find(scores_NV: jax.Array, count: int) -> Found:
    """What a search asks for most; to be called within a program."""
    shift_N = jax.nn.logsumexp(scores_NV, axis=-1)
    values_NC, tokens_NC = jax.lax.top_k(scores_NV, count)
    return shift_N, values_NC, tokens_NC


_find = jax.jit(find, static_argnames="count")


class JaxScores:
    """Numbers [N, V] on the device; ``session.decoder.Scores`` describes each question.

    Args:
        scores_NV: float32, perhaps with more rows than are meant.
        index_N: which rows are meant.
        found: what is known of the untouched numbers.
    """

    #: A change and its taking back are two new arrays.
    in_place = False

    def __init__(self, scores_NV: jax.Array, index_N: np.ndarray, found: Found | None = None) -> None:
        self.scores_NV, self.index_N, self._found = scores_NV, index_N, found
        self.rows, self.vocabulary = len(index_N), scores_NV.shape[1]

    # -- single numbers: they are few, and computed with on the host ---------------------------------------

    def places(self, rows_K: np.ndarray | None, tokens_K: np.ndarray) -> Any:
        """Rows and tokens of the same shape, [K] or [N, K]."""
        if rows_K is None:
            return np.broadcast_arrays(self.index_N[:, None], np.asarray(tokens_K)[None])
        return self.index_N[rows_K], np.asarray(tokens_K)

    def where(self, condition: Any, yes: Any, no: Any) -> np.ndarray:
        """One or the other."""
        return np.asarray(np.where(condition, yes, no))

    def get(self, places: Any) -> np.ndarray:
        """The numbers there."""
        rows, tokens = (np.ravel(one) for one in places)
        size = (doubled(len(rows)),)
        found = _get(
            self.scores_NV, padded(rows, size).astype(np.int32), padded(tokens, size).astype(np.int32)
        )
        return np.array(found)[: len(rows)].reshape(np.shape(places[0]))

    def put(self, places: Any, values: Any) -> None:
        """Changes them; the last of a place counts."""
        rows, tokens = (np.ravel(one) for one in places)
        values = np.ravel(np.broadcast_to(np.asarray(values, np.float32), np.shape(places[0])))
        _, last = np.unique((rows * self.vocabulary + tokens)[::-1], return_index=True)
        kept = len(rows) - 1 - last
        size, outside = (doubled(len(kept)),), len(self.scores_NV)
        self._set(
            _put(
                self.scores_NV,
                padded(rows[kept].astype(np.int32), size, outside),
                padded(tokens[kept].astype(np.int32), size),
                padded(values[kept], size),
            )
        )

    def array(self, values_K: np.ndarray) -> np.ndarray:
        """In float32."""
        return np.asarray(values_K, dtype=np.float32)

    # -- rows ----------------------------------------------------------------------------------------------

    def fill(self, rows_K: np.ndarray, value: float) -> None:
        """One number for whole rows."""
        self._change("fill", rows_K, value)

    def log_softmax(self, rows_K: np.ndarray | None = None) -> None:
        """Log-probabilities."""
        self._change("log_softmax", rows_K)

    def repair(self, rows_K: np.ndarray | None = None) -> None:
        """No NaN and no +∞."""
        self._change("repair", rows_K)

    def take(self, rows_K: np.ndarray | None) -> jax.Array:
        """Some rows; arrays of JAX are never written to."""
        if rows_K is None and self._is_whole():
            return self.scores_NV
        return jnp.asarray(self.whole() if rows_K is None else self.whole()[rows_K])

    def replace(self, rows_K: np.ndarray | None, values: Any) -> None:
        """Other numbers for whole rows."""
        rows = self.index_N if rows_K is None else self.index_N[rows_K]
        changed = np.array(self.scores_NV)
        changed[rows] = np.asarray(values)
        self._set(jnp.asarray(changed))

    def copy(self) -> jax.Array:
        """All of them."""
        return self.take(None)

    # -- questions -----------------------------------------------------------------------------------------

    def logsumexp(self) -> np.ndarray:
        """[N]."""
        found_N: np.ndarray = np.asarray(self._known(1)[0])[self.index_N]
        return found_N

    def best(self, count: int, shift: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The best tokens of each row, of equal ones the lower first."""
        _, values_NC, tokens_NC = (np.asarray(one)[self.index_N] for one in self._known(count))
        return _less(values_NC[:, :count], shift), tokens_NC[:, :count].astype(np.int64)

    def gather(self, tokens_NK: np.ndarray, shift: Any = None) -> np.ndarray:
        """Some tokens of each row."""
        rows_NK = np.broadcast_to(self.index_N[:, None], tokens_NK.shape)
        return _less(self.get((rows_NK, tokens_NK)), shift)

    def whole(self, shift: Any = None) -> np.ndarray:
        """All of them."""
        return np.array(_less(np.asarray(self.scores_NV)[self.index_N], shift))

    def _known(self, count: int) -> tuple[Any, ...]:
        """What ``find`` finds, fetched in one copy."""
        if self._found is None or self._found[1].shape[1] < count:
            self._found = _find(self.scores_NV, count)
        known: Found = jax.device_get(self._found)
        self._found = known
        return known

    def _change(self, change: str, rows_K: np.ndarray | None, value: float = 0.0) -> None:
        chosen = np.zeros(len(self.scores_NV), dtype=bool)
        chosen[self.index_N if rows_K is None else self.index_N[rows_K]] = True
        self._set(_map(self.scores_NV, chosen, change, np.float32(value)))

    def _set(self, scores_NV: jax.Array) -> None:
        self.scores_NV, self._found = scores_NV, None

    def _is_whole(self) -> bool:
        return self.rows == len(self.scores_NV) and bool((self.index_N == np.arange(self.rows)).all())


def _less(values_NK: np.ndarray, shift: Any) -> np.ndarray:
    return values_NK if shift is None else values_NK - np.asarray(shift)[:, None]
