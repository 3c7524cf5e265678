"""The score of each token that was said, read off the recorded scores of all tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pegasus.generation.session import log_softmax


class TransitionScores:
    """``compute_transition_scores``, mixed into ``GenerationMixin``, which supplies the hooks."""

    to_host: Callable[..., np.ndarray]
    to_native: Callable[..., Any]

    def compute_transition_scores(
        self,
        sequences: Any,
        scores: Sequence[Any],
        beam_indices: Any = None,
        normalize_logits: bool = False,
    ) -> Any:
        """The score of each token that was said, from the recorded scores of all tokens.

        Args:
            sequences: [N, T], as returned.
            scores: one [rows, V] per new token, as returned with ``output_scores``.
            beam_indices: [N, T], as returned by searches with beams.
            normalize_logits: whether scores are turned into log-probabilities first.

        Returns:
            [N, new tokens]; 0 after the end of a sequence.
        """
        steps = [np.asarray(self.to_host(step)) for step in scores]
        if normalize_logits:
            steps = [log_softmax(step) for step in steps]
        tokens_NT = np.asarray(self.to_host(sequences))
        if beam_indices is None:
            rows_NT = np.tile(np.arange(len(tokens_NT))[:, None], (1, len(steps)))
        else:
            rows_NT = np.asarray(self.to_host(beam_indices))
        said = min(len(steps), int((rows_NT >= 0).sum(axis=1).max()))
        tokens_NT = tokens_NT[:, tokens_NT.shape[1] - said :]
        found_NT = np.stack(
            [step[rows_NT[:, t], tokens_NT[:, t]] for t, step in enumerate(steps[:said])], axis=1
        )
        return self.to_native(np.where(rows_NT[:, :said] >= 0, found_NT, 0).astype(np.float32))
