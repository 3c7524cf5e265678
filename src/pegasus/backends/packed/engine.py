"""What packed inference asks of whoever computes: the native library, or PyTorch where it was not built.

Axes: B texts, R rows (texts × beams), N tokens of all texts one behind the other, or rows of scores, T new
tokens, C candidates, D model, V vocabulary.
"""

from __future__ import annotations

import importlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pegasus.backends.packed import native
from pegasus.backends.packed.panels import PanelPacker
from pegasus.backends.packed.rows import RowPacker

if TYPE_CHECKING:
    from pegasus.backends.packed.weights import PackedWeights, Packer

logger = logging.getLogger(__name__)

#: Environment variable: 1 computes with PyTorch although the library is there.
NO_NATIVE = "PEGASUS_NO_NATIVE"


class Scores(Protocol):
    """Numbers [N, V] and the questions asked about them."""

    rows: int

    def view(self) -> np.ndarray:
        """The numbers where they lie."""
        ...

    def changed(self) -> None:
        """To be called after writing into ``view``."""
        ...

    def get(self, rows_K: np.ndarray, tokens_K: np.ndarray) -> np.ndarray:
        """Single numbers, pair by pair."""
        ...

    def put(self, rows_K: np.ndarray, tokens_K: np.ndarray, values_K: np.ndarray | float) -> None:
        """Changes single numbers; where a pair comes twice the last one counts."""
        ...

    def fill(self, rows_K: np.ndarray, value: float) -> None:
        """One number for all tokens of some rows."""
        ...

    def logsumexp(self) -> np.ndarray:
        """log Σ exp of each row."""
        ...

    def log_softmax(self) -> None:
        """Makes log-probabilities of all rows, in place."""
        ...

    def best(
        self, count: int, rows_K: np.ndarray | None = None, shift_K: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best tokens of each row, largest first, less a shift: the numbers and which they are."""
        ...


class Decoding(Protocol):
    """A decoder with its memory."""

    @property
    def length(self) -> int:
        """How many positions a row remembers."""
        ...

    def step(
        self,
        tokens_RT: np.ndarray,
        parents_R: np.ndarray | None = None,
        texts_B: np.ndarray | None = None,
        keep: int | None = None,
        positions: int = 1,
        hidden: bool = False,
    ) -> np.ndarray | None:
        """Reads tokens; the fields of an ``Ask``. Returns the last hidden states [R, T, D] if wanted."""
        ...

    def scores(self) -> Scores:
        """The logits of the last step where they lie."""
        ...

    def copied(self, rows_N: np.ndarray | None = None) -> Scores:
        """A copy of some rows of them."""
        ...


class Engine(Protocol):
    """A model that computes."""

    def set_positions(self, encoder_SD: np.ndarray | None, decoder_TD: np.ndarray | None) -> None:
        """Sets the tables of positions; None leaves one as it is."""
        ...

    def encode(self, ids_N: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """The encoder's final states [N, D]; text b has the tokens offsets[b] .. offsets[b + 1]."""
        ...

    def open(self, states_ND: np.ndarray, offsets: np.ndarray) -> Decoding:
        """A decoder that looks at these states and remembers nothing yet."""
        ...

    def linear(self, name: str, x_MK: np.ndarray) -> np.ndarray:
        """What one of the packed matrices makes of some rows, float32 [M, N]."""
        ...


def native_reason() -> str | None:
    """Why the native library does not compute here; None where it does."""
    if os.environ.get(NO_NATIVE, "") not in ("", "0"):
        return f"{NO_NATIVE} is set"
    return native.reason()


def packer_here(threads: int) -> Packer:
    """The packer of whoever computes here."""
    return PanelPacker(threads) if native_reason() is None else RowPacker()


def packer_of(layout: str) -> Packer | None:
    """Who unpacks a layout; None where nobody does."""
    packers: dict[str, Packer] = {PanelPacker.layout: PanelPacker(), RowPacker.layout: RowPacker()}
    return packers.get(layout)


def start_engine(weights: PackedWeights, threads: int) -> Engine:
    """Somebody who computes with these weights, whatever their layout."""
    reason = native_reason()
    if reason is None:
        module = importlib.import_module("pegasus.backends.packed.native_engine")
    else:
        logger.info("PyTorch computes, which is slower than the native library: %s", reason)
        module = importlib.import_module("pegasus.backends.torch.packed_engine")
    engine: Engine = module.start(weights, threads)
    return engine


def usual_threads() -> int:
    """OMP_NUM_THREADS, or the cores that this process may use; two threads of one core count as one."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    # Windows and macOS have no affinity to ask for.
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared = Path("/sys/devices/system/cpu/smt/active")
    paired = shared.is_file() and shared.read_text().strip() == "1"
    return max(1, count // 2 if paired else count)
