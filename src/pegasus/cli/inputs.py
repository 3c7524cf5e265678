"""What there is to summarize: files of every kind, folders and stdin, as one stream of items.

An item that cannot be read carries its error in the place of its text, so that the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pegasus.data.read import Reading, Source, find_sources, read_texts
from pegasus.data.reading.finding import place_of
from pegasus.data.reading.formats import ROWS, format_by_name
from pegasus.errors import BadData, BadSetting, PegasusError

_STDIN = "-"


@dataclass(frozen=True)
class Item:
    """One text to be summarized.

    Attributes:
        file: where it comes from, as it was named; "-" is stdin.
        text: the text, or why there is none.
        line: its line or row in that file, where that holds a text in each.
        id: what its row calls it; its line where the row says nothing.
    """

    file: str
    text: str | PegasusError
    line: int | None = None
    id: Any = None

    @property
    def name(self) -> str:
        """What to call it to a person."""
        file = "stdin" if self.file == _STDIN else self.file
        return file if self.line is None else f"{file}:{self.line}"


@dataclass(frozen=True)
class Input:
    """A file to be read.

    Attributes:
        name: as it was named, or found in a folder; "-" is stdin.
        rows: whether it holds rows, one text each; otherwise it is one text.
        place: where its results stand below a folder of results, without an ending.
        source: how it is read; what is wrong with it where it cannot be.
    """

    name: str
    rows: bool
    place: Path
    source: Source | BadData

    @property
    def path(self) -> Path | None:
        """The file, None for stdin and for a hub data set."""
        on_hub = isinstance(self.source, Source) and self.source.on_hub
        return None if self.name == _STDIN or on_hub else Path(self.name)


def find_inputs(files: Sequence[str], reading: Reading) -> list[Input]:
    """Return what there is to read, folders replaced by the files in them.

    Args:
        files: names; "-" is stdin.
        reading: how they are read. Where it names a column, what looks like plain text is JSON lines.

    Raises:
        BadSetting: stdin is named twice.
    """
    found: list[Input] = []
    if files.count(_STDIN) > 1:
        raise BadSetting("stdin can be read only once: name - once.")
    for file in files:
        named = replace(reading, lines=reading.column is not None and not Path(file).is_dir())
        try:
            sources = find_sources([file], named)
        except BadData as error:
            rows = named.lines or format_by_name(file) in ROWS
            found.append(Input(file, rows, place_of(Path(file).name or "folder"), error))
            continue
        found += [Input(source.name, source.holds_rows(), source.place, source) for source in sources]
    return found


def read_items(inputs: Sequence[Input]) -> Iterator[Item]:
    """Yield the texts of inputs one after the other, reading no further than asked."""
    return (item for each in inputs for item in _read(each))


def _read(each: Input) -> Iterator[Item]:
    if isinstance(each.source, BadData):
        yield Item(each.name, each.source)
        return
    try:
        for text in read_texts(each.source):
            yield Item(each.name, text.text, text.line, text.id)
    except PegasusError as error:  # a package that is missing for one kind of file
        yield Item(each.name, type(error)(f"{each.name}: {error}"))
