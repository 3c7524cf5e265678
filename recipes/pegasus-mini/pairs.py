"""Pairs of a source and a short target that it bears out, from human summaries and from openings."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from passages import STOP_WORDS, content_words, encode, f_measure, read, sentences
from sentencepiece import SentencePieceProcessor

EOS = 1
Settings = Mapping[str, Any]
"""The section [pairs] of recipe.toml."""
Texts = tuple[str, str]
"""A source and its target."""

_WORD = re.compile(r"[^\W_]+")
_ASIDE = re.compile(r"\s*\([^()]*\)")
_SUBJECT = re.compile(r"\b(?:is|are|was|were|refers?|means?)\b")
# Of a word of six letters or more only the first five are compared, so that "amends" bears out "amended".
_STEM = 5


@dataclass(frozen=True)
class Pairs:
    """Many pairs in two flat arrays.

    ``ids`` are token ids, each source and each target closed by eos; pair ``i`` is
    ``ids[ends[2 * i - 1]:ends[2 * i]]`` and ``ids[ends[2 * i]:ends[2 * i + 1]]``.
    """

    ids: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends) // 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The ids of a source and of its target."""
        start = int(self.ends[2 * index - 1]) if index else 0
        middle, end = (int(place) for place in self.ends[2 * index : 2 * index + 2])
        return self.ids[start:middle], self.ids[middle:end]

    @classmethod
    def of(cls, texts: Iterable[Texts], pieces: SentencePieceProcessor, settings: Settings) -> Pairs:
        """Encode pairs; sources are cut to ``source_tokens``, pairs with longer targets left out."""
        some = list(texts)
        sources, targets = (encode(pieces, column) for column in zip(*some, strict=True))
        rows = []
        for source, target in zip(sources, targets, strict=True):
            if len(target) < settings["target_tokens"]:
                rows += [np.append(source[: settings["source_tokens"] - 1], EOS), np.append(target, EOS)]
        return cls(np.concatenate(rows).astype(np.uint16), np.cumsum([len(row) for row in rows]))

    @classmethod
    def load(cls, file: Path) -> Pairs:
        """What ``save`` wrote."""
        with np.load(file) as arrays:
            return cls(arrays["ids"], arrays["ends"])

    def save(self, file: Path) -> None:
        """Write both arrays."""
        np.savez(file, ids=self.ids, ends=self.ends)


class Known:
    """The words of a source: what a target may speak of."""

    def __init__(self, source: str) -> None:
        self.words = {word.lower() for word in _WORD.findall(source)}
        self.stems = {word[:_STEM] for word in self.words if len(word) >= _STEM}

    def has(self, word: str) -> bool:
        """Whether a word, or one that begins alike, is in the source."""
        word = word.lower()
        return word in self.words or (len(word) > _STEM and word[:_STEM] in self.stems)

    def bears_out(self, sentence: str, least: float) -> bool:
        """Whether all names and numbers of a sentence, and so many of its content words, are in the source.

        Whatever begins with a capital letter or a digit counts as a name or number.
        """
        words = [word for word in _WORD.findall(sentence) if word.lower() not in STOP_WORDS]
        if len(words) < 3:
            return False
        exact = [word.lower() for word in words if word[0].isupper() or word[0].isdigit()]
        found = sum(self.has(word) for word in words)
        return self.words.issuperset(exact) and found >= least * len(words)

    def trim(self, sentence: str) -> str:
        """The sentence without asides in brackets that hold a word which the source has not."""

        def keep(aside: re.Match[str]) -> str:
            return aside.group() if all(map(self.has, _WORD.findall(aside.group()))) else ""

        return re.sub(r"\s+([,.;:])", r"\1", _ASIDE.sub(keep, sentence))


def seen(parts: Sequence[str], pieces: SentencePieceProcessor, settings: Settings) -> list[str]:
    """The leading sentences that fit among the tokens that the model reads."""
    sizes = accumulate(len(row) for row in pieces.encode(list(parts)))
    return [part for part, size in zip(parts, sizes, strict=True) if size < settings["source_tokens"]]


def borne_out(
    summary: str, source: Known, pieces: SentencePieceProcessor, settings: Settings, most: int = 2
) -> str:
    """The leading sentences of a summary, at most so many, up to the first that is not borne out."""
    kept: list[str] = []
    for sentence in sentences(" ".join(summary.split()))[:most]:
        sentence = source.trim(sentence)
        longer = " ".join([*kept, sentence])
        fits = len(pieces.encode(longer)) < settings["target_tokens"]
        if not fits or not source.bears_out(sentence, settings["coverage"]):
            break
        kept.append(sentence)
    return " ".join(kept)


def nearest(parts: Sequence[str], summary: str, settings: Settings) -> str:
    """The sentence that shares most content words with a summary (by F); of about equal ones the first.

    A question is none: it says what a text asks, not what it says.
    """
    wanted = content_words(summary)
    scores = [
        f_measure(content_words(part), wanted) * (1 - settings["early"]) ** place * ("?" not in part)
        for place, part in enumerate(parts)
    ]
    return parts[int(np.argmax(scores))] if any(scores) else ""


def supervised(file: Path, pieces: SentencePieceProcessor, settings: Settings) -> Iterator[Texts]:
    """Pairs of one training split.

    The target is what the source bears out of the human summary: a model this small that is taught to write
    what it cannot have read makes things up. Where that is nothing, it is the nearest sentence of the
    source, in the sets named in ``settings["pick"]``; in others the pair is left out.
    """
    for record in read(file):
        document = " ".join(str(record["document"])[: settings["characters"]].split())
        summary = str(record["summary"])
        parts = seen(sentences(document), pieces, settings)
        target = borne_out(summary, Known(" ".join(parts)), pieces, settings)
        if not target and file.parent.name in settings["pick"]:
            target = nearest(parts, summary, settings)
        if target:
            yield document, target


def openings(
    file: Path,
    pieces: SentencePieceProcessor,
    settings: Settings,
    forbidden: Collection[str],
    rng: random.Random,
) -> Iterator[Texts]:
    """Pairs of a pre-training file: the opening of a document as the target, what follows as the source.

    In encyclopaedias what follows is all after the first paragraph, elsewhere all after the target. In a
    share of the documents the opening stays in the source; in news in all, since it holds names there that
    do not come again. Of articles in several passages only the first is used.

    Args:
        file: packed JSON Lines.
        pieces: the vocabulary.
        settings: the section of the recipe.
        forbidden: what articles must not be about.
        rng: decides which openings stay.
    """
    whole = file.name.startswith(tuple(settings["encyclopaedias"]))
    stays = file.name.startswith(tuple(settings["stay"]))
    for record in read(file):
        if not str(record["id"]).endswith("/0") and "wikipedia-" in file.name:
            continue
        text = str(record["text"])[: settings["characters"]]
        first, *others = [line for line in text.split("\n") if len(line.split()) > 8] or [""]
        if subject(first) in forbidden:
            continue
        body = others if whole and others else [*sentences(first)[1:], *others]
        if stays:
            body = [" ".join(text.split())]
        source = " ".join(seen(sentences(" ".join(body)), pieces, settings))
        if len(source.split()) < settings["least_words"]:
            continue
        target = borne_out(first, Known(source), pieces, settings, 2 if whole and others else 1)
        if target:
            kept = not stays and rng.random() < settings["keep"]
            yield (" ".join(text.split()) if kept else source), target


def subject(lead: str) -> str:
    """What an article is about: the words before its first verb, brackets left out, in small letters."""
    head = _SUBJECT.split(_ASIDE.sub("", lead), maxsplit=1)[0]
    return " ".join(_WORD.findall(head.lower()))


def subjects(files: Iterable[Path]) -> set[str]:
    """What the articles of some splits of wiki_lead are about."""
    return {subject(str(record["summary"])) for file in files for record in read(file)}
