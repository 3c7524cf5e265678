"""Summaries that no model writes: what every model must beat.

    =========  =========================================================================================
    lead       the first sentences, three at least
    first      the first sentence
    principal  the sentence that our own gap selection would take first (Ind-Orig), then the next
    lexrank    the most central sentences by LexRank (the sumy package), three at least
    =========  =========================================================================================

All but `first` take sentences until they have as many words as references have on average; then everything
is put in document order and cut to that length, so that none wins or loses by it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from pegasus.data.gap import GapSettings, score_sentences
from pegasus.data.sentences import Splitter, find_splitter
from pegasus.errors import BackendMissing, BadSetting

#: From a document's sentences to all of them or some in order of preference, and how many are taken at
# least.
Picker = Callable[[Sequence[str]], tuple[Sequence[int], int]]

_SENTENCES = 3
_LEXRANK_SENTENCES = 100
_WORD = re.compile(r"[^\W\d_]+")
_RUN = re.compile(r"\S+")
_PRINCIPAL = GapSettings("ind-orig")


def lead(sentences: Sequence[str]) -> tuple[Sequence[int], int]:
    """Prefer sentences in document order."""
    return range(len(sentences)), _SENTENCES


def first(sentences: Sequence[str]) -> tuple[Sequence[int], int]:
    """Take the first sentence and no other."""
    return range(min(1, len(sentences))), 1


def principal(sentences: Sequence[str]) -> tuple[Sequence[int], int]:
    """Prefer sentences that say most of the others, by the scores that choose gap sentences."""
    scores = score_sentences(_PRINCIPAL.count(sentences), _PRINCIPAL)
    return np.argsort(scores, kind="stable")[::-1].tolist(), 1


def lexrank(sentences: Sequence[str]) -> tuple[Sequence[int], int]:
    """Prefer central sentences; of a long document the first hundred are looked at.

    LexRank compares each sentence with each other one, so its time grows with the square of them.

    Raises:
        BackendMissing: sumy is not installed.
    """
    summarizer, sentence_type, build = _sumy()
    order: list[int] = []

    def note(rated: Sequence[Any]) -> Sequence[Any]:
        """Stands where sumy takes a count: it is given all sentences, best first."""
        alike = any(np.isnan(sentence.rating) for sentence in rated)  # no two sentences share a rare word
        order.extend(range(len(rated)) if alike else (sentence.order for sentence in rated))
        return rated

    document = build([sentence_type(text, _Words()) for text in sentences[:_LEXRANK_SENTENCES]])
    with np.errstate(invalid="ignore"):
        summarizer(document, note)
    return order, _SENTENCES


BASELINES: dict[str, Picker] = {"lead": lead, "first": first, "principal": principal, "lexrank": lexrank}


def find_baseline(name: str) -> Picker:
    """Return the baseline of that name.

    Raises:
        BadSetting: there is none.
    """
    if name not in BASELINES:
        raise BadSetting(f"No baseline is named {name!r}: use one of {', '.join(BASELINES)}.")
    return BASELINES[name]


def extract(document: str, name: str, words: int, splitter: str | Splitter = "careful") -> str:
    """Return what a baseline makes of a document, cut to so many words."""
    sentences = find_splitter(splitter)(document)
    preferred, least = find_baseline(name)(sentences)
    taken: list[int] = []
    filled = 0
    for place in preferred:
        if len(taken) >= least and filled >= words:
            break
        taken.append(place)
        filled += len(sentences[place].split())
    return cut(" ".join(sentences[place].rstrip(" ") for place in sorted(taken)), words)


def cut(text: str, words: int) -> str:
    """Return the first words of a text as they stand there, line breaks included."""
    ends = [match.end() for _, match in zip(range(words), _RUN.finditer(text))]
    return text[: ends[-1]].strip() if ends else ""


class _Words:
    """What sumy asks a tokenizer for; its own one would want to download a model of sentences."""

    def to_words(self, sentence: str) -> list[str]:
        return _WORD.findall(sentence)


@cache
def _sumy() -> tuple[Any, Any, Callable[[list[Any]], Any]]:
    try:
        ranks = importlib.import_module("sumy.summarizers.lex_rank")
        dom = importlib.import_module("sumy.models.dom")
        stemmers = importlib.import_module("sumy.nlp.stemmers")
        utils = importlib.import_module("sumy.utils")
    except ImportError as error:
        raise BackendMissing(
            "sumy is needed for the LexRank baseline and is not installed. "
            "Install it with: pip install 'pegasus-summarizer[eval]'"
        ) from error
    summarizer = ranks.LexRankSummarizer(stemmers.Stemmer("english"))
    summarizer.stop_words = utils.get_stop_words("english")
    return summarizer, dom.Sentence, lambda sentences: dom.ObjectDocumentModel([dom.Paragraph(sentences)])
