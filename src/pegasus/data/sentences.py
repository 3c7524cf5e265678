"""Cutting a text into sentences.

A *splitter* is any function from a text to its sentences whose concatenation is the text again: nothing
is dropped, white space stays with the sentence before it. Two come with the package and a third is
whatever you pass instead::

    split_authors   the rule of the PEGASUS authors' code: stop marks followed by white space, nothing else
    split_careful   also knows abbreviations, initials, closing quotes, blank lines and full-width stops

Both take time linear in the text, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pegasus.errors import BadSetting

Splitter = Callable[[str], list[str]]

# One stop mark, not `[.!?]+`: with the plus, a long run of dots takes quadratic time. The white space is
# the ASCII class of the C++ original.
_AUTHORS = re.compile(r"[.!?][ \t\n\v\f\r]+")

# Three ways for a sentence to end: a stop, at most four closing marks and white space; a full-width stop,
# which needs no white space; the end of a line. Every repetition either is bounded or ends its branch,
# and no branch can begin inside the white space that another has taken, so no run is scanned twice.
_CLOSERS = "\"'”’»)\\]}"
_CANDIDATE = re.compile(
    rf"(?P<stop>[.!?…؟।])[{_CLOSERS}]{{0,4}}\s+"
    rf"|[。！？][{_CLOSERS}」』）]{{0,4}}\s*"
    r"|(?<!\s)[ \t]{0,8}\r?\n\s*"
)


def _words(text: str) -> list[str]:
    return text.split()


# Written without their last stop. Titles and the like are always followed by more of the sentence; the
# others end one when a word follows that sentences like to start with ("the U.S. They", not "U.S. Mail").
_NEVER_LAST = frozenset(
    _words(
        "mr mrs ms mx dr prof sr st mt ft gen col maj capt cpt lt cmdr sgt cpl pvt adm rev hon fr sen "
        "rep gov pres supt messrs mme mlle jr vs cf e.g i.e viz approx fig figs eq eqs sec vol ch pp "
        "ed eds trans"
    )
)
_SELDOM_LAST = frozenset(
    _words(
        "no nos p al etc inc corp co ltd bros dept univ assn u.s u.k u.n e.u d.c a.m p.m ph.d m.d b.a "
        "m.a jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun ave blvd rd"
    )
)
_STARTERS = frozenset(
    _words(
        "a an the this that these those he she it they we you i his her its their our my your there "
        "here then now but and or so if when while as at by for from in of on to with after before "
        "although because since such what who why how where which no not one some many most all each "
        "both few however moreover today"
    )
)
_LONGEST_WORD = 16
_LONGEST_HEADING = 48


def split_authors(text: str) -> list[str]:
    """Cut after `.`, `!` or `?` followed by white space, as the PEGASUS authors' code does.

    It knows no abbreviations and a stop before a quote does not cut. Unlike there, a literal `[SEP]` in the
    text is left alone.
    """
    return _pieces(text, (match.end() for match in _AUTHORS.finditer(text)))


def split_careful(text: str) -> list[str]:
    """Cut where an English reader would: past abbreviations and initials, after quotes, at blank lines."""
    return _pieces(text, (match.end() for match in _CANDIDATE.finditer(text) if _is_border(text, match)))


SPLITTERS: dict[str, Splitter] = {"authors": split_authors, "careful": split_careful}


def find_splitter(rule: str | Splitter) -> Splitter:
    """Return the splitter of that name, or `rule` itself where it is a function already.

    Raises:
        BadSetting: no splitter has that name.
    """
    if callable(rule):
        return rule
    if rule not in SPLITTERS:
        raise BadSetting(f"No sentence rule is named {rule!r}: use one of {', '.join(sorted(SPLITTERS))}.")
    return SPLITTERS[rule]


def _pieces(text: str, borders: Iterable[int]) -> list[str]:
    starts = [0]
    for border in borders:
        if text[starts[-1] : border].strip():  # white space alone joins the sentence after it
            starts.append(border)
    if len(starts) > 1 and not text[starts[-1] :].strip():
        starts.pop()
    ends = [*starts[1:], len(text)]
    return [text[start:end] for start, end in zip(starts, ends) if end > start]


def _is_border(text: str, match: re.Match[str]) -> bool:
    stop = match.group("stop")
    if match.end() == len(text) or text.count("\n", match.start(), match.end()) > 1:
        return True
    if stop is None:
        return not match.group()[0].isspace() or _is_heading(text, match)
    after = text[match.end()]
    if after.islower():  # "Smith & Co. in London", '"Why?" he asked'; but "why? because"
        return stop not in ".…" and text[match.start() + 1].isspace()
    if stop != ".":
        return True
    word = _word_before(text, match.start())
    if word in _NEVER_LAST:
        return False
    if len(word) == 1 and word.isalpha() and text[match.start() - 1].isupper():
        return word == "i"  # an initial: "J. Smith"; but "So do I. They"
    return word not in _SELDOM_LAST or _word_after(text, match.end()) in _STARTERS


def _is_heading(text: str, match: re.Match[str]) -> bool:
    """Whether a line that no stop ends is a heading or a date rather than one that was broken for width."""
    begin = text.rfind("\n", max(0, match.start() - _LONGEST_HEADING), match.start())
    short = begin >= 0 or match.start() < _LONGEST_HEADING
    return short and not text[match.end()].islower()


def _word_before(text: str, end: int) -> str:
    words = text[max(0, end - _LONGEST_WORD) : end].split()
    return words[-1].lstrip("(\"'“‘[").lower() if words and not text[end - 1].isspace() else ""


def _word_after(text: str, start: int) -> str:
    words = text[start : start + _LONGEST_WORD].split(maxsplit=1)
    return words[0].strip("\"'“‘([,").lower() if words and text[start].isupper() else ""
