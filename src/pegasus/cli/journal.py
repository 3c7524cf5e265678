"""Results that are kept as they are done, so that the same command goes on after any interruption.

Beside ``out.jsonl`` stand until it is whole

- ``out.jsonl.part``: a JSON line for each result, in order; JSON lines are the output itself, which moves
  to its place at the end; other forms are made from them;
- ``out.jsonl.part.log``: what run they belong to, and which text each result is of (`pegasus.cli.log`).

A result is there when its line stands whole in both.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pegasus.cli.formats import choose_form, to_line
from pegasus.cli.inputs import Item
from pegasus.cli.log import Log, append_whole, differences, digest
from pegasus.cli.replacement import replacing, take_place
from pegasus.cli.streams import naming
from pegasus.errors import BadSetting


class Journal:
    """The results of an output that is not finished.

    Args:
        place: where the output will stand.
        run: inputs, model and settings, by the names that a person knows them by.
        form: the form of the output.
        overwrite: whether results that do not belong to this run may be thrown away.

    Attributes:
        kept: how many results there were already.
        failed: how many of them are errors.
        count: how many results there are by now.
        errors: how many of those are errors.

    Raises:
        BadSetting: results are there that belong to another run, and must not be thrown away.
        WriteFailed: it cannot be written.
    """

    def __init__(self, place: Path, run: Mapping[str, Any], form: str, *, overwrite: bool) -> None:
        self.place, self.form, self.overwrite = place, form, overwrite
        self.part = place.with_name(f"{place.name}.part")
        self._log = Log(_log_of(place))
        self.kept = self.failed = self.count = self.errors = 0
        self._rows = -1
        self._whole = False
        try:
            if self._log.finished is not None and self._is_left(run):
                return
            with naming(self.part):
                self._rows = os.open(self.part, os.O_RDWR | os.O_CREAT, 0o666)
                self._go_on(run)
        except BaseException:
            self._close()
            self._remove_if_empty()
            raise

    def _is_left(self, run: Mapping[str, Any]) -> bool:
        """Whether the output was moved to its place, and only what comes after that is missing."""
        finished = self._log.finished
        if (
            finished is None
            or self.part.exists()
            or not self.place.exists()
            or not _is_same(self._log, run)
        ):
            return False
        if self.form == "jsonl":
            with naming(self.part):  # these are the results; they are gone on from like all others
                shutil.copyfile(self.place, self.part)
        elif not self.overwrite:
            self._whole = True
            self.kept, self.failed = self.count, self.errors = finished
        return self._whole

    def _go_on(self, run: Mapping[str, Any]) -> None:
        """Find what there is of this run, and drop what is not whole."""
        before, empty = self._log.run, not os.fstat(self._rows).st_size
        found = "; ".join(differences(before, run)) if before is not None else "it does not say of which"
        if (empty and (before is None or found)) or (found and self.overwrite):
            self._log.begin(run)
            os.ftruncate(self._rows, 0)
        elif found:
            raise BadSetting(
                f"{self.part} holds results of another run ({found}): give the same command to go on with "
                "it, name another output, or add --overwrite to throw them away."
            )
        self._keep(len(self._log.lines))
        self.kept, self.failed = self.count, self.errors

    def _keep(self, most: int) -> None:
        """Keep the first so many results, or as many as are whole."""
        end = self.count = self.errors = 0
        for line in self._lines():
            error = _error_of(line)
            if self.count == most or error is None:
                break
            end, self.count, self.errors = end + len(line), self.count + 1, self.errors + error
        os.ftruncate(self._rows, end)
        if self.count < len(self._log.lines):
            self._log.keep(self.count)

    def _lines(self) -> Iterator[bytes]:
        with self.part.open("rb") as stream:
            yield from stream

    def fresh(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items that have no result yet, after a look whether those that have one are the same.

        Raises:
            BadSetting: an item is not what it was when its result was written.
        """
        for place in range(self.kept):
            item = next(items, None)
            if item is not None and _mark(item) == self._log.lines[place]:
                continue
            if not self.overwrite:
                changed = "is no longer there" if item is None else f"is another one now ({item.name})"
                held = self.place if self._whole else self.part
                raise BadSetting(
                    f"Text {place + 1} of {self.kept} that {held} holds results of {changed}: name "
                    "another output, or add --overwrite to throw away what does not belong to this input."
                )
            self._keep(place)
            self.kept, self.failed = place, self.errors
            if item is not None:
                yield item
            break
        for item in items:
            if self._whole:
                raise BadSetting(
                    f"{self.place} exists already, without {item.name}: add --overwrite to replace it."
                )
            yield item

    def write(self, item: Item, record: Mapping[str, Any]) -> None:
        """Add a result.

        Raises:
            WriteFailed: it cannot be written; those before it are kept.
        """
        with naming(self.part):
            if self._log.finished is not None:  # and yet there is more: the input has grown
                self._log.keep(self.kept)
            begin = os.fstat(self._rows).st_size
            append_whole(self._rows, f"{to_line(record)}\n".encode())
            try:
                self._log.add(_mark(item))
            except OSError:
                os.ftruncate(self._rows, begin)
                raise
        self.count += 1
        self.errors += "error" in record

    def finish(self) -> None:
        """Make the output of the results, and take everything else away.

        Killed at any moment of that, the same command finds what is left and finishes it.
        """
        if self._whole:
            self._log.remove()
            return
        with naming(self.place):
            os.fsync(self._rows)
            if self._log.finished is None:
                self._log.finish(self.count, self.errors)
            self._move()
        os.close(self._rows)
        self._log.remove()

    def _move(self) -> None:
        if self.form == "jsonl":
            take_place(self.part, self.place)
        else:
            self._render()
            self.part.unlink()

    def _render(self) -> None:
        """Write the output in another form; errors alone make no file of text."""
        if self.form == "text" and all("error" in each and "line" not in each for each in self._records()):
            return
        with replacing(self.place) as write:
            form = choose_form(self.form, lambda text: write(text.encode("utf-8")), single=False)
            for record in self._records():
                form.write(record)
            form.close()

    def _records(self) -> Iterator[Mapping[str, Any]]:
        return map(json.loads, self._lines())

    def stop(self) -> str:
        """Close it as it is, and return what a person should know of that; "" where nothing is kept."""
        self._close()
        if self._whole or (self._log.finished is not None and not self.part.exists()):
            self._log.close()  # the output has its place, and the same command tidies up
            return ""
        if self._remove_if_empty():
            return ""
        texts = "result is" if self.count == 1 else "results are"
        return f"{self.count:,} {texts} kept in {self.part}: the same command goes on from there"

    def _close(self) -> None:
        if self._rows >= 0:
            os.close(self._rows)

    def _remove_if_empty(self) -> bool:
        if self.part.exists() and self.part.stat().st_size:
            self._log.close()
            return False
        self.part.unlink(missing_ok=True)
        self._log.remove()
        return True


def is_finished(place: Path, run: Mapping[str, Any]) -> bool:
    """Whether a run had done everything, and was killed while its output took its place.

    What stands there, if anything, may then be replaced by the same run.
    """
    path = _log_of(place)
    if not path.exists():
        return False
    log = Log(path)
    try:
        return log.finished is not None and _is_same(log, run)
    finally:
        log.close()


def _log_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.part.log")


def _is_same(log: Log, run: Mapping[str, Any]) -> bool:
    return log.run is not None and not any(differences(log.run, run))


def _mark(item: Item) -> str:
    """What tells whether an item is still the same."""
    return digest(item.file, item.line, item.id, str(item.text))


def _error_of(line: bytes) -> bool | None:
    """Whether a line holds an error; None where it is not whole."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return "error" in record if isinstance(record, dict) else None
