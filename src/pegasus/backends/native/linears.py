"""Linear layers of the native library by themselves: packing weights, taking rows out, and running one.

Axes: M rows of x, N outputs, K inputs. The kinds of weights are those of ``records.KINDS``; their layout is
that of ``csrc/linear/linear.h``, the same whatever the processor can do, so packed weights may be saved
and moved.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from pegasus.backends.native import LEVELS, check, declared
from pegasus.backends.native.records import KINDS, Linear, LinearRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What may follow the bias, in the order of the C side.
AFTER = ("none", "relu", "gelu", "gelu_new", "silu", "tanh")

_ALIGNMENT = 64
_I32, _PTR = ctypes.c_int32, ctypes.c_void_p
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pg_cpu_level": (_I32, ()),
    "pg_cpu_has": (_I32, (_I32,)),
    "pg_cpu_use": (_I32, (_I32,)),
    "pg_packed_bytes": (ctypes.c_int64, (_I32, _I32, _I32)),
    "pg_pack": (_I32, (_I32, _I32, _I32, _PTR, _PTR, _PTR, _PTR, _I32)),
    "pg_row": (None, (ctypes.POINTER(LinearRecord), _I32, _PTR)),
    "pg_runner_new": (_I32, (_I32, ctypes.POINTER(_PTR))),
    "pg_runner_free": (None, (_PTR,)),
    "pg_linear": (
        _I32,
        (_PTR, ctypes.POINTER(LinearRecord), _PTR, _I32, _I32, _PTR, _I32, _I32, _PTR, _I32),
    ),
    "pg_quantize": (_I32, (_PTR, _PTR, _I32, _I32, _I32, _PTR, _PTR)),
    "pg_read": (_I32, (_PTR, _PTR, ctypes.c_int64, ctypes.POINTER(ctypes.c_uint64))),
}


def _native() -> ctypes.CDLL:
    """The library, its functions declared."""
    return declared(_FUNCTIONS)


# -- the processor ----------------------------------------------------------------------------------------


def level() -> str:
    """Which of ``LEVELS`` the kernels use: the best of this machine, or what PEGASUS_CPU says."""
    return LEVELS[_native().pg_cpu_level()]


def levels() -> tuple[str, ...]:
    """The levels this machine has."""
    native = _native()
    return tuple(name for number, name in enumerate(LEVELS) if native.pg_cpu_has(number))


def use_level(name: str) -> str:
    """Uses a level, or the next below that the machine has; not while something is computed.

    Returns:
        The level now in use.
    """
    return LEVELS[_native().pg_cpu_use(LEVELS.index(name))]


# -- packing ----------------------------------------------------------------------------------------------


def aligned(count: int) -> np.ndarray:
    """Bytes, not filled, that begin where the kernels want it."""
    whole = np.empty(count + _ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % _ALIGNMENT
    return whole[start : start + count]


def packed_bytes(kind: str, outputs: int, inputs: int) -> int:
    """How many bytes the weights of a layer take."""
    return int(_native().pg_packed_bytes(KINDS.index(kind), outputs, inputs))


def pack(
    kind: str,
    weights_NK: np.ndarray,
    bias_N: np.ndarray | None = None,
    *,
    out: np.ndarray | None = None,
    threads: int = 1,
) -> Linear:
    """Packs a layer.

    Args:
        kind: one of ``KINDS``; int8 gets one scale per output, its largest weight being ±127.
        weights_NK: as a checkpoint has them; converted to float32 where they are not.
        bias_N: added to the outputs.
        out: uint8, ``packed_bytes`` of them, aligned to 64; made where it is not given.
        threads: how many work on it.
    """
    weights_NK = np.ascontiguousarray(weights_NK, np.float32)
    outputs, inputs = weights_NK.shape
    out = aligned(packed_bytes(kind, outputs, inputs)) if out is None else out
    scale_N = np.empty(outputs, np.float32) if kind == "int8" else None
    sums_N = np.empty(outputs, np.int32) if kind == "int8" else None
    places = (_at(weights_NK), _at(out), _at(scale_N), _at(sums_N))
    check(_native().pg_pack(KINDS.index(kind), outputs, inputs, *places, threads))
    bias_N = None if bias_N is None else np.ascontiguousarray(bias_N, np.float32)
    return Linear(kind, outputs, inputs, out, scale_N, sums_N, bias_N)


def rows(linear: Linear, numbers: np.ndarray) -> np.ndarray:
    """Rows of the weights as they are after packing, float32 [len(numbers), K]."""
    record, native = linear.record(), _native()
    taken = np.empty((len(numbers), linear.inputs), np.float32)
    for out_K, number in zip(taken, numbers.tolist(), strict=True):
        if not 0 <= number < linear.outputs:
            raise IndexError(f"row {number} of weights that have {linear.outputs}")
        native.pg_row(ctypes.byref(record), number, _at(out_K))
    return taken


# -- running ----------------------------------------------------------------------------------------------


class Runner:
    """Threads that wait for single layers to run, for tests and timing; a model has its own."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._runner = _PTR()
        check(_native().pg_runner_new(threads, ctypes.byref(self._runner)))

    def __del__(self) -> None:
        if getattr(self, "_runner", None):
            _native().pg_runner_free(self._runner)

    def run(
        self,
        linear: Linear,
        x_MK: np.ndarray,
        *,
        after: str = "none",
        residual_MN: np.ndarray | None = None,
        out_MN: np.ndarray | None = None,
    ) -> np.ndarray:
        """``after(x Wᵀ + b) + residual``, float32; rows of each array may stand apart, columns may not.

        Args:
            linear: the layer.
            x_MK: float32.
            after: one of ``AFTER``.
            residual_MN: float32; it may be ``out_MN`` itself.
            out_MN: float32, where the result goes; made where it is not given.
        """
        count = len(x_MK)
        y = np.empty((count, linear.outputs), np.float32) if out_MN is None else out_MN
        code = _native().pg_linear(
            self._runner,
            ctypes.byref(linear.record()),
            *_matrix(x_MK),
            count,
            *_matrix(y),
            AFTER.index(after),
            *(_matrix(residual_MN) if residual_MN is not None else (None, 0)),
        )
        check(code)
        return y

    def quantize(self, x_MK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows as int8 layers see them: whole numbers int8 [M, K], and what 1 is worth, float32 [M]."""
        bytes_MK, scale_M = np.empty(x_MK.shape, np.uint8), np.empty(len(x_MK), np.float32)
        pointer, step = _matrix(x_MK)
        code = _native().pg_quantize(self._runner, pointer, *x_MK.shape, step, _at(bytes_MK), _at(scale_M))
        check(code)
        return (bytes_MK ^ 128).view(np.int8), scale_M

    def read(self, numbers: np.ndarray) -> int:
        """Reads an array of uint64 as fast as the threads can; returns the sum, modulo 2**64."""
        total = ctypes.c_uint64()
        check(_native().pg_read(self._runner, _at(numbers), numbers.size, ctypes.byref(total)))
        return total.value


def _at(array: np.ndarray | None) -> int | None:
    return None if array is None else int(array.ctypes.data)


def _dense(array: np.ndarray) -> bool:
    """Whether the numbers of each row stand side by side; of no rows, or of one number, they do."""
    return array.strides[1] == 4 or array.shape[1] == 1 or not array.size


def _matrix(array: np.ndarray) -> Iterator[int]:
    """Where a matrix begins, and how far its rows are apart, in numbers."""
    if array.dtype != np.float32 or array.ndim != 2 or not _dense(array):
        raise ValueError(f"a float32 matrix with dense rows is wanted, not {array.dtype} {array.shape}")
    yield array.ctypes.data
    yield array.strides[0] // 4
