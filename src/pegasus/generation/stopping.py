"""When to stop besides lengths and EOS: the caller's criteria, a time limit, strings.

The classes have the names and the call of transformers 4.34: ``criterion(input_ids, scores) → bool``, with
the device's own arrays; the first True stops all texts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from pegasus.generation.search.search_settings import Listener


class StoppingCriteria:
    """Subclass it and give it a ``__call__``; any function will do as well."""

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> bool:
        """Whether to stop, given the tokens [R, T] so far."""
        raise NotImplementedError


class MaxLengthCriteria(StoppingCriteria):
    """Stops at a length, prompt counted."""

    def __init__(self, max_length: int, max_position_embeddings: int | None = None) -> None:
        self.max_length, self.max_position_embeddings = max_length, max_position_embeddings

    def __call__(self, input_ids: Any, scores: Any = None, **kwargs: Any) -> bool:
        """Whether the rows are that long."""
        return bool(input_ids.shape[-1] >= self.max_length)


class MaxTimeCriteria(StoppingCriteria):
    """Stops after some seconds, counted from when it is made (or from ``initial_timestamp``)."""

    def __init__(self, max_time: float, initial_timestamp: float | None = None) -> None:
        self.max_time = max_time
        self.initial_timestamp = time.time() if initial_timestamp is None else initial_timestamp

    def __call__(self, input_ids: Any = None, scores: Any = None, **kwargs: Any) -> bool:
        """Whether the time is over."""
        return time.time() - self.initial_timestamp > self.max_time


class StoppingCriteriaList(list[Any]):
    """Several criteria; any of them may stop."""

    def __call__(self, input_ids: Any, scores: Any = None, **kwargs: Any) -> bool:
        """Whether any of them says so."""
        return any(bool(np.any(truth(one(input_ids, scores, **kwargs)))) for one in self)


def truth(answer: Any) -> Any:
    """One truth of an answer; criteria of later versions answer row by row, and all rows must agree."""
    return answer.all() if hasattr(answer, "all") else answer


def listeners_for(
    criteria: Iterable[Any],
    max_time: float | None,
    stop_strings: Any,
    tokenizer: Any,
    to_native: Callable[[np.ndarray], Any],
) -> list[Listener]:
    """What is told of every step and may stop the search."""
    listeners: list[Listener] = []
    if max_time is not None:
        clock = MaxTimeCriteria(max_time)
        listeners.append(lambda ids_RT: clock())
    if stop_strings:
        listeners.append(_said(stop_strings, tokenizer))
    for criterion in criteria:
        listeners.append(_native(criterion, to_native))
    return listeners


def _native(criterion: Any, to_native: Callable[[np.ndarray], Any]) -> Listener:
    def listen(ids_RT: np.ndarray) -> bool:
        return bool(truth(criterion(to_native(ids_RT), None)))

    return listen


def _said(strings: str | Sequence[str], tokenizer: Any) -> Listener:
    """True once every row has said one of the strings."""
    strings = (strings,) if isinstance(strings, str) else tuple(strings)

    def listen(ids_RT: np.ndarray) -> bool:
        texts = [tokenizer.decode(row, skip_special_tokens=True) for row in ids_RT.tolist()]
        return all(any(string in text for string in strings) for text in texts)

    return listen
