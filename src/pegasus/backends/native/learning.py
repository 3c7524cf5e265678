"""A step of learning in the native library: parts of a batch in, losses and gradients out.

The products are of bfloat16 and summed in float32; the residual, the norms and all gradients of weights are
float32. Padding is never computed: texts stand behind each other. The C side is ``csrc/learning/learn.h``.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from pegasus.backends.native import check, declared, reason
from pegasus.backends.native.batches import Texts, deal, portions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_I32, _F32, _PTR = ctypes.c_int32, ctypes.c_float, ctypes.c_void_p


class ShapeRecord(ctypes.Structure):
    """The C side of ``LearnShape``."""

    _fields_ = (
        ("width", _I32),
        ("encoder_heads", _I32),
        ("decoder_heads", _I32),
        ("encoder_layers", _I32),
        ("decoder_layers", _I32),
        ("encoder_hidden", _I32),
        ("decoder_hidden", _I32),
        ("vocabulary", _I32),
        ("pad", _I32),
        ("scale", _F32),
        ("eps", _F32),
    )


class BatchRecord(ctypes.Structure):
    """The C side of ``LearnBatch``."""

    _fields_ = (
        ("texts", _I32),
        ("mlm_tokens", _I32),
        ("source_offsets", _PTR),
        ("source", _PTR),
        ("source_positions", _PTR),
        ("positions", _PTR),
        ("mlm_places", _PTR),
        ("mlm_labels", _PTR),
        ("target_offsets", _PTR),
        ("target", _PTR),
        ("target_positions", _PTR),
        ("labels", _PTR),
        ("logit_bias", _PTR),
        ("target_scale", _F32),
        ("mlm_scale", _F32),
        ("smoothing", _F32),
        ("learns", _I32),
        ("dropout", _F32),
        ("attention_dropout", _F32),
        ("activation_dropout", _F32),
        ("seed", ctypes.c_uint32),
    )


_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pg_learn_new": (_I32, (ctypes.POINTER(ShapeRecord), _I32, ctypes.POINTER(_PTR))),
    "pg_learn_free": (None, (_PTR,)),
    "pg_learn_weights": (_I32, (_PTR,)),
    "pg_learn_pack": (_I32, (_PTR, _PTR, _I32, _I32)),
    "pg_learn_run": (_I32, (_PTR, _I32, ctypes.POINTER(BatchRecord), _PTR)),
    "pg_learn_collect": (_I32, (_PTR, _PTR, _I32, _I32)),
    "pg_learn_collect_last": (_I32, (_PTR, _PTR)),
}


def not_offered() -> str | None:
    """Why this machine or library cannot learn natively, in a sentence; None when it can."""
    missing = reason()
    if missing is not None:
        return missing
    if not declared({"pg_learn_offered": (_I32, ())}).pg_learn_offered():
        return (
            "the processor does not multiply bfloat16 (AVX-512 BF16 or AMX), "
            "or PEGASUS_CPU keeps that from being used"
        )
    return None


class NativeLearner:
    """Weights made ready, and sums of gradients for some workers, each a thread of its own.

    Args:
        shape: of the model; width, head widths and hidden widths are multiples of 32.
        workers: how many parts of a batch may run at the same time.
    """

    def __init__(self, shape: ShapeRecord, workers: int) -> None:
        self._native = declared(_FUNCTIONS)
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers, "pegasus-learn")
        self._learn = _PTR()
        check(self._native.pg_learn_new(ctypes.byref(shape), workers, ctypes.byref(self._learn)))

    def __del__(self) -> None:
        """Give the memory back."""
        if getattr(self, "_learn", None):
            self._native.pg_learn_free(self._learn)

    @property
    def weights(self) -> int:
        """How many weights the model has."""
        return int(self._native.pg_learn_weights(self._learn))

    def pack(self, addresses: Sequence[int]) -> None:
        """Make the weights ready, on all threads; before anything runs.

        Args:
            addresses: where each weight lies, as float32, in the order of ``csrc/learning/learn.h``.
        """
        self._on_all(self._native.pg_learn_pack, addresses)

    def run(self, texts: Texts, settings: Mapping[str, Any], seed: int) -> np.ndarray:
        """Learn from a batch, each worker its own texts. Sums of gradients grow until they are collected.

        Args:
            texts: of the batch.
            settings: the fields of ``BatchRecord`` that are the same for all texts; arrays as NumPy, each
                contiguous and of the C side's type.
            seed: where the batch's dropout begins.

        Returns:
            [2], the losses of the target's and of the MLM tokens, summed.
        """

        def work(worker: int, mine: Sequence[int]) -> np.ndarray:
            sums = np.zeros(2)
            for number, some in enumerate(portions(texts.sizes, mine)):
                drawn = np.random.SeedSequence([seed, worker, number]).generate_state(1)[0]
                sums += self._run(worker, {**texts.together(some), **settings, "seed": int(drawn)})
            return sums

        hands = deal(texts.sizes, self.workers)
        found: np.ndarray = np.sum(list(self._pool.map(work, range(self.workers), hands)), axis=0)
        return found

    def collect(self, addresses: Sequence[int]) -> None:
        """Add all workers' sums to the gradients, and clear them.

        Args:
            addresses: where the gradient of each weight lies, 0 for one that does not learn.
        """
        self._on_all(self._native.pg_learn_collect, addresses)
        # The embedding is the output layer too: what it learned as the input layer is added after that.
        check(self._native.pg_learn_collect_last(self._learn, _pointers(addresses)))

    def _run(self, worker: int, fields: Mapping[str, Any]) -> np.ndarray:
        record = BatchRecord()
        for name, value in fields.items():
            setattr(record, name, value.ctypes.data if isinstance(value, np.ndarray) else value)
        sums = np.zeros(2)
        check(self._native.pg_learn_run(self._learn, worker, ctypes.byref(record), sums.ctypes.data))
        return sums

    def _on_all(self, function: Any, addresses: Sequence[int]) -> None:
        """Each thread does its part of the weights."""
        pointers, count = _pointers(addresses), self.workers
        for code in self._pool.map(lambda i: function(self._learn, pointers, i, count), range(count)):
            check(code)


def _pointers(addresses: Sequence[int]) -> Any:
    return (ctypes.c_void_p * len(addresses))(*addresses)
