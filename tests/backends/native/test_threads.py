"""How many threads compute: what makes no sense is refused, and what the system refuses is an error."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from pegasus import PackedForConditionalGeneration, Summarizer
from pegasus.backends import native, threads
from pegasus.backends.threads import threads_for, usual_threads
from pegasus.cli import app
from pegasus.errors import BadSetting


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of four processors."""
    monkeypatch.setattr(threads, "processors", lambda: 4)


@pytest.mark.parametrize("count", [1, 2, 4, np.int64(3)])
def test_what_makes_sense_is_taken(four: None, count: Any) -> None:
    found = threads_for(count)
    assert found == count
    assert type(found) is int


@pytest.mark.parametrize("count", [5, 99999, 2**70, 0, -1, 1.5, 2.0, "2", "many", True, float("nan"), [1]])
def test_what_makes_none_is_refused_with_the_number_of_processors(four: None, count: Any) -> None:
    with pytest.raises(
        BadSetting, match=r"^threads must be a whole number from 1 to 4, as this machine has 4 "
    ):
        threads_for(count)


@pytest.mark.parametrize(
    ("asked", "found"),
    [("3", 3), ("3,2", 3), (" 2 ", 2), ("4", 4), ("5", 4), ("99999", 4), ("9" * 5000, 4), ("007", 4)],
)
def test_threads_of_the_environment(
    four: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, asked: str, found: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    with caplog.at_level(logging.WARNING, "pegasus"):
        assert usual_threads() == found
    capped = int(asked.split(",")[0][:9]) > 4
    assert [f"this machine has {found}" in record.getMessage() for record in caplog.records] == [
        True
    ] * capped


@pytest.mark.parametrize("asked", ["", "0", "000", "-3", "many", "1.5", "²"])
def test_what_the_environment_says_without_sense_is_as_if_unset(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    usual = usual_threads()
    assert 1 <= usual <= (os.cpu_count() or 1)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert usual_threads() == usual


@pytest.mark.parametrize("count", [0, 99999])
@pytest.mark.parametrize(
    "opened",
    [Summarizer.from_pretrained, PackedForConditionalGeneration.from_pretrained],
    ids=["text", "ids"],
)
def test_every_door_refuses(opened: Any, count: int) -> None:
    with pytest.raises(
        BadSetting, match=r"threads must be a whole number from 1 to \d+, as this machine has"
    ):
        opened("pegasus-mini", threads=count)


@pytest.mark.parametrize("count", ["99999", "0", "-1"])
@pytest.mark.parametrize("verb", ["summarize", "evaluate", "pack"])
def test_every_verb_refuses(
    verb: str, count: str, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text('{"document": "A text.", "summary": "A text."}\n')
    words = {
        "summarize": [str(text)],
        "evaluate": ["--data", str(text)],
        "pack": ["pegasus-mini", "-o", str(tmp_path / "packed")],
    }[verb]
    assert app.main([verb, *words, f"--threads={count}"]) == 2
    said = capsys.readouterr().err
    assert f"--threads must be a whole number from 1 to {os.cpu_count()}" in said
    assert f"found {count}" in said


_STARVED = """
import resource, sys
import numpy as np
from pegasus.backends.native import linears
from pegasus.errors import BadSetting

few, weights = linears.Runner(2), np.ones((1100, 1000), np.float32)
layer, x = linears.pack("float32", weights), np.ones((3, 1000), np.float32)
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))
for make in (lambda: linears.Runner(5000), lambda: linears.pack("float32", weights, threads=5000)):
    try:
        make()
    except BadSetting as error:
        print(error)
print(few.run(layer, x)[2, 1099], linears.Runner(2).run(layer, x)[0, 0])
"""


def test_threads_that_the_system_refuses_are_an_error_and_leave_nothing_behind() -> None:
    """Stacks of threads need address space; of that there is little here."""
    if why := native.reason():
        pytest.skip(why)
    if not sys.platform.startswith("linux"):
        pytest.skip("limits of address space are Linux's")
    done = subprocess.run([sys.executable, "-c", _STARVED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    refused = "the system starts no more threads for the native engine"
    first, second, numbers = done.stdout.splitlines()
    assert first.startswith(refused)
    assert second.startswith(refused)
    assert numbers == "1000.0 1000.0"
