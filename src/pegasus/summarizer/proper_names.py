"""Capitalized names of a summary that its text does not contain.

Words are compared, not people: what is reported is a reason to look, silence is no proof. The comparison
leans to silence: a name is known where the text has the word in any case, without its accents, a
possessive, another ending of it (America, American, Americans), its abbreviation (Sen., Senator) or its
initials (UN, United Nations).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pegasus.generation.processors.before_words import TITLES
from pegasus.summarizer.folding import fold, tidy

#: Whether a word that opens a sentence is more likely a name than an ordinary word with a capital.
LooksLikeName = Callable[[str], bool]

# Dotted initials (U.S.) or a word with at most one apostrophe in it.
_WORD = re.compile(r"(?:[^\W\d_]\.){2,8}|[^\W\d_]+(?:['’][^\W\d_]+)?")
_POSSESSIVE = re.compile(r"['’]s?$")
# A stop that ends a title does not end a sentence.
_TITLE = re.compile(rf"\b(?:{'|'.join(sorted(TITLES))})\.$")
_OPENERS = "\"'“”‘’«([{-–—•*#> \t"
_ENDERS = ".!?…:;\n。！？"


def _words(text: str) -> list[str]:
    return text.split()


_NO_NAMES = frozenset(
    _words(
        "i i'm i'd i've i'll a an the this that these those he she it they we you and but or of for "
        "to in on at by mr mrs ms mx dr prof professor miss sir lady lord dame no yes ok however meanwhile "
        "furthermore additionally "
        "unfortunately fortunately nevertheless nonetheless moreover therefore consequently according"
    )
)
_CALENDAR = frozenset(
    _words(
        "january february march april may june july august september october november december "
        "monday tuesday wednesday thursday friday saturday sunday "
        "jan feb mar apr jun jul aug sep sept oct nov dec"
    )
)
_SMALL_WORDS = frozenset(_words("of the and for de la du von van der den"))
_PEOPLES = dict(
    pair.split("/")
    for pair in _words(
        "french/france dutch/netherlands swiss/switzerland welsh/wales spanish/spain polish/poland "
        "danish/denmark irish/ireland scottish/scotland norwegian/norway finnish/finland "
        "filipino/philippines thai/thailand"
    )
)
_SHORT = {"st": "saint", "mt": "mount", "ft": "fort"}  # too short to be told by their beginning
_LONG = {word: short for short, word in _SHORT.items()}
# How letters are written where a keyboard lacks them: Mueller, Djokovic, Aarhus.
_SPELLED = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "å": "aa",
        "đ": "dj",
        "Ä": "Ae",
        "Ö": "Oe",
        "Ü": "Ue",
        "Å": "Aa",
        "Đ": "Dj",
    }
)
_RESPELLED = re.compile(r"(?<=[aou])e|(?<=[Aa])a|(?<=[Dd])j")
_PLACES = {place: people for people, place in _PEOPLES.items()}
_LEAST_STEM = 4
_ENDING = 3
_SURE_INITIALS = 4


@dataclass(frozen=True)
class KnownNames:
    """The words of a text, looked up as names; each table is made when first asked for."""

    text: str

    @cached_property
    def folded(self) -> str:
        """The text as it is compared."""
        return fold(self.text)

    @cached_property
    def words(self) -> list[str]:
        """Every word of the text once, in small letters, sorted."""
        return sorted({form for match in _WORD.finditer(self.folded) for form in _forms(match.group())})

    @cached_property
    def capitalized(self) -> list[str]:
        """Those with a capital, in small letters all the same."""
        words = (match.group() for match in _WORD.finditer(self.folded))
        return sorted({form for word in words if word[0].isupper() for form in _forms(word)})

    @cached_property
    def abbreviations(self) -> tuple[str, ...]:
        """Capitalized words of three to five letters that a stop follows, in small letters."""
        matches = (match for match in _WORD.finditer(self.folded) if 3 <= len(match.group()) <= 5)
        return tuple(
            {
                match.group().lower()
                for match in matches
                if match.group()[0].isupper() and self.folded[match.end() : match.end() + 1] == "."
            }
        )

    @cached_property
    def initials(self) -> str:
        """The initials of each run of capitalized words, small words passed over, one run a line."""
        letters: list[str] = []
        for match in _WORD.finditer(self.folded):
            word = match.group()
            if word[0].isupper():
                letters.append(word[0].lower())
            elif word.lower() not in _SMALL_WORDS and letters and letters[-1] != "\n":
                letters.append("\n")
        return "".join(letters)

    @cached_property
    def all_initials(self) -> str:
        """The initials of every word, small words passed over."""
        words = (match.group().lower() for match in _WORD.finditer(self.folded))
        return "".join(word[0] for word in words if word not in _SMALL_WORDS)

    def __contains__(self, name: str) -> bool:
        word = _bare(fold(name))
        # Plurals of abbreviations: LEAs, Sens
        if self._knows(word) or (len(word) > 3 and word.endswith("s") and self._knows(word[:-1])):
            return True
        spelled = _bare(fold(tidy(name).translate(_SPELLED)))
        respelled = _RESPELLED.sub("", word)
        return any(other != word and self._has(other.lower()) for other in (spelled, respelled))

    def _knows(self, name: str) -> bool:
        word = name.lower()
        if any(self._has(others.get(word, word)) for others in (_PEOPLES, _PLACES, _SHORT, _LONG)):
            return True
        stem = word[: max(_LEAST_STEM, len(word) - _ENDING)]
        if len(word) >= _LEAST_STEM and _starts(self.words, stem):
            return True
        # "Sen." is known from "Senator", not from "sent".
        if len(word) >= 3 and (_starts(self.capitalized, word) or word.startswith(self.abbreviations)):
            return True
        return name.isupper() and self._are_initials(word)

    def _are_initials(self, letters: str) -> bool:
        # Two or three letters come together by chance in any text; in a capitalized name they mean it.
        if len(letters) >= _SURE_INITIALS and letters in self.all_initials:
            return True
        return len(letters) > 1 and letters in self.initials

    def _has(self, word: str) -> bool:
        place = bisect_left(self.words, word)
        return place < len(self.words) and self.words[place] == word


def unknown_names(summary: str, known: KnownNames, looks_like_name: LooksLikeName) -> list[str]:
    """Return the capitalized words of the summary that the text does not have, each once.

    Args:
        summary: the summary.
        known: the text it is of.
        looks_like_name: asked about a word that opens a sentence, where the capital says nothing.
    """
    names = (
        name
        for name, opens in _capitalized(summary)
        if name.lower() not in _NO_NAMES and (not opens or looks_like_name(name))
    )
    return [name for name in dict.fromkeys(names) if name not in known]


def name_runs(text: str, looks_like_name: LooksLikeName) -> Iterator[tuple[str, ...]]:
    """Yield the names of a text, each as its words; neither days nor months, which name no one.

    Args:
        text: a sentence or more.
        looks_like_name: asked about a word that opens a sentence, where the capital says nothing.
    """
    text, run, end = tidy(text), list[str](), -1
    for match in _WORD.finditer(text):
        name = _POSSESSIVE.sub("", match.group())
        before = text[max(0, match.start() - 8) : match.start()]
        small = name.lower()
        named = (
            name[0].isupper()
            and len(_bare(name)) > 1
            and small not in _NO_NAMES
            and small not in _CALENDAR
            and (not opens_sentence(before) or looks_like_name(name))
        )
        if run and not (named and text[end : match.start()] == " "):
            yield tuple(run)
            run = []
        if named:
            run.append(name)
            end = match.end()
    if run:
        yield tuple(run)


def _capitalized(text: str) -> Iterator[tuple[str, bool]]:
    text = tidy(text)
    for match in _WORD.finditer(text):
        if match.group()[0].isupper():
            before = text[max(0, match.start() - 8) : match.start()]
            name = _POSSESSIVE.sub("", match.group())
            if len(_bare(name)) > 1:  # a single letter is an initial or a vitamin
                yield name, opens_sentence(before)


def opens_sentence(before: str) -> bool:
    """Whether a word behind these characters opens a sentence."""
    before = before.rstrip(_OPENERS)
    return not before or (before[-1] in _ENDERS and _TITLE.search(before) is None)


def _starts(words: list[str], start: str) -> bool:
    place = bisect_left(words, start)
    return place < len(words) and words[place].startswith(start)


def _forms(word: str) -> tuple[str, ...]:
    small = _bare(word).lower()
    return small, _POSSESSIVE.sub("", small), small.replace("'", "")


def _bare(word: str) -> str:
    return word.replace(".", "")
