"""Names of files and folders → sources in order, and what each holds."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pegasus.data.reading.encodings import LOOKED_AT, check_encoding, find_encoding
from pegasus.data.reading.formats import ENDINGS, FORMATS, ROWS, Format, find_format, format_by_name
from pegasus.data.reading.plain import Unit, check_unit
from pegasus.data.reading.streams import PACKED, STDIN, Stream, check_there, open_stream, told
from pegasus.errors import BadData, BadSetting

#: What the names of hub data sets begin with.
HUB = "hub:"
_MOST_NAMED = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """How sources are read.

    Attributes:
        unit: what a document is in plain text: the whole file, a line, or a block between blank lines.
        format: what every source holds; None finds it by content and name.
        encoding: what every text is in; None finds UTF-8, UTF-16 and UTF-32.
        column: the column of the text; by it a table on standard input is known.
        lines: whether what looks like plain text is taken for JSON lines.
    """

    unit: Unit = "file"
    format: str | None = None
    encoding: str | None = None
    column: str | None = None
    lines: bool = False

    def __post_init__(self) -> None:
        check_unit(self.unit)
        check_encoding(self.encoding)
        if self.format is not None and self.format not in FORMATS:
            raise BadSetting(f"format={self.format!r} is not known: use one of {', '.join(FORMATS)}.")


@dataclass
class Source:
    """A file, standard input or a hub data set.

    Attributes:
        name: as it was named, or found in a folder; "-" is standard input, "hub:NAME" a hub data set.
        place: its path below the folder that it was found in, without endings; for others its own name.
        reading: how it is read.
    """

    name: str
    place: Path
    reading: Reading = field(default_factory=Reading)
    _waiting: Stream | None = None

    @property
    def on_hub(self) -> bool:
        """Whether it is a hub data set."""
        return self.name.startswith(HUB)

    def holds_rows(self) -> bool:
        """Whether there is a text in each row, and not one in all; looks into it where its name does not
        say. False where it cannot be read.
        """
        if self.on_hub:
            return True
        if self.reading.format is not None:
            return self.reading.format in ROWS
        named = format_by_name(self.name)
        if named in ROWS and self.name != STDIN:
            return True
        try:
            stream = self.open()
        except (BadData, ImportError):
            return False
        try:
            return self.find_format(stream) in ROWS
        except BadData:
            return False
        finally:
            self._keep(stream)

    def open(self) -> Stream:
        """Open it, unpacked.

        Raises:
            BadData: it cannot be.
            BackendMissing: a package is missing.
        """
        stream, self._waiting = self._waiting, None
        return open_stream(self.name) if stream is None else stream

    def find_format(self, stream: Stream) -> Format:
        """Return what it holds.

        Raises:
            BadData: something that is not read.
        """
        if self.reading.format is not None:
            return self.reading.format  # type: ignore[return-value]
        with told(self.name):
            found = find_format(stream, self.name, self.reading.encoding, self.reading.column)
        return "jsonl" if found == "text" and self.reading.lines else found

    def find_encoding(self, stream: Stream) -> str:
        """Return the encoding of its text."""
        asked = check_encoding(self.reading.encoding)
        found = find_encoding(stream.look(4)[:LOOKED_AT])
        if asked in ("utf-16", "utf-32"):  # read in pieces, they must say which byte comes first
            return found if found.startswith(asked) else f"{asked}-le"
        return asked or found

    def _keep(self, stream: Stream) -> None:
        """Keep what can be opened only once; a file is opened again, so that thousands need no handles."""
        if self.name == STDIN or not Path(self.name).is_file():
            self._waiting = stream
        else:
            stream.close()


def find_sources(sources: Sequence[str | Path], reading: Reading | None = None) -> list[Source]:
    """Return what there is to read, in order: folders are replaced by the files below them, by name.

    Files in a folder that are not read (by their endings, or hidden) are told of in a warning.

    Raises:
        BadSetting: standard input is named twice.
        BadData: a name stands for nothing, or a folder has nothing that is read.
    """
    reading = reading or Reading()
    if [str(source) for source in sources].count(STDIN) > 1:
        raise BadSetting("Standard input can be read only once: name - once.")
    return [found for source in map(str, sources) for found in _found(source, reading)]


def _found(source: str, reading: Reading) -> list[Source]:
    if source == STDIN:
        return [Source(source, Path("stdin"), reading)]
    if source.startswith(HUB):
        return [Source(source, Path(source.removeprefix(HUB).replace("/", "-").replace(":", "-")), reading)]
    check_there(source)
    if not os.path.isdir(source):
        return [Source(source, place_of(Path(source).name), reading)]
    root, skipped = Path(source), list[str]()
    files = sorted(_files_below(root, skipped), key=lambda file: file.parts)
    kept = [file for file in files if reading.format is not None or _is_read(file)]
    skipped += [str(file) for file in files if file not in set(kept)]
    if skipped:
        more = f" and {len(skipped) - _MOST_NAMED:,} more" if len(skipped) > _MOST_NAMED else ""
        named = ", ".join(sorted(skipped)[:_MOST_NAMED])
        _log.warning("%s: files that are not read are passed over: %s%s", source, named, more)
    if not kept:
        raise BadData(f"The folder has no file that is read: {_endings()}.", source)
    return [Source(str(file), place_of(file.relative_to(root)), reading) for file in kept]


def _files_below(root: Path, skipped: list[str]) -> Iterator[Path]:
    """Every regular file below a folder, through links too, each folder once however links run."""
    seen = set[tuple[int, int]]()

    def refused(error: OSError) -> None:
        skipped.append(str(error.filename))

    for folder, folders, files in os.walk(root, onerror=refused, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(folder, name)
            if path.is_file() and not name.startswith("."):
                yield path
            else:
                skipped.append(str(path))


def _is_read(file: Path) -> bool:
    return format_by_name(file) is not None


def place_of(path: str | Path) -> Path:
    """Return a path without the endings that say how its file is packed and what it holds."""
    path = Path(path)
    name = path.name
    for endings in (PACKED, tuple(ENDINGS)):
        stem, dot, ending = name.rpartition(".")
        if stem and f"{dot}{ending}".lower() in endings:
            name = stem
    if name == path.name and "." in name.strip("."):
        name = path.stem
    return path.with_name(name)


def _endings() -> str:
    return f"{', '.join(ENDINGS)}, each also with {', '.join(PACKED)}"
