"""What may not or must be said next: lengths, forced tokens, penalties, words, n-grams, prefixes.

A processor looks at what has been written and returns sparse edits; a list of them is applied in the order
of transformers 4.34, since some do not commute. Adding a processor is adding a class here (or in
``phrase_processors.py``) and a line in ``arguments.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pegasus.errors import BadSetting
from pegasus.generation.search.token_history import TokenHistory
from pegasus.generation.session import Edit, EditKind


class Processor:
    """One processor. Those without memory need only ``edits``."""

    #: Whether it can make a token more likely than the model says; then no score bounds what may follow.
    may_raise = False

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """What to change in the scores of the token that comes next."""
        raise NotImplementedError

    def relax(self, edits: list[Edit], history: TokenHistory) -> list[Edit]:
        """The edits of all processors, without what this one cannot let stand."""
        return edits

    def carry(self, history: TokenHistory, parents_R: np.ndarray) -> None:
        """The history has grown by one token; row r carries on row ``parents_R[r]``."""

    def fork(self) -> Processor:
        """A processor that goes on from here on its own; drafts are tried out on it."""
        return copy.copy(self)


class LogitsProcessors:
    """Rules in order."""

    def __init__(self, processors: Sequence[Processor] = ()) -> None:
        self.processors = list(processors)

    @property
    def may_raise(self) -> bool:
        """Whether any processor can make a token more likely than the model says."""
        return any(processor.may_raise for processor in self.processors)

    def edits(self, history: TokenHistory) -> list[Edit]:
        """The edits of all processors, in order."""
        edits = [edit for processor in self.processors for edit in processor.edits(history)]
        for processor in self.processors:
            edits = processor.relax(edits, history)
        return edits

    def carry(self, history: TokenHistory, parents_R: np.ndarray) -> None:
        """Tells every processor that the history has grown."""
        for processor in self.processors:
            processor.carry(history, parents_R)

    def fork(self) -> LogitsProcessors:
        """Rules that go on from here on their own."""
        return LogitsProcessors([processor.fork() for processor in self.processors])


class MinLength(Processor):
    """No end before ``least`` tokens (prompt counted)."""

    def __init__(self, least: int, eos: Sequence[int]) -> None:
        self.least, self.eos = least, np.array(eos)

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Bans the end while the rows are too short."""
        if history.length < self.least:
            yield Edit("ban", self.eos)


class ForcedAt(Processor):
    """At given lengths only given tokens, with score 0 (forced first, last and listed tokens)."""

    def __init__(self, tokens_at: Mapping[int, Sequence[int]]) -> None:
        self.tokens_at = dict(tokens_at)

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Forces the token of this place, if it has one."""
        if history.length in self.tokens_at:
            yield Edit("force", np.array(self.tokens_at[history.length]))


class Suppressed(Processor):
    """Tokens that are never said, or not at one length."""

    def __init__(self, tokens: Sequence[int], only_at: int | None = None) -> None:
        self.tokens, self.only_at = np.array(tokens), only_at

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Bans the tokens."""
        if self.only_at is None or history.length == self.only_at:
            yield Edit("ban", self.tokens)


class LengthDecay(Processor):
    """After ``start`` tokens the end becomes exponentially more attractive."""

    may_raise = True

    def __init__(self, start: int, factor: float, eos: Sequence[int]) -> None:
        self.start, self.factor, self.eos = start, factor, np.array(eos)

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Lifts the end."""
        if history.length > self.start:
            yield Edit(
                "stretch", self.eos, values_N=np.array([self.factor ** (history.length - self.start)])
            )


class Whole(Processor):
    """A change to the whole distribution that takes no tokens: ``repair`` or ``normalize``."""

    def __init__(self, kind: EditKind) -> None:
        self.kind: EditKind = kind

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """The change, at every step."""
        yield Edit(self.kind)


class RepetitionPenalty(Processor):
    """Tokens that a row already holds become less likely."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty
        self.may_raise = penalty < 1

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Scales every token of every row."""
        ids_RT = history.ids_RT
        rows_N = np.repeat(np.arange(len(ids_RT)), ids_RT.shape[1])
        yield Edit("scale", ids_RT.reshape(-1), rows_N, np.array([self.penalty]))


class SourceAffinity(Processor):
    """Tokens of a row's own source text become more likely (``encoder_repetition_penalty``).

    transformers 4.34 penalizes the tokens of text r in row r, which is another text's row when there
    are beams; here each row looks at its own text.
    """

    may_raise = True

    def __init__(self, penalty: float, sources: Sequence[np.ndarray]) -> None:
        self.penalty, self.sources = penalty, [np.unique(source) for source in sources]

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Scales the source's tokens in every row."""
        tokens = [self.sources[text] for text in history.texts_R]
        rows_N = np.repeat(np.arange(len(tokens)), [len(part) for part in tokens])
        yield Edit("scale", np.concatenate(tokens), rows_N, np.array([1.0 / self.penalty]))


class Diversity(Processor):
    """What earlier groups of a text chose in this step becomes less likely, once for each time chosen."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty
        #: The tokens chosen so far in this step, by text; the search keeps it up to date.
        self.chosen_BM = np.zeros((0, 0), dtype=np.int64)

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Takes the penalty off, in all rows of the text."""
        if self.chosen_BM.size == 0:
            return
        per_text = len(history.texts_R) // len(self.chosen_BM)
        rows, tokens, values = [], [], []
        for text, chosen in enumerate(self.chosen_BM):
            unique, counts = np.unique(chosen, return_counts=True)
            rows.append(np.repeat(text * per_text + np.arange(per_text), len(unique)))
            tokens.append(np.tile(unique, per_text))
            values.append(np.tile(-np.float32(self.penalty) * counts.astype(np.float32), per_text))
        yield Edit("add", np.concatenate(tokens), np.concatenate(rows), np.concatenate(values))


class AllowedNext(Processor):
    """Only what a function allows: ``allowed(text, ids)`` → tokens that may come next."""

    def __init__(
        self, allowed: Callable[[int, Any], Sequence[int]], to_native: Callable[[np.ndarray], Any]
    ) -> None:
        self.allowed, self.to_native = allowed, to_native

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Allows the listed tokens, row by row."""
        ids = self.to_native(history.ids_RT)
        tokens = [np.asarray(self.allowed(int(text), ids[row])) for row, text in enumerate(history.texts_R)]
        for row, allowed in enumerate(tokens):
            if allowed.size == 0:
                raise BadSetting(
                    f"prefix_allowed_tokens_fn allows nothing at length {history.length} of text "
                    f"{int(history.texts_R[row])}, so nothing can follow: return at least one, such as EOS."
                )
        rows_N = np.repeat(np.arange(len(tokens)), [part.size for part in tokens])
        yield Edit("only", np.concatenate([part.reshape(-1) for part in tokens]).astype(np.int64), rows_N)


class Called(Processor):
    """A logits processor of the user: a function of the device's own arrays."""

    may_raise = True

    def __init__(self, call: Callable[[Any, Any], Any]) -> None:
        self.call = call

    def edits(self, history: TokenHistory) -> Iterable[Edit]:
        """Hands over the tokens written so far."""
        yield Edit("call", call=self.call, ids_RT=history.ids_RT)
