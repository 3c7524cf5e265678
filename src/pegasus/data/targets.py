"""What a target may say: of a summary what its source bears out, sentences of the source, or its opening.

A small model that is taught to write what it cannot have read makes things up. So a pair can be filtered
before it is learned from:

    "summary"   the sentences of the summary that the source bears out: all their names and numbers (what
                begins with a capital or a digit) are in it, and a share ``coverage`` of their other content
                words; asides in brackets that the source does not have are cut out
    "extract"   up to ``sentences`` sentences of the source that together are most like the summary
    "opening"   the opening of a document as far as what follows it bears it out, and what follows as source

Of words of six letters and more only the first five are compared, so that "amends" bears out "amended".
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, Literal

from pegasus.data.grams import STOP_WORDS
from pegasus.data.records import Pair
from pegasus.data.sentences import find_splitter
from pegasus.errors import BadSetting
from pegasus.spec.kinds import Kind, number, refusals, whole

_WORD = re.compile(r"[^\W_]+")
_ASIDE = re.compile(r"\s*\([^()]*\)")
_SUBJECT = re.compile(r"\b(?:is|are|was|were|refers?|means?)\b")
_STEM, _LEAST_GAIN, _LEAST_LINE = 5, 0.01, 8


@dataclass(frozen=True)
class TargetSettings:
    """What becomes the target of a pair.

    Attributes:
        kind: "summary", "extract" or "opening"; see the top of this file.
        sentences: of a target at most.
        coverage: the share of a sentence's content words that the source must have, beside all names and
            numbers.
        anywhere: of "summary", whether sentences count wherever they stand; else only leading ones, up to
            the first that is not borne out.
        nearest: of "summary", whether the source's sentence that is most like it stands in where nothing is
            borne out.
        early: what that sentence loses of its likeness for each sentence before it.
        likeness: of "extract", ROUGE-1 + ROUGE-2 (F) that the target must reach.
        characters: of a document that are looked at; 0: all.
        splitter: the sentence rule, "authors" or "careful".
        paragraph: of "opening", whether the opening is the first paragraph rather than the first sentence.
        keep: of "opening", the share of documents whose opening stays in the source.
        least_words: of "opening", what the source must have.
        seed: draws which openings stay.
    """

    kind: Literal["summary", "extract", "opening"] = "summary"
    sentences: int = 2
    coverage: float = 0.6
    anywhere: bool = False
    nearest: bool = False
    early: float = 0.0
    likeness: float = 0.25
    characters: int = 0
    splitter: str = "careful"
    paragraph: bool = False
    keep: float = 0.0
    least_words: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        share = number(0, 1)
        bounds: dict[str, Kind] = {
            "sentences": whole(1, 1000),
            **dict.fromkeys(("coverage", "early", "keep"), share),
            "likeness": number(0, 2),
            **dict.fromkeys(("characters", "least_words", "seed"), whole(0, 2**32 - 1)),
        }
        if problems := list(refusals({name: getattr(self, name) for name in bounds}, bounds)):
            raise BadSetting("; ".join(problems))
        find_splitter(self.splitter)


class Words:
    """The words of a source: what a target may speak of.

    Args:
        source: the text.
    """

    def __init__(self, source: str) -> None:
        self.words = {word.lower() for word in _WORD.findall(source)}
        self.stems = {word[:_STEM] for word in self.words if len(word) >= _STEM}

    def has(self, word: str) -> bool:
        """Whether a word, or one that begins alike, is in the source."""
        word = word.lower()
        return word in self.words or (len(word) > _STEM and word[:_STEM] in self.stems)

    def bear_out(self, sentence: str, coverage: float) -> bool:
        """Whether all names and numbers of a sentence, and such a share of its content words, are here."""
        words = [word for word in _WORD.findall(sentence) if word.lower() not in STOP_WORDS]
        if len(words) < 3:
            return False
        exact = [word.lower() for word in words if word[0].isupper() or word[0].isdigit()]
        found = sum(self.has(word) for word in words)
        return self.words.issuperset(exact) and found >= coverage * len(words)

    def trim(self, sentence: str) -> str:
        """The sentence without asides in brackets that hold a word which the source has not."""

        def keep(aside: re.Match[str]) -> str:
            return aside.group() if all(map(self.has, _WORD.findall(aside.group()))) else ""

        return re.sub(r"\s+([,.;:])", r"\1", _ASIDE.sub(keep, sentence))


class TargetMaker:
    """Makes the pairs to learn from.

    Args:
        settings: how.
        tokenizer: says how long texts are.
        max_source: tokens of a source that the model reads, EOS included.
        max_target: tokens of a target, EOS included.
        held_out: summaries of the data that is measured on: a document whose opening is about the same
            subject (the words before its first verb) is left out.
    """

    def __init__(
        self,
        settings: TargetSettings,
        tokenizer: Any,
        max_source: int,
        max_target: int,
        held_out: Iterable[str] = (),
    ) -> None:
        self.settings, self.max_source, self.max_target = settings, max_source, max_target
        self._tokenizer, self._splitter = tokenizer, find_splitter(settings.splitter)
        self.forbidden: Collection[str] = {subject(one) for one in held_out}
        self.rng = random.Random(settings.seed)

    def make(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The pairs that remain, with their targets; an "opening" needs documents alone.

        Args:
            pairs: sources with their summaries, or with none.
        """
        of = {"summary": self._of_summary, "extract": self._extracted, "opening": self._opening}
        make = of[self.settings.kind]
        for pair in pairs:
            made = make(pair)
            if made is not None:
                yield made

    def borne_out(self, summary: str, source: str) -> str:
        """What a source bears out of a summary; "" where that is nothing."""
        words, kept = Words(source), list[str]()
        for sentence in self.split(_flat(summary))[: None if self.settings.anywhere else self._most]:
            sentence = words.trim(sentence)
            fits = len(kept) < self._most and self._fits([*kept, sentence])
            if fits and words.bear_out(sentence, self.settings.coverage):
                kept.append(sentence)
            elif not self.settings.anywhere:
                break
        return " ".join(kept)

    def split(self, text: str) -> list[str]:
        """The sentences of a text, outer white space dropped."""
        return [one for part in self._splitter(text) if (one := part.strip())]

    def _sizes(self, texts: Sequence[str]) -> list[int]:
        return [len(row) for row in self._tokenizer.encode_ids(texts, add_special_tokens=False)]

    @property
    def _most(self) -> int:
        return self.settings.sentences

    def _fits(self, sentences: Sequence[str]) -> bool:
        return self._sizes([" ".join(sentences)])[0] < self.max_target

    def _seen(self, text: str) -> list[str]:
        """The leading sentences that fit among the tokens that the model reads."""
        parts = self.split(text)
        ends = accumulate(self._sizes(parts)) if parts else ()
        return [part for part, end in zip(parts, ends) if end < self.max_source]

    def _text(self, pair: Pair) -> str:
        return pair.document[: self.settings.characters or None]

    def _of_summary(self, pair: Pair) -> Pair | None:
        document = _flat(self._text(pair))
        parts = self._seen(document)
        target = self.borne_out(pair.summary, " ".join(parts))
        if not target and self.settings.nearest:
            target = self._nearest(parts, pair.summary)
        return replace(pair, document=document, summaries=(target,)) if target else None

    def _nearest(self, parts: Sequence[str], summary: str) -> str:
        """The sentence that shares most content words with a summary (by F); of equal ones the first.

        A question is none: it says what a text asks, not what it says.
        """
        wanted = _content(summary)
        offers = [
            (_overlap(_content(part), wanted) * (1 - self.settings.early) ** place, -place)
            for place, part in enumerate(parts)
            if not part.endswith("?") and self._fits([part])
        ]
        score, place = max(offers, default=(0.0, 0))
        return parts[-place] if score else ""

    def _extracted(self, pair: Pair) -> Pair | None:
        """Sentences that together share most with a summary, added while they gain, in text order."""
        document = _flat(self._text(pair))
        parts, wanted = self._seen(document), _words(pair.summary)
        tokens, chosen, best = [_words(part) for part in parts], list[int](), 0.0
        while len(chosen) < self._most:
            offers = [
                (_likeness([word for k in sorted([*chosen, i]) for word in tokens[k]], wanted), -i)
                for i, part in enumerate(parts)
                if i not in chosen and tokens[i] and not part.endswith("?")
            ]
            top, place = max(offers, default=(0.0, 0))
            if top <= best + _LEAST_GAIN:
                break
            best, chosen = top, [*chosen, -place]
        target = " ".join(parts[place] for place in sorted(chosen))
        if best <= self.settings.likeness or not self._fits([target]):
            return None
        return replace(pair, document=document, summaries=(target,))

    def _opening(self, pair: Pair) -> Pair | None:
        text = self._text(pair)
        first, *others = [line for line in text.split("\n") if len(line.split()) > _LEAST_LINE] or [""]
        if not first or subject(first) in self.forbidden:
            return None
        whole = self.settings.paragraph and bool(others)
        lead = self.split(first)
        opening, body = (first, others) if whole else (lead[0], [*lead[1:], *others])
        source = " ".join(self._seen(_flat(" ".join(body))))
        if len(source.split()) < self.settings.least_words:
            return None
        stays = self.rng.random() < self.settings.keep
        # An opening that stays must be borne out all the same: else it is the one place that says it.
        target = self.borne_out(opening, _flat(text) if self.settings.keep == 1 else source)
        if not target:
            return None
        return replace(pair, document=_flat(text) if stays else source, summaries=(target,))


def subject(lead: str) -> str:
    """What a text is about: the words before its first verb, brackets left out, in small letters."""
    return " ".join(_words(_SUBJECT.split(_ASIDE.sub("", lead), maxsplit=1)[0]))


def _flat(text: str) -> str:
    return " ".join(text.split())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _content(text: str) -> Counter[str]:
    return Counter(word for word in _words(text) if word not in STOP_WORDS)


def _overlap(one: Counter[Any], other: Counter[Any]) -> float:
    """The harmonic mean of the shares of grams that each has of the other; 0 where one is empty."""
    return 2 * (one & other).total() / max(1, one.total() + other.total())


def _likeness(words: list[str], wanted: list[str]) -> float:
    """ROUGE-1 F + ROUGE-2 F, without stems."""
    pairs = (Counter(pairwise(some)) for some in (words, wanted))
    return _overlap(Counter(words), Counter(wanted)) + _overlap(next(pairs), next(pairs))
