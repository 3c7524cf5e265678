"""Which column of a file holds the document and which the summary: settled once, from the names there
are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pegasus.errors import BadData

#: What others call them, the likelier name first.
DOCUMENT_NAMES = (
    "document text article body content source input dialogue dialog report passage email_body documents "
    "inputs description maintext story src"
)
SUMMARY_NAMES = (
    "summary highlights abstract headline target subject_line title tldr tl;dr output targets label "
    "summary_text conclusion question_summary tgt"
)
_OPTIONS = {
    "document": "with --column or --document, in a job with data.source",
    "summary": "with --summary, in a job with data.target",
    "summaries": "in `Columns`",
}
_MOST_NAMED = 12
_LONGEST_NAME = 40
_ID_NAMES = ("id", "_id", "guid", "uid", "fname", "url")


@dataclass(frozen=True)
class Columns:
    """The columns to read; None leaves a name to be found.

    Attributes:
        document: the text.
        summary: its summary.
        summaries: a list of several, the main one first; wins over `summary` in the rows that have it.
    """

    document: str | None = None
    summary: str | None = None
    summaries: str | None = None


@dataclass(frozen=True)
class Settled:
    """The columns of one file.

    Attributes:
        document: the text.
        summary: its summary; None where there is none or none is wanted.
        summaries: the list of summaries, likewise.
        id: what names the row.
    """

    document: str
    summary: str | None = None
    summaries: str | None = None
    id: str | None = None

    @property
    def names(self) -> list[str]:
        """All columns that are read."""
        return [name for name in (self.document, self.summary, self.summaries, self.id) if name is not None]


def settle(
    found: Sequence[str], wanted: Columns, with_summary: bool, file: str, line: int | None = None
) -> Settled:
    """Settle which of the columns that were found are read.

    Args:
        found: their names.
        wanted: those that were asked for.
        with_summary: whether a summary is needed as well.
        file: where they were found, and
        line: in which row, for errors.

    Raises:
        BadData: a wanted column is not there, or none of the usual names is.
    """
    known: dict[str, str] = {}
    for name in map(str, found):
        known.setdefault(name.strip().lower(), name)
    place = (file, line)
    document = _named(known, wanted.document, DOCUMENT_NAMES.split(), "document", place)
    row_id = next((known[name] for name in _ID_NAMES if name in known), None)
    if not with_summary:
        return Settled(document, id=row_id)
    several = wanted.summaries or ("summaries" if wanted.summary is None else None)
    summaries = known.get(several.lower()) if several else None
    if wanted.summaries and summaries is None:
        raise _missing(wanted.summaries, "summaries", list(known.values()), place)
    usual = [name for name in SUMMARY_NAMES.split() if name != document.lower()]
    if summaries is not None and wanted.summary is None:
        summary = next((known[name] for name in usual if name in known), None)
    else:
        summary = _named(known, wanted.summary, usual, "summary", place)
    return Settled(document, summary, summaries, row_id)


_Place = tuple[str, int | None]


def _named(
    known: dict[str, str], wanted: str | None, usual: Iterable[str], role: str, place: _Place
) -> str:
    for name in usual if wanted is None else [wanted]:
        if name.lower() in known:
            return known[name.lower()]
    raise _missing(wanted, role, list(known.values()), place)


def _missing(wanted: str | None, role: str, found: Sequence[str], place: _Place) -> BadData:
    sought = "none of the usual names" if wanted is None else f"no column {wanted!r}"
    names = ", ".join(repr(_short(name)) for name in found[:_MOST_NAMED]) or "none"
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    lower = {name.lower(): name for name in found}
    near = [] if wanted is None else get_close_matches(wanted.lower(), lower, 1)
    advice = f"Do you mean {lower[near[0]]!r}?" if near else f"Name the one that is: {_OPTIONS[role]}."
    return BadData(f"There is {sought} for the {role}; the columns are {names}{more}. {advice}", *place)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
