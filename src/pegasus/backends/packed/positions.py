"""Tables of positions for the library: what a checkpoint brought or the formula gives, without end."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import numpy as np

from pegasus.backends.packed.layouts import packer_of
from pegasus.errors import NotOffered
from pegasus.spec.positions import sinusoid_table

if TYPE_CHECKING:
    from pegasus.backends.native.inference import NativeModel
    from pegasus.backends.packed.weights import PackedWeights

_SIDES = ("encoder", "decoder")


class Positions:
    """The tables of encoder and decoder, made longer when a text asks for it.

    Args:
        weights: the configuration, and tables where the checkpoint has its own.
        model: the library's, which is told.
    """

    def __init__(self, weights: PackedWeights, model: NativeModel) -> None:
        self.config, self.model = weights.config, model
        #: Held while tables are set, and by who sets one of his own for a while.
        self.lock = threading.RLock()
        stored = {side: weights.vectors.get(f"{side}.embed_positions.weight") for side in _SIDES}
        some = any(table is None for table in stored.values())
        made = self._rows(0, self.config.max_position_embeddings if some else 0)
        self.tables = {side: made if table is None else table for side, table in stored.items()}
        if weights.config.decoder_start == "zeros":
            self.tables["decoder"] = self._without_start(weights)
        self.set()

    def set(self) -> None:
        """Tells the library the tables."""
        with self.lock:
            self.model.set_positions(self.tables["encoder"], self.tables["decoder"])

    def reach(self, encoder: int = 0, decoder: int = 0) -> None:
        """Makes the tables this long at least."""
        with self.lock:
            grown = [self._grow("encoder", encoder), self._grow("decoder", decoder)]
            if any(grown):
                self.set()

    def _without_start(self, weights: PackedWeights) -> np.ndarray:
        """The decoder's table, the first row less what the start token brings there: a start from zeros.

        The engine adds that row to the token's embedding. So it reads what it should as long as a text
        starts from that token, which ``refuse_other_starts`` sees to.
        """
        packer = packer_of(weights.layout)
        assert packer is not None, "the engine takes no other layout"
        start = np.array([self.config.decoder_start_token_id])
        scale = math.sqrt(self.config.d_model) if self.config.scale_embedding else 1.0
        table_TD = self.tables["decoder"].copy()
        table_TD[0] -= packer.take(weights.embedding, start)[0] * np.float32(scale)
        return table_TD

    def refuse_other_starts(self, tokens_R: np.ndarray) -> None:
        """Texts of a model that starts from zeros must begin with the start token.

        Raises:
            NotOffered: one begins with another.
        """
        start = self.config.decoder_start_token_id
        if self.config.decoder_start == "zeros" and (tokens_R != start).any():
            raise NotOffered(
                f"packed inference starts this model from token {start}, and a text begins with "
                f"{tokens_R[tokens_R != start][0]}: begin it with {start}, or use the torch backend."
            )

    def _grow(self, side: str, wanted: int) -> bool:
        have = len(self.tables[side])
        if have >= wanted:
            return False
        # Twice as long as before: a text that grows token by token asks rarely.
        more = self._rows(have, max(wanted, 2 * have) - have)
        self.tables[side] = np.concatenate([self.tables[side], more])
        return True

    def _rows(self, start: int, count: int) -> np.ndarray:
        return sinusoid_table(count, self.config.d_model, self.config.position_table, start)
