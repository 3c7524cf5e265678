"""Where results go: stdout, a device or a pipe, one file, or a folder with a file for each input.

Devices, pipes and links are written through; a file takes its place when it is whole, and keeps its mode.
What several texts have given is kept until then, and gone on from (`pegasus.cli.journal`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from pegasus.cli.exits import say
from pegasus.cli.formats import Form, choose_form
from pegasus.cli.inputs import Input, Item
from pegasus.cli.journal import Journal, is_finished
from pegasus.cli.log import Log, digest
from pegasus.cli.replacement import is_special, replacing, resolved, write_all
from pegasus.cli.streams import check_folder, descriptor_of, naming, speak_utf8, write_out
from pegasus.errors import BadSetting

_STDOUT = "-"
_ENDINGS = {"text": ".summary.txt", "json": ".summary.json", "jsonl": ".summary.jsonl"}
Record = Mapping[str, Any]
#: Is told what a person should know.
Report = Callable[[str], None]


class Output(Protocol):
    """Takes results, in order.

    Attributes:
        kept: how many results of this run it had already.
        failed: how many of those are errors.
    """

    kept: int
    failed: int

    def fresh(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items that it has no result of."""
        ...

    def write(self, item: Item, record: Record) -> None:
        """Take the result of an item."""
        ...


def open_output(
    inputs: Sequence[Input],
    target: str,
    form: str | None,
    run: Record,
    *,
    overwrite: bool = False,
    report: Report = say,
) -> AbstractContextManager[Output]:
    """Open where results shall go.

    Args:
        inputs: by which the form is chosen where nothing else says it.
        target: a file, a folder (one that exists, or ends in a slash), a device, or "-" for stdout.
        form: "text", "json" or "jsonl"; None chooses by the names.
        run: what results depend on, by the names that a person knows it by; only those that were made with
            the same are gone on from.
        overwrite: whether files that exist may be replaced.
        report: is told how many results were there already.

    Raises:
        BadSetting: an output exists or is an input, two inputs would go into one file, or results of
            another run wait there to be gone on from.
        WriteFailed: it cannot be written.
    """
    if not target:
        raise BadSetting("--output names nothing: give a file, a folder, or - for stdout.")
    form = form or _form(target, all(each.rows for each in inputs))
    single = len(inputs) == 1 and not inputs[0].rows
    run = {"inputs": [each.name for each in inputs], "form": form, **run}
    number = 1 if target == _STDOUT else descriptor_of(target)
    if number == 1:
        return _stdout(form, single)
    if number is not None or is_special(Path(target)):
        return _through(target, number, form, single)
    if target.endswith(("/", os.sep)) or _is_folder(target):
        return _folder(Path(target), inputs, form, run, overwrite, report)
    place = resolved(Path(target))
    check_folder(place, target)
    _check_place(place, inputs, overwrite or is_finished(place, run))
    return _one(place, form, run, single, overwrite, report)


def _is_folder(target: str) -> bool:
    with naming(target):  # a name may be too long to be looked for
        return Path(target).is_dir()


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
    if place.is_dir():
        raise BadSetting(f"{place} is a folder: name another output.")
    if place.exists() and not overwrite:
        raise BadSetting(f"{place} exists already: add --overwrite to replace it.")


# -- written through ---------------------------------------------------------------------------------------


@dataclass
class _Stream:
    """An output that is passed on as it comes, and that nobody can go on from."""

    form: Form
    kept: int = 0
    failed: int = 0

    def fresh(self, items: Iterator[Item]) -> Iterator[Item]:
        return items

    def write(self, item: Item, record: Record) -> None:
        self.form.write(record)


@contextmanager
def _stdout(form: str, single: bool) -> Iterator[Output]:
    if form != "text":
        speak_utf8()
    stream = _Stream(choose_form(form, write_out, single=single))
    yield stream
    stream.form.close()


@contextmanager
def _through(target: str, number: int | None, form: str, single: bool) -> Iterator[Output]:
    """Write to what is open already, or to a device, a pipe or a socket."""
    with naming(target):
        descriptor = os.open(target, os.O_WRONLY) if number is None else os.dup(number)

    def sink(text: str) -> None:
        with naming(target):
            write_all(descriptor, text.encode("utf-8"))

    try:
        stream = _Stream(choose_form(form, sink, single=single))
        yield stream
        stream.form.close()
    finally:
        os.close(descriptor)


# -- one file ----------------------------------------------------------------------------------------------


@dataclass
class _Single:
    """One text's result in one file, which is there at once; an error makes no file of text."""

    place: Path
    form: str
    kept: int = 0
    failed: int = 0

    def fresh(self, items: Iterator[Item]) -> Iterator[Item]:
        return items

    def write(self, item: Item, record: Record) -> None:
        if "error" in record and self.form == "text":
            return
        with naming(self.place):
            self.place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.place) as write:
            choose_form(self.form, lambda text: write(text.encode("utf-8")), single=True).write(record)


@contextmanager
def _one(
    place: Path, form: str, run: Record, single: bool, overwrite: bool, report: Report
) -> Iterator[Output]:
    if single:
        yield _Single(place, form)
        return
    journal = Journal(place, run, form, overwrite=overwrite)
    try:
        _report_kept(journal, report)
        yield journal
        journal.finish()
    except BaseException:
        _stop(journal)
        raise


def _report_kept(journal: Journal, report: Report) -> None:
    if journal.kept:
        were = "result was" if journal.kept == 1 else "results were"
        report(f"{journal.kept:,} {were} there already, in {journal.part}: going on")


def _stop(journal: Journal) -> None:
    if kept := journal.stop():
        say(kept)


# -- a folder ----------------------------------------------------------------------------------------------


@contextmanager
def _folder(
    target: Path, inputs: Sequence[Input], form: str, run: Record, overwrite: bool, report: Report
) -> Iterator[Output]:
    places = {
        each.name: (target / each.place).with_name(each.place.name + _ENDINGS[form]) for each in inputs
    }
    _check_apart(places)
    with naming(target):
        target.mkdir(parents=True, exist_ok=True)
    folder = _Folder(places, form, run, {each.name for each in inputs if each.rows}, overwrite, report)
    folder.log = Log(target / f".pegasus-{digest(run)}.log")
    try:
        folder.go_on()
        for each in inputs:
            if each.name not in folder.done:
                place = resolved(places[each.name])
                own = each.name in folder.begun or is_finished(place, run)
                _check_place(place, inputs, overwrite or own)
        yield folder
        folder.finish()
    except BaseException:
        folder.stop()
        raise


@dataclass
class _Folder:
    """A file for each input; those that are there are not made again by the same command."""

    places: Mapping[str, Path]
    form: str
    run: Record
    rows: set[str]
    overwrite: bool
    report: Report
    kept: int = 0
    failed: int = 0
    done: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)  # files that it may have made, though nothing says so
    noted: bool = False
    log: Log = field(init=False)
    _journals: dict[str, Journal] = field(default_factory=dict)

    def go_on(self) -> None:
        """Find which files the same command has finished before."""
        if self.log.run is None:
            with naming(self.log.path):
                self.log.begin(self.run)
        for line in self.log.lines:
            file, *counts = json.loads(line)
            if not counts:
                self.begun.add(file)
                continue
            count, failed = counts
            if self.places[file].exists() or failed == count:
                self.done.add(file)
                self.kept, self.failed = self.kept + count, self.failed + failed
        if self.done:
            self.report(f"{len(self.done):,} of {len(self.places):,} files were done already: going on")

    def fresh(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items that have no result."""
        for file, own in groupby(items, key=lambda item: item.file):
            yield from self._fresh_of(file, own)

    def _fresh_of(self, file: str, items: Iterator[Item]) -> Iterator[Item]:
        if file in self.done:
            return iter(())
        return self._journal(file).fresh(items) if file in self.rows else items

    def write(self, item: Item, record: Record) -> None:
        """Take a result; those of the files before are all there."""
        self._finish_before(item.file)
        if item.file in self.rows:
            self._journal(item.file).write(item, record)
            return
        self._note(item.file)
        _Single(resolved(self.places[item.file]), self.form).write(item, record)
        self._note(item.file, 1, int("error" in record))

    def _journal(self, file: str) -> Journal:
        if file not in self._journals:
            place = resolved(self.places[file])
            with naming(place):
                place.parent.mkdir(parents=True, exist_ok=True)
            journal = Journal(place, self.run, self.form, overwrite=self.overwrite)
            self._journals[file] = journal
            self.kept, self.failed = self.kept + journal.kept, self.failed + journal.failed
            _report_kept(journal, self.report)
        return self._journals[file]

    def _finish_before(self, file: str | None) -> None:
        """Finish the files that come before one; later ones may be open already, as they are read ahead."""
        for other in self.places:
            if other == file:
                return
            if other in self._journals:
                journal = self._journals[other]
                journal.finish()
                del self._journals[other]
                self._note(other, journal.count, journal.errors)

    def _note(self, file: str, *counts: int) -> None:
        """Say that a file is begun, or how many results it has and how many of them are errors."""
        with naming(self.log.path):
            self.log.add(json.dumps([file, *counts]))
        self.noted = True

    def finish(self) -> None:
        """Finish what is open: nothing more comes."""
        self._finish_before(None)
        self.log.remove()

    def stop(self) -> None:
        """Close all as it is."""
        for journal in self._journals.values():
            _stop(journal)
        if self.noted or self.log.lines or any(journal.count for journal in self._journals.values()):
            self.log.close()
        else:
            self.log.remove()
