"""Which column of a file holds the document and which the summary: settled once, from the names there
are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


def settle(found: Sequence[str], wanted: Columns, with_summary: bool, file: str) -> Settled:
    """Settle which of the columns that were found are read.

    Raises:
        BadData: a wanted column is not there, or none of the usual names is.
    """
    known: dict[str, str] = {}
    for name in found:
        known.setdefault(name.lower(), name)
    document = _named(known, wanted.document, DOCUMENT_NAMES.split(), "document", file)
    row_id = next((known[name] for name in _ID_NAMES if name in known), None)
    if not with_summary:
        return Settled(document, id=row_id)
    several = wanted.summaries or ("summaries" if wanted.summary is None else None)
    summaries = known.get(several.lower()) if several else None
    if wanted.summaries and summaries is None:
        raise _missing(f"a column {wanted.summaries!r}", "summaries", known.values(), file)
    usual = [name for name in SUMMARY_NAMES.split() if name != document.lower()]
    if summaries is not None and wanted.summary is None:
        summary = next((known[name] for name in usual if name in known), None)
    else:
        summary = _named(known, wanted.summary, usual, "summary", file)
    return Settled(document, summary, summaries, row_id)


def _named(known: dict[str, str], wanted: str | None, usual: Iterable[str], role: str, file: str) -> str:
    for name in usual if wanted is None else [wanted]:
        if name.lower() in known:
            return known[name.lower()]
    sought = "none of the usual names" if wanted is None else f"no column {wanted!r}"
    raise _missing(sought, role, known.values(), file)


def _missing(sought: str, role: str, found: Iterable[str], file: str) -> BadData:
    names = ", ".join(repr(name) for name in found) or "none"
    return BadData(
        f"There is {sought} for the {role}; the columns are {names}. Say which one is the {role}.", file
    )
