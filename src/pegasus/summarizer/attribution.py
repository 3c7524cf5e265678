"""Who is said to have done it: whether subject and numbers of a sentence stand together in the text.

A summary may take a name from one sentence and a number from another, and each of them is in the text. The
first name of a summary's sentence is taken for its subject. Each of its numbers must stand in a sentence of
the text that has a word of the subject too. Words are compared, not people: what is reported is a reason to
look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from pegasus.summarizer.folding import fold
from pegasus.summarizer.numbers import Number, find_numbers
from pegasus.summarizer.proper_names import LooksLikeName, name_runs

#: The names of one sentence, each as its words.
Names = tuple[tuple[str, ...], ...]
_WORD = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['’]s?$")
_PRONOUN = re.compile(
    r"\b(?:he|she|they|it|his|her|their|its|him|them|who|which|this|that|these|those)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Facts:
    """What a sentence of the text has.

    Attributes:
        text: the sentence.
    """

    text: str

    @cached_property
    def words(self) -> frozenset[str]:
        """Its words in folded small letters."""
        return frozenset(match.group().lower() for match in _WORD.finditer(fold(self.text)))

    @cached_property
    def values(self) -> frozenset[Fraction]:
        """What its numbers may stand for."""
        return frozenset(value for number in find_numbers(self.text) for value in number.values)

    @cached_property
    def refers_back(self) -> bool:
        """Whether it has a pronoun."""
        return _PRONOUN.search(self.text) is not None


@dataclass(frozen=True)
class Unattributed:
    """A subject and a number that no sentence of the text has together."""

    subject: str
    number: str

    def __str__(self) -> str:
        return f"{self.subject} and {self.number}"


@dataclass(frozen=True)
class Rule:
    """When a number counts as the subject's; the defaults are what `benchmarks/attribution.py` found best.

    Attributes:
        back: whether a sentence may speak of what the one before it names: never, with a pronoun, always.
        any_name: whether any name of the summary's sentence will do, not the first alone.
    """

    back: Literal["never", "pronoun", "always"] = "never"
    any_name: bool = False

    def links(self, sentence: Facts) -> bool:
        """Whether a sentence may speak of what the one before it names."""
        return self.back == "always" or (self.back == "pronoun" and sentence.refers_back)


def unattributed(
    summary: Sequence[str],
    facts: Sequence[Facts],
    looks_like_name: LooksLikeName,
    rule: Rule = Rule(),
) -> list[Unattributed]:
    """Return the subjects and numbers of a summary that stand together nowhere, each pair once.

    Names and numbers that the text has nowhere are not spoken of: other checks do.

    Args:
        summary: its sentences.
        facts: the sentences of the text.
        looks_like_name: asked about a word that opens a sentence (`pegasus.summarizer.proper_names`).
        rule: when a number counts as the subject's.
    """
    wanted = list(_wanted(summary, looks_like_name, rule))
    if not wanted:
        return []
    found = [
        Unattributed(" ".join(names[0]), number.written)
        for names, number in wanted
        if _stand_apart(names, number, facts, rule)
    ]
    return list(dict.fromkeys(found))


def _wanted(
    summary: Sequence[str], looks_like_name: LooksLikeName, rule: Rule
) -> Iterator[tuple[Names, Number]]:
    """Each subject, or all names of its sentence, with each of the sentence's numbers."""
    for sentence in summary:
        names = tuple(name_runs(sentence, looks_like_name))
        if not names:
            continue
        for number in find_numbers(sentence):
            if number.exact:
                yield names if rule.any_name else names[:1], number


def _stand_apart(names: Names, number: Number, facts: Sequence[Facts], rule: Rule) -> bool:
    words = {
        part.lower()
        for name in names
        for word in name
        for part in _WORD.findall(_POSSESSIVE.sub("", fold(word)))
    }
    with_number = [place for place, sentence in enumerate(facts) if number.known_by(sentence.values)]
    if not with_number or not any(words & sentence.words for sentence in facts):
        return False
    return not any(
        words & facts[place].words
        or (place and rule.links(facts[place]) and words & facts[place - 1].words)
        for place in with_number
    )
