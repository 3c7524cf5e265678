"""Scores in a PyTorch tensor, on any device, and the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

#: Tokens are first compared by blocks of this many: a pass of maxima over the vocabulary and a search in
#: the few best blocks is several times faster than one search in the whole vocabulary.
BLOCK = 64


def best(scores: Float[Tensor, "R V"], count: int) -> tuple[Float[Tensor, "R C"], Int[Tensor, "R C"]]:
    """The ``count`` best tokens of each row, best first: their scores and which they are."""
    rows, vocabulary = scores.shape
    whole = vocabulary // BLOCK
    if whole < 4 * count:
        plain = torch.topk(scores, count, dim=1)
        return plain.values, plain.indices
    blocked = scores[:, : whole * BLOCK].view(rows, whole, BLOCK)
    blocks = torch.topk(blocked.amax(dim=2), count, dim=1, sorted=False).indices
    # In the order of the vocabulary, so that of equal scores the lower token comes first, as in one search.
    blocks = blocks.sort(dim=1).values
    tokens = (blocks[:, :, None] * BLOCK + torch.arange(BLOCK, device=scores.device)).view(rows, -1)
    rest = torch.arange(whole * BLOCK, vocabulary, device=scores.device).expand(rows, -1)
    tokens = torch.cat([tokens, rest], dim=1)
    values, places = torch.topk(scores.gather(1, tokens), count, dim=1)
    return values, tokens.gather(1, places)


class TorchScores:
    """Numbers [N, V]; ``session.decoder.Scores`` describes each question.

    Args:
        scores_NV: float32.
        owned: whether they may be written into; else they are copied before the first change.
    """

    #: A change and its taking back are four calls to the device: sooner a copy.
    in_place = False

    def __init__(self, scores_NV: Float[Tensor, "N V"], owned: bool) -> None:
        self.scores_NV, self.owned = scores_NV, owned
        self.rows, self.vocabulary = scores_NV.shape

    def places(self, rows_K: np.ndarray | None, tokens_K: np.ndarray) -> Any:
        """An index on the device."""
        return slice(None) if rows_K is None else self._index(rows_K), self._index(tokens_K)

    def where(self, condition: Any, yes: Any, no: Any) -> Tensor:
        """One or the other."""
        return torch.where(condition, yes, no)

    def get(self, places: Any) -> Tensor:
        """The numbers there."""
        return self.scores_NV[places]

    def put(self, places: Any, values: Any) -> None:
        """Changes them."""
        self._own()[places] = values

    def array(self, values_K: np.ndarray) -> Tensor:
        """In float32, on the device."""
        return torch.from_numpy(np.ascontiguousarray(values_K, np.float32)).to(self.scores_NV.device)

    def fill(self, rows_K: np.ndarray, value: float) -> None:
        """One number for whole rows."""
        self._own()[self._index(rows_K)] = value

    def take(self, rows_K: np.ndarray | None) -> Tensor:
        """All where they lie, or a copy of some rows."""
        return self._own() if rows_K is None else self.scores_NV[self._index(rows_K)]

    def replace(self, rows_K: np.ndarray | None, values: Any) -> None:
        """Other numbers for whole rows."""
        if rows_K is None:
            self.scores_NV, self.owned = values, False
        else:
            self._own()[self._index(rows_K)] = values

    def copy(self) -> Tensor:
        """A copy of all."""
        return self.scores_NV.clone()

    def log_softmax(self, rows_K: np.ndarray | None = None) -> None:
        """Log-probabilities."""
        self._map(rows_K, lambda scores: torch.log_softmax(scores, dim=-1))

    def repair(self, rows_K: np.ndarray | None = None) -> None:
        """No NaN and no +∞."""
        most = torch.finfo(torch.float32).max
        self._map(rows_K, lambda scores: torch.nan_to_num(scores, nan=0.0, posinf=most, neginf=-torch.inf))

    def logsumexp(self) -> Any:
        """[N, 1] on the device."""
        return torch.logsumexp(self.scores_NV, dim=-1, keepdim=True)

    def best(self, count: int, shift: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The best tokens of each row, on the host."""
        values_NC, tokens_NC = best(self.scores_NV, count)
        return self._to_host(values_NC, shift), tokens_NC.cpu().numpy()

    def gather(self, tokens_NK: np.ndarray, shift: Any = None) -> np.ndarray:
        """Some tokens of each row."""
        return self._to_host(self.scores_NV.gather(1, self._index(tokens_NK)), shift)

    def whole(self, shift: Any = None) -> np.ndarray:
        """All of them."""
        return np.array(self._to_host(self.scores_NV, shift))

    def _to_host(self, values_NK: Tensor, shift: Tensor | None) -> np.ndarray:
        found: np.ndarray = (values_NK if shift is None else values_NK - shift).cpu().numpy()
        return found

    def _index(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers)).to(self.scores_NV.device)

    def _own(self) -> Tensor:
        if not self.owned:
            self.scores_NV, self.owned = self.scores_NV.clone(), True
        return self.scores_NV

    def _map(self, rows_K: np.ndarray | None, function: Any) -> None:
        if rows_K is None:
            self.scores_NV, self.owned = function(self.scores_NV), True
        else:
            rows = self._index(rows_K)
            self._own()[rows] = function(self.scores_NV[rows])
