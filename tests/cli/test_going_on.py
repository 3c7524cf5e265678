"""Outputs that are interrupted, killed or out of space: nothing is lost, and the same command goes on."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pegasus.cli.app import main
from pegasus.cli.journal import Journal
from pegasus.cli.log import Log
from pegasus.cli.outputs import _Folder

WORDS = ["zebra", "horse", "fly", "stripe", "cloth", "study", "land", "water", "river", "house", "night"]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
COMMAND = (sys.executable, "-m", "pegasus", "summarize", "rows.jsonl", "-m", "model", "-o", "out.jsonl")


def write_rows(place: Path, count: int) -> list[str]:
    """Rows of random words; one in fifty cannot be summarized."""
    chance = random.Random(count)
    rows = [
        {"id": f"n{n}", "text": " ".join(chance.choices(WORDS, k=chance.randint(4, 20))) if n % 50 else ""}
        for n in range(count)
    ]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [row["id"] for row in rows]


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def start(place: Path, *options: str, command: tuple[str, ...] = COMMAND) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        (*command, "--threads", "1", *options),
        cwd=place,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def kill_after(process: subprocess.Popen, part: Path, size: int, number: signal.Signals) -> str:
    """Send a signal as soon as the part file has grown to a size; return what was said on stderr."""
    while process.poll() is None:
        if part.exists() and part.stat().st_size >= size:
            process.send_signal(number)
            break
        time.sleep(0.002)
    return process.communicate()[1]


def kill_again_and_again(place: Path, count: int, kills: int) -> list[int]:
    """Run to the end, killed so often on the way; return how many rows were there after each kill."""
    wanted = write_rows(place, count)
    output, part, log = (place / f"out.jsonl{ending}" for ending in ("", ".part", ".part.log"))
    chance = random.Random(kills)
    bytes_of_row = 300  # or a little more
    kept: list[int] = []
    for kill in range(kills):
        size = part.stat().st_size if part.exists() else 0
        size += chance.randint(1, bytes_of_row * count // (kills + 1))
        told = kill_after(start(place), part, size, SIGNALS[kill % len(SIGNALS)])
        assert not kept or f"{kept[-1]:,} results were there already" in told
        if output.exists():  # it was quicker than the one who kills
            break
        written = ids_of(part.read_bytes())
        assert written == wanted[: len(written)]
        kept.append(min(len(written), log.read_bytes().count(b"\n") - 1))
    if not output.exists():
        last = start(place)
        told = last.communicate()[1]
        assert last.returncode == 3, told
        assert f"{kept[-1]:,} results were there already" in told
    assert ids(output) == wanted
    assert sorted(path.name for path in place.iterdir()) == ["model", "out.jsonl", "rows.jsonl"]
    return kept


def ids_of(text: bytes) -> list[str]:
    return [json.loads(line)["id"] for line in text[: text.rfind(b"\n") + 1].splitlines()]


def test_a_run_that_is_killed_goes_on(model, tmp_path) -> None:
    (tmp_path / "model").symlink_to(model)
    kept = kill_again_and_again(tmp_path, 400, 3)
    assert kept
    assert kept == sorted(kept)


@pytest.mark.slow
def test_a_long_run_that_is_killed_ten_times_goes_on(model, tmp_path) -> None:
    (tmp_path / "model").symlink_to(model)
    kept = kill_again_and_again(tmp_path, 1_500, 10)
    assert len(set(kept)) > 5


def test_a_full_disk_names_the_file_and_loses_nothing(model, tmp_path) -> None:
    (tmp_path / "model").symlink_to(model)
    wanted = write_rows(tmp_path, 120)
    full = subprocess.run(
        (*COMMAND, "--threads", "1"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY)),
    )
    assert full.returncode == 1
    kept = ids(tmp_path / "out.jsonl.part")
    assert 10 < len(kept) < 120
    assert kept == wanted[: len(kept)]
    said = full.stderr.splitlines()[-2:]
    assert said[0] == (
        f"pegasus: {len(kept)} results are kept in out.jsonl.part: the same command goes on from there"
    )
    assert said[1] == "pegasus: out.jsonl.part cannot be written: file too large."
    assert not list(tmp_path.glob(".*"))
    last = start(tmp_path)
    assert f"{len(kept)} results were there already" in last.communicate()[1]
    assert ids(tmp_path / "out.jsonl") == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out.jsonl", "rows.jsonl"]


# -- within this process, over a stand-in ------------------------------------------------------------------


class Stopping:
    """Raises an error when a writer is asked for the nth time."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.left, self.error = after, error

    def __call__(self, job):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return job.tokens[:2]


@pytest.fixture
def rows(tmp_path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text(
        "".join(json.dumps({"id": n, "text": f"Water{n} under a bridge."}) + "\n" for n in range(12))
    )
    return path


def interrupt(run, writer, *arguments: str, after: int = 5, error: BaseException | None = None):
    writer.says = Stopping(after, error or KeyboardInterrupt())
    ran = run("summarize", *arguments, "--batch-size", "1")
    writer.says = None
    return ran


@pytest.mark.parametrize("name", ["out.txt", "out.json", "out.ndjson"])
def test_every_form_goes_on_and_ends_as_if_never_interrupted(run, writer, rows, tmp_path, name) -> None:
    run("summarize", "in.jsonl", "-o", f"whole-{name}")
    ran = interrupt(run, writer, "in.jsonl", "-o", name, after=7)
    assert ran.code == 130
    assert f"7 results are kept in {tmp_path / name}.part".replace(f"{tmp_path}/", "") in ran.err
    again = run("summarize", "in.jsonl", "-o", name)
    assert again.code == 0
    assert "7 results were there already" in again.err

    def without_time(path: Path) -> list[str]:
        return [
            line for line in path.read_text().replace(",", ",\n").splitlines() if '"seconds"' not in line
        ]

    assert without_time(tmp_path / name) == without_time(tmp_path / f"whole-{name}")
    assert not list(tmp_path.glob(f"{name}.part*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--length", "short"], "--length was not given and is short"),
        (["--sentences", "2"], "--sentences was not given and is 2"),
        (["-m", "other"], "model was pegasus-mini and is other"),
        (["--format", "json"], "form was jsonl and is json"),
        (["more.jsonl"], "inputs was in.jsonl and is in.jsonl, more.jsonl"),
        (["--column", "text"], "--column was not given and is text"),
    ],
)
def test_other_options_are_refused_by_name(run, writer, rows, tmp_path, options, said) -> None:
    interrupt(run, writer, "in.jsonl", "-o", "out.jsonl")
    before = (tmp_path / "out.jsonl.part").read_bytes()
    ran = run("summarize", "in.jsonl", *options, "-o", "out.jsonl")
    assert ran.code == 2
    assert said in ran.err
    assert (tmp_path / "out.jsonl.part").read_bytes() == before
    assert not (tmp_path / "out.jsonl").exists()
    assert run("summarize", "in.jsonl", *options, "-o", "out.jsonl", "--overwrite").code in (0, 3)
    assert (tmp_path / "out.jsonl").exists()


def test_other_weights_in_the_same_folder_are_refused(run, writer, rows, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.safetensors").write_bytes(bytes(1_000_000))
    interrupt(run, writer, "in.jsonl", "-m", "mine", "-o", "out.jsonl")
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"\1" * 1_000_000)
    ran = run("summarize", "in.jsonl", "-m", "mine", "-o", "out.jsonl")
    assert ran.code == 2
    assert "its weights was" in ran.err


def test_batches_and_threads_may_be_others(run, writer, rows, tmp_path) -> None:
    interrupt(run, writer, "in.jsonl", "-o", "out.jsonl")
    ran = run("summarize", "in.jsonl", "-o", "out.jsonl", "--threads", "1", "--batch-size", "7")
    assert ran.code == 0
    assert ids(tmp_path / "out.jsonl") == list(range(12))


def test_an_input_that_changed_is_refused_and_one_that_grew_is_gone_on_with(
    run, writer, rows, tmp_path
) -> None:
    interrupt(run, writer, "in.jsonl", "-o", "out.jsonl")
    text = rows.read_text()
    rows.write_text(text.replace("Water3 ", "Wine "))
    ran = run("summarize", "in.jsonl", "-o", "out.jsonl")
    assert ran.code == 2
    assert "Text 4 of 5 that out.jsonl.part holds results of is another one now (in.jsonl:4)" in ran.err
    rows.write_text("".join(text.splitlines(keepends=True)[:2]))
    assert "Text 3 of 5" in run("summarize", "in.jsonl", "-o", "out.jsonl").err
    rows.write_text(text + '{"id": "last", "text": "One two three four."}\n')
    assert run("summarize", "in.jsonl", "-o", "out.jsonl").code == 0
    assert ids(tmp_path / "out.jsonl") == [*range(12), "last"]


def test_a_changed_input_keeps_what_still_holds_when_overwriting(run, writer, rows, tmp_path) -> None:
    interrupt(run, writer, "in.jsonl", "-o", "out.jsonl")
    rows.write_text(rows.read_text().replace("Water3 ", "Wine "))
    assert run("summarize", "in.jsonl", "-o", "out.jsonl", "--overwrite").code == 0
    assert ids(tmp_path / "out.jsonl") == list(range(12))
    written = [json.loads(line)["summary"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written[3].startswith("Wine")
    assert written[2].startswith("Water2")


@pytest.mark.parametrize("torn", ["out.jsonl.part", "out.jsonl.part.log"])
@pytest.mark.parametrize("cut", [1, 30])
def test_half_a_line_is_dropped(run, writer, rows, tmp_path, torn, cut) -> None:
    interrupt(run, writer, "in.jsonl", "-o", "out.jsonl")
    path = tmp_path / torn
    path.write_bytes(path.read_bytes()[:-cut])
    ran = run("summarize", "in.jsonl", "-o", "out.jsonl")
    assert ran.code == 0
    assert "results were there already" in ran.err
    assert ids(tmp_path / "out.jsonl") == list(range(12))


def test_zeros_after_a_crash_of_the_machine_are_dropped(run, writer, rows, tmp_path) -> None:
    interrupt(run, writer, "in.jsonl", "-o", "out.jsonl")
    with (tmp_path / "out.jsonl.part").open("ab") as part:
        part.write(bytes(500) + b"\n")
    assert run("summarize", "in.jsonl", "-o", "out.jsonl").code == 0
    assert ids(tmp_path / "out.jsonl") == list(range(12))


def test_a_part_file_of_somebody_else_is_left_alone(run, rows, tmp_path) -> None:
    (tmp_path / "out.jsonl.part").write_text("mine\n")
    ran = run("summarize", "in.jsonl", "-o", "out.jsonl")
    assert ran.code == 2
    assert "out.jsonl.part holds results of another run" in ran.err
    assert (tmp_path / "out.jsonl.part").read_text() == "mine\n"


def test_two_runs_do_not_write_one_file(run, writer, rows, tmp_path) -> None:
    codes = []

    def again(job):
        writer.says = None
        codes.append(main(["summarize", "in.jsonl", "-o", "out.jsonl"]))
        return job.tokens[:3]

    writer.says = again
    ran = run("summarize", "in.jsonl", "-o", "out.jsonl")
    assert (codes, ran.code) == ([2], 0)
    assert "Another process writes out.jsonl.part.log" in ran.err
    assert ids(tmp_path / "out.jsonl") == list(range(12))


def test_a_folder_goes_on_with_the_files_that_are_not_done(run, writer, rows, tmp_path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(f"File {name} holds a text.")
    command = ("a.txt", "none.txt", "in.jsonl", "b.txt", "c.txt", "-o", "out/")
    ran = interrupt(run, writer, *command, after=6)
    assert ran.code == 130
    assert "5 results are kept in out/in.summary.txt.part" in ran.err
    done = (tmp_path / "out" / "a.summary.txt").stat().st_ino
    again = run("summarize", *command)
    assert again.code == 3
    assert "2 of 5 files were done already" in again.err
    assert "5 results were there already" in again.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.summary.txt",
        "b.summary.txt",
        "c.summary.txt",
        "in.summary.txt",
    ]
    assert (tmp_path / "out" / "a.summary.txt").stat().st_ino == done
    assert len((tmp_path / "out" / "in.summary.txt").read_text().splitlines()) == 12
    assert "exists already" in run("summarize", *command).err


def test_an_unexpected_error_keeps_what_is_done_too(run, writer, rows, tmp_path) -> None:
    ran = interrupt(run, writer, "in.jsonl", "-o", "out.jsonl", error=MemoryError("too large"))
    assert ran.code == 1
    assert "5 results are kept in out.jsonl.part" in ran.err
    assert run("summarize", "in.jsonl", "-o", "out.jsonl").code == 0


def test_what_fails_before_the_first_result_leaves_nothing(run, writer, rows, tmp_path) -> None:
    before = sorted(tmp_path.iterdir())
    interrupt(run, writer, "in.jsonl", "-o", "out.jsonl", after=0)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("seed", range(12))
def test_wherever_both_files_are_torn_every_row_is_there_once(run, writer, rows, tmp_path, seed) -> None:
    chance = random.Random(seed)
    interrupt(run, writer, "in.jsonl", "-o", "out.jsonl", after=9)
    for name in ("out.jsonl.part", "out.jsonl.part.log"):
        data = (tmp_path / name).read_bytes()
        begin = data.index(b"\n") if name.endswith("log") else 1  # without its head it is nobody's
        (tmp_path / name).write_bytes(data[: chance.randint(begin + 1, len(data))])
    assert run("summarize", "in.jsonl", "-o", "out.jsonl").code == 0
    assert ids(tmp_path / "out.jsonl") == list(range(12))
    assert not list(tmp_path.glob("out.jsonl.*"))


@pytest.mark.parametrize("into", ["out.jsonl", "out.txt", "out.json", "out/"])
def test_what_is_killed_before_it_has_tidied_up_is_finished_by_the_same_command(
    run, writer, rows, tmp_path, monkeypatch, into
) -> None:
    command = ("summarize", "in.jsonl", "-o", into)
    with monkeypatch.context() as patch:
        patch.setattr(Log, "remove", Log.close)
        patch.setattr(_Folder, "_note", lambda *_: None)
        assert run(*command).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(path.name.endswith(".part.log") for path in before)
    seen = len(writer.batches)
    again = run(*command)
    assert again.code == 0, again.err
    assert len(writer.batches) == seen
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {path: data for path, data in before.items() if path.suffix != ".log"}
    assert "exists already" in run(*command).err


@pytest.mark.parametrize("name", ["out.jsonl", "out.json"])
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_killed_while_its_output_takes_its_place_goes_on(
    run, writer, rows, tmp_path, monkeypatch, name, moved, overwrite
) -> None:
    command = ("summarize", "in.jsonl", "-o", name, *(["--overwrite"] * overwrite))
    if overwrite:
        (tmp_path / name).write_text("old")

    def killed(self: Journal) -> None:
        if moved:
            tidy(self)
        raise KeyboardInterrupt

    tidy = Journal._move
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_move", killed)
        assert run(*command).code == 130
    seen = len(writer.batches)
    assert run("summarize", "in.jsonl", "-o", name).code == 0
    assert len(writer.batches) == seen
    text = (tmp_path / name).read_text()
    assert len(text.splitlines() if name == "out.jsonl" else json.loads(text)) == 12
    assert not list(tmp_path.glob("*.part*"))


def test_an_input_that_grew_after_such_a_kill_is_gone_on_with_or_refused(
    run, writer, rows, tmp_path, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Log, "remove", Log.close)
        run("summarize", "in.jsonl", "-o", "out.jsonl")
        run("summarize", "in.jsonl", "-o", "out.json")
    with rows.open("a") as stream:
        stream.write('{"id": 12, "text": "One more row."}\n')
    assert run("summarize", "in.jsonl", "-o", "out.jsonl").code == 0
    assert ids(tmp_path / "out.jsonl") == list(range(13))
    refused = run("summarize", "in.jsonl", "-o", "out.json")
    assert refused.code == 2
    assert "out.json exists already, without in.jsonl:13" in refused.err
    assert len(json.loads((tmp_path / "out.json").read_text())) == 12
    assert run("summarize", "in.jsonl", "-o", "out.json", "--overwrite").code == 0
    assert len(json.loads((tmp_path / "out.json").read_text())) == 13


def test_a_folder_of_single_texts_that_is_stopped_goes_on(run, writer, tmp_path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(f"File {name} holds a text.")
    command = ("a.txt", "b.txt", "c.txt", "-o", "out/")
    assert interrupt(run, writer, *command, after=2).code == 130
    done = sorted(path.name for path in (tmp_path / "out").glob("*.txt"))
    assert done == ["a.summary.txt", "b.summary.txt"]
    again = run("summarize", *command)
    assert again.code == 0, again.err
    assert "2 of 3 files were done already" in again.err


def test_a_file_of_a_folder_that_nothing_was_noted_of_is_made_again(
    run, writer, tmp_path, monkeypatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"File {name} holds a text.")
    (tmp_path / "out").mkdir()
    add = Log.add

    def killed(self: Log, line: str) -> None:
        if len(json.loads(line)) > 1:
            raise KeyboardInterrupt
        add(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "add", killed)
        assert run("summarize", "a.txt", "b.txt", "-o", "out/").code == 130
    assert (tmp_path / "out" / "a.summary.txt").exists()
    again = run("summarize", "a.txt", "b.txt", "-o", "out/")
    assert again.code == 0, again.err
    assert sorted(os.listdir(tmp_path / "out")) == ["a.summary.txt", "b.summary.txt"]


@pytest.mark.parametrize("into", [(), ("-o", "out.jsonl"), ("-o", "out.txt"), ("-o", "out/")])
def test_the_exit_code_is_the_same_wherever_results_go(run, writer, tmp_path, into) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": ""}\n{"text": 5}\n')
    (tmp_path / "mixed.jsonl").write_text('{"text": ""}\n{"text": 5}\n{"text": "Water under a bridge."}\n')
    assert run("summarize", "bad.jsonl", *into, "--overwrite").code == 1
    assert run("summarize", "mixed.jsonl", *into, "--overwrite").code == 3
