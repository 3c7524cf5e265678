"""From logits to an answer: edits, the best tokens, and the scores that are recorded on the way.

Axes are those of ``generation.session``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pegasus.backends.torch.edits import best, edit
from pegasus.generation.request import Recorded, Records
from pegasus.generation.session import Answer, Ask

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Answering:
    """The logits of the places last read, and every question about them.

    Args:
        records: what is to be kept for the caller.

    Attributes:
        recorded: what was kept.
        logits_NV: of the places last read, position after position within a row; None before the first.
    """

    def __init__(self, records: Records) -> None:
        self.records, self.recorded = records, Recorded()
        self.logits_NV: Tensor | None = None

    def answer(self, ask: Ask, hidden_RTD: Float[Tensor, "R T D"] | None) -> Answer:
        """Answers an ask whose tokens have been read.

        Args:
            ask: the question.
            hidden_RTD: the states of the tokens read; None: none were.
        """
        assert self.logits_NV is not None, "the first ask reads a prompt"
        scores = self.logits_NV
        if ask.rows is not None:
            scores = scores[torch.from_numpy(ask.rows).to(scores.device)]
        scores = torch.log_softmax(scores, dim=-1) if ask.scores == "log_probs" else scores
        scores = edit(scores, ask.edits, fresh=ask.scores == "log_probs" or ask.rows is not None)
        if self.records.scores:
            self._record(scores, ask)
        shift = torch.logsumexp(scores, dim=-1, keepdim=True) if ask.scores == "logits" else None

        def to_host(values: Tensor) -> np.ndarray:
            array: np.ndarray = (values if shift is None else values - shift).cpu().numpy()
            return array

        also = None
        if ask.also_RK is not None:
            also = to_host(scores.gather(1, torch.from_numpy(ask.also_RK).to(scores.device)))
        hidden = None if hidden_RTD is None or not ask.hidden else hidden_RTD.float().cpu().numpy()
        if ask.count is None:
            everything = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
            return Answer(to_host(scores), everything, also, hidden)
        values, tokens = best(scores, min(ask.count, scores.shape[1]))
        return Answer(to_host(values), tokens.cpu().numpy(), also, hidden)

    def _record(self, scores: Tensor, ask: Ask) -> None:
        if ask.rows is None:
            self.recorded.scores.append(scores.clone())
            return
        assert self.logits_NV is not None
        if ask.tokens_RT.shape[1]:
            self.recorded.scores.append(torch.zeros_like(self.logits_NV))
        self.recorded.scores[-1][torch.from_numpy(ask.rows).to(scores.device)] = scores
