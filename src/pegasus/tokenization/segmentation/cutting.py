"""From text to ids: line breaks written, added tokens found, the rest cut; and where each token stood."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import compress
from typing import Protocol

from pegasus.tokenization.call import inputs
from pegasus.tokenization.call.encoding import Details, EncodedText, Span
from pegasus.tokenization.call.inputs import Text
from pegasus.tokenization.segmentation.newline import Newline, newline_origins, write_newlines
from pegasus.tokenization.segmentation.origins import piece_spans, shift
from pegasus.tokenization.segmentation.words import (
    ExactCutter,
    FreshCutter,
    WordCutter,
    spellings,
    words_of,
)
from pegasus.tokenization.vocabulary.added_tokens import AddedTokens
from pegasus.tokenization.vocabulary.layout import SPACE, Layout, Vocabulary
from pegasus.tokenization.vocabulary.model_file import NORMAL


class Engine(Protocol):
    """A library that cuts, as far as the two tokenizers differ."""

    #: Whether the same text may be cut in another way the next time.
    samples: bool

    @property
    def is_open(self) -> bool:
        """Whether it is ready to cut; opening it may take longer than cutting a text elsewhere."""
        ...

    def cut_words(self, words: list[str]) -> list[list[int]]:
        """The ids of normalized words, each with the space marker before it."""
        ...

    def cut_texts(self, texts: list[str]) -> list[list[int]]:
        """The ids of texts that are not normalized, for what cannot be cut word by word."""
        ...


class StretchCutter:
    """Cuts stretches of ordinary text, without added tokens in them."""

    def __init__(self, vocabulary: Vocabulary, layout: Layout, engine: Engine) -> None:
        self._vocabulary = vocabulary
        self._layout = layout
        self._engine = engine
        self._by_words = vocabulary.by_words and not engine.samples
        self.fresh = self._fresh_by(engine.cut_words, lambda: engine.is_open)
        self._words = WordCutter(self.fresh)

    @property
    def by_raw_words(self) -> bool:
        """Whether a stretch is cut as each of its words between blanks is."""
        return self._by_words and self._vocabulary.by_raw_words

    def fresh_by_sentencepiece(self) -> FreshCutter:
        """What cuts new words, whichever library the tokenizer is named after."""
        return self._fresh_by(partial(self._vocabulary.cut_words, offset=self._layout.offset))

    def normalize(self, texts: list[str]) -> list[str]:
        """The texts as pieces spell them."""
        normalized: list[str] = self._vocabulary.normalizer.Normalize(texts)
        return normalized

    def cut(self, stretches: list[str]) -> list[list[int]]:
        """The ids of each stretch."""
        if not stretches:
            return []
        if self._by_words:
            return self._words.cut(self.normalize(stretches))
        return self._engine.cut_texts(stretches)

    @property
    def samples(self) -> bool:
        """Whether the same text may be cut in another way the next time."""
        return self._engine.samples

    def explain(self, text: str, ids: Sequence[int] | None = None) -> tuple[list[str], list[Span]]:
        """The pieces of one stretch as they are spelled after normalization, and where they stand in it.

        Args:
            text: the stretch.
            ids: how it was cut, where cutting it again may give something else.
        """
        normalized, origins = self._vocabulary.normalizer.Normalize(text, with_offsets=True)
        words = words_of(normalized) if self._by_words and ids is None else [normalized]
        if ids is not None:
            found: Sequence[Sequence[int]] = [ids]
        else:
            found = self._words.cut(words) if self._by_words else self._engine.cut_texts([text])
        pieces = [piece for word, own in zip(words, found) for piece in self._spell(word, own)]
        return pieces, piece_spans(pieces, normalized, origins, len(text))

    def _spell(self, word: str, ids: Sequence[int]) -> list[str]:
        return spellings(word, self._pieces(ids), [number == self._layout.unk_id for number in ids])

    def _fresh_by(
        self, engine: Callable[[list[str]], Sequence[list[int]]], is_open: Callable[[], bool] = lambda: True
    ) -> FreshCutter:
        return FreshCutter(engine, lambda: self._exact_cutter, self._pieces, self._layout.unk_id, is_open)

    def _pieces(self, ids: Sequence[int]) -> list[str]:
        pieces, offset = self._vocabulary.table.pieces, self._layout.offset
        return [pieces[number - offset] for number in ids]

    @cached_property
    def _exact_cutter(self) -> ExactCutter:
        table, offset = self._vocabulary.table, self._layout.offset
        lowest = min(compress(table.scores, map(NORMAL.__eq__, table.kinds)), default=0.0)
        pieces = self._vocabulary.scored(offset)
        return ExactCutter(pieces, lowest, self._layout.unk_id)


@dataclass(frozen=True)
class TextEncoder:
    """Cuts whole texts: finds the added tokens, hands the stretches between them on.

    Attributes:
        added: the tokens to find.
        newline: what becomes of line breaks.
        cutter: cuts the rest.
        token_id: token → id, for input that is tokens already.
        tokens_of: ids → tokens, for input that is ids already.
    """

    added: AddedTokens
    newline: Newline
    cutter: StretchCutter
    token_id: Callable[[str], int]
    tokens_of: Callable[[Sequence[int]], list[str]]

    def encode(self, items: Sequence[Text], in_words: bool) -> list[EncodedText]:
        """Ids of many texts; all ordinary stretches of all of them are cut in one call."""
        stretches: list[str] = []
        plans = [self._plan(item, in_words, stretches) for item in items]
        found = self.cutter.cut(stretches)
        return [
            self.given(item)
            if plan is None
            else EncodedText(_assemble(plan, found), self._explained(item, in_words, plan, found))
            for item, plan in zip(items, plans)
        ]

    def given(self, item: Iterable[str] | Iterable[int]) -> EncodedText:
        """Tokens or ids that were handed in as they are."""
        ids = [self.token_id(token) if isinstance(token, str) else int(token) for token in item]
        return EncodedText(ids, partial(self._details_of_ids, ids))

    def _plan(self, item: Text, in_words: bool, stretches: list[str]) -> list[int] | None:
        """The ids of added tokens in order, ``~n`` for the n-th ordinary stretch; None: no text to cut."""
        words = inputs.words_of(item, in_words)
        if words is None:
            return None
        plan: list[int] = []
        for word in words:
            text = write_newlines(word, self.newline)
            for start, end, number in self.added.split(text):
                plan.append(~len(stretches) if number is None else number)
                if number is None:
                    stretches.append(text[start:end])
        return plan

    def _explained(
        self, item: Text, in_words: bool, plan: Sequence[int], found: Sequence[list[int]]
    ) -> Callable[[], Details]:
        """Where the tokens stand, worked out when asked for; only what was cut at random is remembered."""
        cuts = [found[~number] for number in plan if number < 0] if self.cutter.samples else None
        return partial(self._details, item, in_words, cuts)

    def _details(self, item: Text, in_words: bool, cuts: Sequence[list[int]] | None) -> Details:
        details = Details([], [], [])
        remembered = iter(cuts or ())
        for index, word in enumerate(inputs.words_of(item, in_words) or ()):
            text, origins = write_newlines(word, self.newline), newline_origins(word, self.newline)
            for start, end, number in self.added.split(text):
                ids = next(remembered, None) if number is None else None
                tokens, spans = self._stretch(text[start:end], number, ids)
                first = details.words[-1] + 1 if details.words else 0
                details.words.extend([index] * len(tokens) if in_words else _count_words(tokens, first))
                details.tokens.extend(tokens)
                details.offsets.extend(shift(spans, start, origins))
        return details

    def _stretch(
        self, text: str, number: int | None, ids: Sequence[int] | None
    ) -> tuple[list[str], list[Span]]:
        if number is None:
            return self.cutter.explain(text, ids)
        return [self.added.by_id[number].content], [(0, len(text))]

    def _details_of_ids(self, ids: list[int]) -> Details:
        tokens = self.tokens_of(ids)
        return Details(tokens, [(0, 0)] * len(ids), _count_words(tokens, 0))


def _assemble(plan: Sequence[int], found: Sequence[list[int]]) -> list[int]:
    if len(plan) == 1 and plan[0] < 0:
        return found[~plan[0]]
    ids: list[int] = []
    for number in plan:
        ids += found[~number] if number < 0 else [number]
    return ids


def _count_words(tokens: Sequence[str], first: int) -> list[int]:
    """A word begins at every space marker."""
    words: list[int] = []
    for place, token in enumerate(tokens):
        first += place > 0 and token.startswith(SPACE)
        words.append(first)
    return words
