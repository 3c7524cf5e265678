"""Where results go: devices, pipes and links are written through, modes kept, full disks named."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

TEXT = "Rivers carry sand and stones to the sea."
SUMMARY = "Rivers carry sand and\n"


@pytest.fixture
def text(tmp_path) -> Path:
    (tmp_path / "in.txt").write_text(TEXT)
    (tmp_path / "rows.jsonl").write_text(f'{{"text": "{TEXT}"}}\n' * 3)
    return tmp_path


@pytest.mark.parametrize("source", ["in.txt", "rows.jsonl"])
@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_device_is_written_to_and_stays_one(run, text, source, options) -> None:
    ran = run("summarize", source, "-o", "/dev/null", *options)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_full_device_is_named(run, text) -> None:
    ran = run("summarize", "rows.jsonl", "-o", "/dev/full", "--format", "text")
    assert ran.code == 1
    assert ran.err == "pegasus: /dev/full cannot be written: no space left on device.\n"


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_named_pipe_is_written_to_and_stays_one(run, text, options) -> None:
    os.mkfifo(text / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((text / "pipe").read_text()))
    reader.start()
    ran = run("summarize", "rows.jsonl", "-o", "pipe", "--format", "text", *options)
    reader.join(10)
    assert (ran.code, read) == (0, [SUMMARY * 3])
    assert stat.S_ISFIFO((text / "pipe").stat().st_mode)


@pytest.mark.parametrize("source", ["in.txt", "rows.jsonl"])
def test_links_are_followed_also_to_where_nothing_is_yet(run, text, source) -> None:
    (text / "deep").mkdir()
    (text / "deep" / "old.txt").write_text("before")
    (text / "link").symlink_to("deep/old.txt")
    (text / "second").symlink_to("link")
    (text / "fresh").symlink_to(text / "deep" / "new.txt")
    assert "exists already" in run("summarize", source, "-o", "second", "--format", "text").err
    assert run("summarize", source, "-o", "second", "--format", "text", "--overwrite").code == 0
    assert run("summarize", source, "-o", "fresh", "--format", "text").code == 0
    written = SUMMARY * (3 if source == "rows.jsonl" else 1)
    assert (text / "deep" / "old.txt").read_text() == (text / "deep" / "new.txt").read_text() == written
    assert (text / "second").is_symlink()
    assert (text / "fresh").is_symlink()
    assert sorted(path.name for path in (text / "deep").iterdir()) == ["new.txt", "old.txt"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
@pytest.mark.parametrize("source", ["in.txt", "rows.jsonl"])
def test_a_file_that_is_replaced_keeps_its_mode(run, text, source, mode) -> None:
    path = text / "out.jsonl"
    path.write_text("before")
    path.chmod(mode)
    assert run("summarize", source, "-o", "out.jsonl", "--overwrite").code == 0
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert json.loads(path.read_text().splitlines()[0])["summary"] == SUMMARY.strip()


def test_a_new_file_has_the_mode_of_new_files(run, text) -> None:
    before = os.umask(0o027)
    try:
        run("summarize", "rows.jsonl", "-o", "out.jsonl")
        run("summarize", "in.txt", "-o", "out.txt")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((text / name).stat().st_mode) for name in ("out.jsonl", "out.txt")} == {0o640}


def test_all_names_of_a_file_see_what_is_written(run, text) -> None:
    (text / "one").write_text("before")
    os.link(text / "one", text / "two")
    assert run("summarize", "in.txt", "-o", "one", "--overwrite").code == 0
    assert (text / "two").read_text() == SUMMARY


def test_a_folder_is_no_file_for_all(run, text) -> None:
    (text / "folder").mkdir()
    (text / "link").symlink_to("folder")
    assert run("summarize", "in.txt", "-o", "link").code == 0
    assert (text / "folder" / "in.summary.txt").read_text() == SUMMARY


def test_an_output_must_have_a_name(run, text) -> None:
    ran = run("summarize", "in.txt", "-o", "")
    assert (ran.code, ran.err[:31]) == (2, "pegasus: --output names nothing")


@pytest.mark.parametrize("source", ["in.txt", "rows.jsonl"])
def test_a_full_disk_is_named_and_nothing_half_is_left(run, text, monkeypatch, source) -> None:
    before = sorted(text.iterdir())

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    ran = run("summarize", source, "-o", "out.jsonl")
    monkeypatch.undo()
    assert ran.code == 1
    assert "out.jsonl" in ran.err
    assert ran.err.endswith("cannot be written: no space left on device.\n")
    assert sorted(text.iterdir()) == before


def test_results_are_not_written_as_nan(run, text) -> None:
    (text / "odd.jsonl").write_text(
        '{"id": NaN, "text": "One two three."}\n{"id": [1, -Infinity], "text": "A b."}\n'
    )
    told = [
        json.loads(line, parse_constant=pytest.fail)
        for line in run("summarize", "odd.jsonl").out.splitlines()
    ]
    assert [each["id"] for each in told] == [None, [1, None]]


def test_control_characters_do_not_reach_the_terminal(run, text) -> None:
    name = "a\x1b[31mred\x07.txt"
    (text / name).write_text(TEXT)
    ran = run("summarize", name, f"no{name}", "in.txt")
    assert "\x1b" not in ran.out + ran.err
    assert "==> a\\x1b[31mred\\x07.txt <==" in ran.out
    assert "noa\\x1b[31mred\\x07.txt: There is no such file" in ran.err


# -- in a process of its own, whose streams are closed, full, or of another encoding

SCRIPT = """
import sys
sys.path[:0] = [{folder!r}]
import standin
from pegasus.cli.app import main
from pegasus.summarizer import Summarizer
from pegasus.summarizer.text_codec import TextCodec
reader = TextCodec(standin.WordTokenizer())
Summarizer.from_pretrained = lambda name, **_: Summarizer(standin.LeadWriter(), reader)
sys.exit(main(sys.argv[1:]))
"""
STANDIN = str(Path(__file__).parents[1] / "summarizer")


def in_process(place: Path, *arguments: str, shell: str = "", encoding: str = "utf-8", **more):
    program = [sys.executable, "-c", SCRIPT.format(folder=STANDIN), "summarize", *arguments]
    if shell:
        program = ["sh", "-c", f'"$@" {shell}', "sh", *program]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    return subprocess.run(program, cwd=place, capture_output=True, env=environment, timeout=60, **more)


ODD = "Łódź “is” a 都市 in Poland."


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "cp437"])
def test_json_is_always_utf8(tmp_path, encoding) -> None:
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"id": "ż", "text": ODD}) + "\n" + '{"text": "One two."}\n'
    )
    for form in ("json", "jsonl"):
        ran = in_process(tmp_path, "rows.jsonl", "--format", form, encoding=encoding)
        assert (ran.returncode, ran.stderr) == (0, b"")
        text = ran.stdout.decode("utf-8")
        told = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
        assert (told[0]["id"], told[0]["summary"]) == ("ż", "Łódź “is” a")
        assert len(told) == 2


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("latin-1", "?ódź ?is? a".encode("latin-1", "replace")), ("ascii", b"??d? ?is? a"), ("cp1250", None)],
)
def test_text_has_a_mark_for_what_stdout_lacks_and_that_is_said_once(tmp_path, encoding, shown) -> None:
    (tmp_path / "rows.jsonl").write_text((json.dumps({"text": ODD}) + "\n") * 4)
    ran = in_process(tmp_path, "rows.jsonl", "--format", "text", encoding=encoding)
    assert ran.returncode == 0
    if shown is None:
        assert (ran.stdout.decode(encoding), ran.stderr) == ("Łódź “is” a\n" * 4, b"")
        return
    assert ran.stdout.splitlines() == [shown] * 4
    said = ran.stderr.decode("ascii", "replace")
    assert said.count("\n") == 1
    assert "lacks characters such as" in said
    assert "PYTHONIOENCODING=utf-8" in said


def test_a_closed_stdout_is_said_and_a_closed_stderr_is_not_minded(text) -> None:
    ran = in_process(text, "in.txt", shell=">&-")
    assert ran.returncode == 1
    assert ran.stderr.startswith(b"pegasus: stdout is closed")
    ran = in_process(text, "none.txt", "in.txt", shell="2>&-")
    assert (ran.returncode, ran.stdout.count(b"==>")) == (3, 1)
    assert b"no such file" not in ran.stdout
    assert in_process(text, "in.txt", "-o", "out.txt", shell=">&- 2>&- <&-").returncode == 0
    assert (text / "out.txt").read_text() == SUMMARY
    assert in_process(text, shell="<&-").returncode == 2


def test_a_full_stdout_is_one_line(text) -> None:
    ran = in_process(text, "rows.jsonl", shell="> /dev/full")
    assert (ran.returncode, ran.stderr) == (
        1,
        b"pegasus: stdout cannot be written: no space left on device.\n",
    )


def test_a_reader_that_goes_away_ends_the_run_quietly(text) -> None:
    (text / "many.jsonl").write_text(f'{{"text": "{TEXT}"}}\n' * 3000)
    ran = in_process(text, "many.jsonl", shell="| head -n 1; wait")
    assert ran.stdout.count(b"\n") == 1
    assert ran.stderr == b""


def test_stdout_by_its_path_is_stdout(text) -> None:
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        ran = in_process(text, "in.txt", "-o", name, shell=">> kept.txt")
        assert (ran.returncode, ran.stderr) == (0, b"")
    assert (text / "kept.txt").read_text() == SUMMARY * 3


def test_lines_of_a_pipe_that_stays_open_are_answered_at_once(text) -> None:
    program = [sys.executable, "-c", SCRIPT.format(folder=STANDIN), "summarize", "--column", "text", "-"]
    with subprocess.Popen(
        program, cwd=text, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for number in range(3):
            process.stdin.write(json.dumps({"id": number, "text": f"Row{number} of a table."}) + "\n")
            process.stdin.flush()
            told = json.loads(process.stdout.readline())  # would wait for ever for the end of the pipe
            assert (told["id"], told["summary"]) == (number, f"Row{number} of")
        process.stdin.write('{"text": "A b c d."}\n{"id": "last", "text": "A b c d."}')
        process.stdin.close()
        assert [json.loads(line)["id"] for line in process.stdout] == [4, "last"]
    assert process.returncode == 0


def test_what_a_pipe_brings_together_is_computed_together(run, writer, text, monkeypatch) -> None:
    from pegasus.cli import arriving

    os.mkfifo(text / "pipe")
    monkeypatch.setattr(arriving, "_PATIENCE", 20)
    lines = (text / "rows.jsonl").read_text()
    feeding = threading.Thread(target=lambda: (text / "pipe").write_text(lines))
    feeding.start()
    ran = run("summarize", "--column", "text", "pipe")
    feeding.join(10)
    assert len(ran.out.splitlines()) == 3
    assert [len(batch) for batch in writer.batches] == [3]


def test_places_that_cannot_be_are_refused_in_words(run, text) -> None:
    (text / "circle").symlink_to("circle")
    for name in ("circle", "a" * 300 + ".txt", "b" * 250 + ".jsonl", "circle/x.txt"):
        for source in ("in.txt", "rows.jsonl"):
            ran = run("summarize", source, "-o", name)
            assert ran.code in (1, 2), ran.err
            assert name in ran.err
            assert "rrno" not in ran.err
            assert "unexpected" not in ran.err
    assert not [path for path in text.iterdir() if ".part" in path.name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "--output names nothing"),
        ("in.txt", "in.txt is a file, and a folder is written"),
        (os.devnull, f"{os.devnull} is a file, and a folder is written"),
        ("in.txt/below", "in.txt/below cannot be written: not a directory"),
        ("a" * 300, "cannot be written: file name too long"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "--data", "none.jsonl", "--no-model"),
        ("prepare", "rows.jsonl", "--tokenizer", "pegasus-mini", "--processes", "1"),
        ("pack", "pegasus-mini"),
    ],
    ids=lambda words: words[0],
)
def test_a_folder_that_cannot_be_written_is_told_before_the_work(run, text, command, name, said) -> None:
    ran = run(*command, "--output", name)
    assert ran.code in (1, 2)
    assert said in ran.err
    assert "none.jsonl" not in ran.err
