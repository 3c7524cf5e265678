"""Inference in the native library: encode texts, read tokens step by step, rank what may come next.

Axes: B texts, R rows (texts × beams; row r belongs to text r // (R / B)), N tokens of all texts one behind
the other or rows of scores, T new tokens, P positions, C candidates, D model, V vocabulary. A model and
what it opened do one thing at a time; calls from several threads wait for each other, without holding the
interpreter's lock.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from pegasus.backends.native import check, declared
from pegasus.backends.native.records import NetworkRecord
from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from pegasus.backends.native.records import Network

_I32, _I64, _PTR = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p

#: Every function of ``csrc/api/api.h``: what it returns and what it takes.
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pg_model_new": (_I32, (ctypes.POINTER(NetworkRecord), _I32, ctypes.POINTER(_PTR))),
    "pg_model_free": (None, (_PTR,)),
    "pg_model_positions": (None, (_PTR, _PTR, _I32, _PTR, _I32)),
    "pg_model_profile": (_I32, (_PTR, _PTR, _I32)),
    "pg_part_name": (ctypes.c_char_p, (_I32,)),
    "pg_encode": (_I32, (_PTR, _PTR, _PTR, _I32, _PTR)),
    "pg_session_new": (_I32, (_PTR, _PTR, _PTR, _I32, ctypes.POINTER(_PTR))),
    "pg_session_free": (None, (_PTR,)),
    "pg_session_step": (_I32, (_PTR, _I32, _PTR, _PTR, _I32, _PTR, _I32, _I32, _I32, _I32)),
    "pg_session_length": (_I32, (_PTR,)),
    "pg_session_bytes": (_I64, (_PTR,)),
    "pg_session_hidden": (_PTR, (_PTR,)),
    "pg_session_scores": (_PTR, (_PTR,)),
    "pg_session_copy": (_PTR, (_PTR, _PTR, _I32)),
    "pg_scores_values": (_PTR, (_PTR,)),
    "pg_scores_rows": (_I32, (_PTR,)),
    "pg_scores_stride": (_I32, (_PTR,)),
    "pg_scores_changed": (None, (_PTR,)),
    "pg_scores_get": (_I32, (_PTR, _PTR, _PTR, _I64, _PTR)),
    "pg_scores_put": (_I32, (_PTR, _PTR, _PTR, _I64, _PTR)),
    "pg_scores_fill": (_I32, (_PTR, _PTR, _I64, ctypes.c_float)),
    "pg_scores_logsumexp": (_I32, (_PTR, _PTR)),
    "pg_scores_log_softmax": (_I32, (_PTR,)),
    "pg_scores_best": (_I32, (_PTR, _PTR, _I32, _PTR, _I32, _PTR, _PTR)),
}


def _pointer(array: np.ndarray | None) -> Any:
    """Where a dense array lies, as an argument; ``ctypes.data`` takes three times as long to say."""
    if array is None:
        return None
    try:
        return ctypes.byref(ctypes.c_char.from_buffer(array.data))
    except (TypeError, ValueError):  # it must not be written to, or is empty
        return array.ctypes.data


def _dense(array: np.ndarray | None, dtype: type) -> np.ndarray | None:
    return None if array is None else np.ascontiguousarray(array, dtype)


class NativeModel:
    """A model in the native library.

    Args:
        network: the model. Its arrays are used where they lie and kept alive.
        threads: how many threads compute, the caller's among them.

    Raises:
        NotOffered: there is no library, or it does not know the activation.
        BadSetting: the system does not start so many threads.
    """

    def __init__(self, network: Network, threads: int) -> None:
        self.network = network
        self._native = declared(_FUNCTIONS)
        self._tables: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
        self._model = _PTR()
        check(self._native.pg_model_new(ctypes.byref(network.record()), threads, ctypes.byref(self._model)))

    def __del__(self) -> None:
        if getattr(self, "_model", None):
            self._native.pg_model_free(self._model)

    def set_positions(
        self, encoder_SD: Float[np.ndarray, "S D"] | None, decoder_TD: Float[np.ndarray, "T D"] | None
    ) -> None:
        """Set the tables of positions (float32), before the first text and when longer ones are needed.

        None leaves a table as it is.
        """
        new = (_dense(encoder_SD, np.float32), _dense(decoder_TD, np.float32))
        tables = tuple(
            old if table is None else table for old, table in zip(self._tables, new, strict=True)
        )
        lengths = [0 if table is None else len(table) for table in tables]
        self._native.pg_model_positions(
            self._model, _pointer(tables[0]), lengths[0], _pointer(tables[1]), lengths[1]
        )
        self._tables = (tables[0], tables[1])

    @property
    def position_rows(self) -> tuple[int, int]:
        """How many positions the tables of encoder and decoder have."""
        encoder, decoder = self._tables
        return 0 if encoder is None else len(encoder), 0 if decoder is None else len(decoder)

    def encode(
        self, ids_N: Int[np.ndarray, " N"], offsets: Int[np.ndarray, " B1"]
    ) -> Float[np.ndarray, "N D"]:
        """The encoder's final states.

        Args:
            ids_N: the tokens of all texts, one text behind the other, no padding.
            offsets: B + 1 numbers; text b has the tokens ``offsets[b] .. offsets[b + 1]``.

        Returns:
            float32 [N, D], in the order of ``ids_N``.

        Raises:
            BadSetting: a token outside the vocabulary or more positions than the table has.
        """
        ids_N, offsets = np.ascontiguousarray(ids_N, np.int64), np.ascontiguousarray(offsets, np.int64)
        states_ND = np.empty((len(ids_N), self.network.width), np.float32)
        code = self._native.pg_encode(
            self._model, _pointer(ids_N), _pointer(offsets), len(offsets) - 1, _pointer(states_ND)
        )
        check(code)
        return states_ND

    def open(
        self, states_ND: Float[np.ndarray, "N D"] | None, offsets: Int[np.ndarray, " B1"] | None
    ) -> Decoding:
        """A decoder with an empty KV cache of its own and the keys and values of these states.

        Args:
            states_ND: what cross-attention looks at, texts one behind the other as ``encode`` returns them.
                None: the decoder stands alone. They are not needed afterwards.
            offsets: where each text begins, and the end.
        """
        return Decoding(self, _dense(states_ND, np.float32), _dense(offsets, np.int64))

    def profile(self) -> dict[str, float]:
        """Seconds since the last call by part of the work; the first call starts the clock."""
        names: list[str] = []
        while (name := self._native.pg_part_name(len(names))) is not None:
            names.append(name.decode())
        seconds = np.zeros(len(names))
        self._native.pg_model_profile(self._model, _pointer(seconds), len(names))
        return dict(zip(names, seconds.tolist(), strict=True))


class Decoding:
    """A decoder with its KV cache; made by ``NativeModel.open``."""

    def __init__(
        self, model: NativeModel, states_ND: np.ndarray | None, offsets: np.ndarray | None
    ) -> None:
        self._model = model
        self._native = model._native
        self._session = _PTR()
        texts = 0 if offsets is None else len(offsets) - 1
        code = self._native.pg_session_new(
            model._model, _pointer(states_ND), _pointer(offsets), texts, ctypes.byref(self._session)
        )
        check(code)

    def __del__(self) -> None:
        if getattr(self, "_session", None):
            self._native.pg_session_free(self._session)

    def step(
        self,
        tokens_RT: Int[np.ndarray, "R T"],
        parents_R: Int[np.ndarray, " R"] | None = None,
        texts_B: Int[np.ndarray, " B"] | None = None,
        keep: int | None = None,
        positions: int = 1,
        hidden: bool = False,
    ) -> Float[np.ndarray, "R T D"] | None:
        """Read new tokens.

        Args:
            tokens_RT: what each row reads.
            parents_R: whose cache each row carries on, as indices into the rows of the step before.
            texts_B: which texts remain, as indices into those it holds.
            keep: how many cached positions a row keeps before it reads.
            positions: P, how many of the last tokens get scores (see ``scores``).
            hidden: whether the last hidden states are wanted.

        Returns:
            A copy of the last hidden states (after the final norm), or None.

        Raises:
            BadSetting: rows that are no multiple of the texts, an index or token out of range, or more
                positions than the table has. The cache is then as it was.
        """
        tokens_RT = np.ascontiguousarray(tokens_RT, np.int64)
        parents_R, texts_B = _dense(parents_R, np.int64), _dense(texts_B, np.int64)
        rows, length = tokens_RT.shape
        if parents_R is not None and len(parents_R) != rows:
            raise BadSetting(f"{len(parents_R)} parents for {rows} rows: give one a row")
        code = self._native.pg_session_step(
            self._session,
            -1 if keep is None else keep,
            _pointer(parents_R),
            _pointer(texts_B),
            0 if texts_B is None else len(texts_B),
            _pointer(tokens_RT),
            rows,
            length,
            positions,
            int(hidden),
        )
        check(code)
        if not hidden:
            return None
        shape = (rows, length, self._model.network.width)
        return _view(self._native.pg_session_hidden(self._session), shape).copy()

    @property
    def length(self) -> int:
        """How many positions of each row are cached."""
        return int(self._native.pg_session_length(self._session))

    @property
    def bytes(self) -> int:
        """Memory held for keys, values and scores."""
        return int(self._native.pg_session_bytes(self._session))

    def scores(self) -> Scores:
        """The logits of the last step: N = R · P rows, position after position within a row of the step.

        They are good until the next step. A later question about the same step sees what was changed.
        """
        return Scores(self, self._native.pg_session_scores(self._session))

    def copied(self, rows_N: Int[np.ndarray, " N"] | None = None) -> Scores:
        """A copy of some rows (None: all) of the logits, to be changed freely. There is one at a time."""
        rows_N = _dense(rows_N, np.int64)
        handle = self._native.pg_session_copy(
            self._session, _pointer(rows_N), 0 if rows_N is None else len(rows_N)
        )
        if not handle:
            raise BadSetting("no such rows of scores to copy, or no memory for them")
        return Scores(self, handle)


class Scores:
    """Numbers [N, V] inside the library, and the questions asked about them; made by ``Decoding``."""

    def __init__(self, decoding: Decoding, handle: int) -> None:
        self._decoding = decoding  # keeps the memory alive
        self._native = decoding._native
        self._handle = handle
        self.rows = int(self._native.pg_scores_rows(handle))
        self.vocabulary = decoding._model.network.vocabulary

    def view(self) -> Float[np.ndarray, "N V"]:
        """The numbers where they lie, float32, good until the next step. Call ``changed`` after writing."""
        stride = int(self._native.pg_scores_stride(self._handle))
        whole = _view(self._native.pg_scores_values(self._handle), (self.rows, stride))
        return whole[:, : self.vocabulary]

    def changed(self) -> None:
        """Say that ``view`` was written to."""
        self._native.pg_scores_changed(self._handle)

    def get(
        self, rows_K: Int[np.ndarray, " K"], tokens_K: Int[np.ndarray, " K"]
    ) -> Float[np.ndarray, " K"]:
        """Single numbers, pair by pair."""
        rows_K, tokens_K = _pairs(rows_K, tokens_K)
        values_K = np.empty(len(rows_K), np.float32)
        code = self._native.pg_scores_get(
            self._handle, _pointer(rows_K), _pointer(tokens_K), len(rows_K), _pointer(values_K)
        )
        check(code)
        return values_K

    def put(
        self,
        rows_K: Int[np.ndarray, " K"],
        tokens_K: Int[np.ndarray, " K"],
        values_K: Float[np.ndarray, " K"] | float,
    ) -> None:
        """Change single numbers, pair by pair; where a pair comes twice the last one counts."""
        rows_K, tokens_K = _pairs(rows_K, tokens_K)
        given, values_K = values_K, np.empty(len(rows_K), np.float32)
        values_K[:] = given
        code = self._native.pg_scores_put(
            self._handle, _pointer(rows_K), _pointer(tokens_K), len(rows_K), _pointer(values_K)
        )
        check(code)

    def fill(self, rows_K: Int[np.ndarray, " K"], value: float) -> None:
        """Give all tokens of some rows one number."""
        rows_K = np.ascontiguousarray(rows_K, np.int64)
        check(self._native.pg_scores_fill(self._handle, _pointer(rows_K), len(rows_K), value))

    def logsumexp(self) -> Float[np.ndarray, " N"]:
        """log Σ exp of each row. Of logits that nobody changed it was found while they were made."""
        values_N = np.empty(self.rows, np.float32)
        check(self._native.pg_scores_logsumexp(self._handle, _pointer(values_N)))
        return values_N

    def log_softmax(self) -> None:
        """Make log-probabilities of all rows, in place."""
        check(self._native.pg_scores_log_softmax(self._handle))

    def best(
        self,
        count: int,
        rows_K: Int[np.ndarray, " K"] | None = None,
        shift_K: Float[np.ndarray, " K"] | None = None,
    ) -> tuple[Float[np.ndarray, "K C"], Int[np.ndarray, "K C"]]:
        """The ``count`` best tokens of each row, largest first, of equal ones the lower token first.

        Args:
            count: C, at most V.
            rows_K: which rows; None: all.
            shift_K: taken off the numbers of each row asked about before they are compared; None: nothing.

        Returns:
            The numbers (less the shift), float32, and the tokens, int64.
        """
        rows_K, shift_K = _dense(rows_K, np.int64), _dense(shift_K, np.float32)
        asked = self.rows if rows_K is None else len(rows_K)
        if shift_K is not None and len(shift_K) != asked:
            raise BadSetting(f"{len(shift_K)} shifts for {asked} rows: give one a row")
        values_KC, tokens_KC = np.empty((asked, count), np.float32), np.empty((asked, count), np.int64)
        code = self._native.pg_scores_best(
            self._handle,
            _pointer(rows_K),
            asked,
            _pointer(shift_K),
            count,
            _pointer(values_KC),
            _pointer(tokens_KC),
        )
        check(code)
        return values_KC, tokens_KC


def _pairs(rows_K: np.ndarray, tokens_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if rows_K.shape != tokens_K.shape:
        rows_K, tokens_K = np.broadcast_arrays(rows_K, tokens_K)
    return np.ascontiguousarray(rows_K, np.int64), np.ascontiguousarray(tokens_K, np.int64)


def _view(address: int, shape: tuple[int, ...]) -> np.ndarray:
    floats = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(floats, shape)
