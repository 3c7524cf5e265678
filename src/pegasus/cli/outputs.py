"""Where results go: stdout, one file, or a folder with a file for each input.

A file is written beside its place and moved there when it is whole; what an error or Ctrl-C interrupts
leaves nothing behind.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from pegasus.cli.forms import Form, choose_form
from pegasus.cli.inputs import Input, Item
from pegasus.errors import BadSetting, PegasusError

if TYPE_CHECKING:
    from pegasus.summarizer import Summary

_STDOUT = "-"
_ENDINGS = {"text": ".summary.txt", "json": ".summary.json", "jsonl": ".summary.jsonl"}


class Output(Protocol):
    """Takes results, in order."""

    def write(self, item: Item, end: Summary | PegasusError) -> object:
        """Take the summary of an item, or its error."""
        ...


def open_output(
    inputs: Sequence[Input], target: str, form: str | None, *, overwrite: bool
) -> AbstractContextManager[Output]:
    """Open where results shall go.

    Args:
        inputs: by which the form is chosen where nothing else says it.
        target: a file, a folder (one that exists, or ends in a slash), or "-" for stdout.
        form: "text", "json" or "jsonl"; None chooses by the names.
        overwrite: whether files that exist may be replaced.

    Raises:
        BadSetting: an output exists or is an input, or two inputs would go into one file.
    """
    form = form or _form(target, all(each.rows for each in inputs))
    single = len(inputs) == 1 and not inputs[0].rows
    if target == _STDOUT:
        return _stdout(form, single)
    if target.endswith(("/", os.sep)) or Path(target).is_dir():
        places = {
            each.name: (Path(target) / each.place).with_name(each.place.name + _ENDINGS[form])
            for each in inputs
        }
        _check_apart(places)
        for place in places.values():
            _check_place(place, inputs, overwrite)
        return _folder(places, form, {each.name: each.rows for each in inputs})
    if not Path(target).parent.is_dir():
        raise BadSetting(f"There is no folder {Path(target).parent} to write {target} into: make it first.")
    _check_place(Path(target), inputs, overwrite)
    return _file(Path(target), form, single)


def _form(target: str, all_rows: bool) -> str:
    suffix = Path(target).suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if suffix == ".json":
        return "json"
    return "jsonl" if all_rows else "text"


def _check_apart(places: Mapping[str, Path]) -> None:
    taken: dict[Path, str] = {}
    for file, place in places.items():
        if place in taken:
            raise BadSetting(
                f"{taken[place]} and {file} would both be written to {place}: write them to different "
                "folders, or all to one file."
            )
        taken[place] = file


def _check_place(place: Path, inputs: Sequence[Input], overwrite: bool) -> None:
    paths = [each.path for each in inputs if each.path is not None]
    if any(path.exists() and place.exists() and place.samefile(path) for path in paths):
        raise BadSetting(f"{place} is one of the inputs: name another output.")
    if place.exists() and not overwrite:
        raise BadSetting(f"{place} exists already: add --overwrite to replace it.")


@contextmanager
def _stdout(form: str, single: bool) -> Iterator[Output]:
    written = choose_form(form, sys.stdout, single=single)
    yield written
    written.close()


@contextmanager
def _file(place: Path, form: str, single: bool) -> Iterator[Output]:
    with Replacement(place) as replacement:
        written = _Counted(choose_form(form, replacement.stream, single=single))
        yield written
        written.close()
        replacement.keep = written.any


@contextmanager
def _folder(places: Mapping[str, Path], form: str, rows: Mapping[str, bool]) -> Iterator[Output]:
    with ExitStack() as stack:
        yield _Folder(places, form, rows, stack)


@dataclass
class _Counted:
    """A form that remembers whether anything was written; an output of errors alone is not made."""

    form: Form
    any: bool = False

    def write(self, item: Item, end: Summary | PegasusError) -> None:
        self.any |= self.form.write(item, end)

    def close(self) -> None:
        self.form.close()


@dataclass
class _Folder:
    """Opens a file when the first result of an input comes, and closes it when the next input begins."""

    places: Mapping[str, Path]
    form: str
    rows: Mapping[str, bool]
    stack: ExitStack
    file: str | None = None
    output: Output | None = field(default=None)

    def write(self, item: Item, end: Summary | PegasusError) -> None:
        if item.file != self.file or self.output is None:
            self.stack.close()
            place = self.places[item.file]
            place.parent.mkdir(parents=True, exist_ok=True)
            self.output = self.stack.enter_context(_file(place, self.form, not self.rows[item.file]))
            self.file = item.file
        self.output.write(item, end)


class Replacement:
    """A file that takes its place when it is whole, and leaves no trace when something goes wrong.

    Attributes:
        stream: what is written.
        keep: whether it shall take its place at the end.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.keep = True
        self._part = place.with_name(f".{place.name}.{os.getpid()}.part")
        self.stream: IO[str] = self._part.open("w", encoding="utf-8")

    def __enter__(self) -> Replacement:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self.stream:
            self.stream.flush()
            os.fsync(self.stream.fileno())
        if kind is None and self.keep:
            self._part.replace(self.place)
        else:
            self._part.unlink()
