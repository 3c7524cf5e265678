"""Bulk jobs: killed, shared, stopped, poisoned, out of space; each row is there exactly once."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pegasus.cli.bulk.claims import Claims
from pegasus.cli.bulk.pace import Pace, in_words
from pegasus.cli.bulk.part import Part
from pegasus.summarizer import Summarizer

SMALL_TOKENIZER = Path(__file__).parents[1] / "fixtures" / "tokenizer-small"
WORKER = Path(__file__).with_name("bulk_worker.py")
WORDS = ["zebra", "horse", "fly", "stripe", "cloth", "study", "land", "water", "river", "house", "night"]
COMMAND = ("summarize", "rows.jsonl", "-m", "model", "-o", "out/", "--bulk", "--threads", "1")
BATCH = 16  # the default


@pytest.fixture
def place(model, tmp_path) -> Path:
    (tmp_path / "model").symlink_to(model)
    return tmp_path


def write_rows(place: Path, count: int, **marks: str) -> list[str]:
    """Rows of random words; one in fifty has no text, and those named by `marks` a word more."""
    chance = random.Random(count)
    texts = [
        " ".join(chance.choices(WORDS, k=chance.randint(4, 20))) if n % 50 else "" for n in range(count)
    ]
    ids = [f"n{n}" for n in range(count)]
    rows = [{"id": id, "text": f"{text} {marks.get(id, '')}"} for id, text in zip(ids, texts)]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ids


def start(place: Path, *options: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        (sys.executable, WORKER, *COMMAND, *options),
        cwd=place,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        # Where the tests run in the background SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    told = process.communicate(timeout=240)[1]
    return process.returncode, told


def records(place: Path) -> list[dict]:
    """All rows of the finished parts, in order."""
    parts = sorted((place / "out").glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def begun(place: Path) -> int:
    """How often any row was begun, as the finished parts say."""
    return sum(json.loads(path.read_text())["tries"] for path in (place / "out/.pegasus").glob("*.done"))


def tries(place: Path) -> int:
    """How often any row or batch was begun, as the logs of unfinished parts say."""
    return sum(path.read_text().count('"try"') for path in (place / "out/.pegasus").glob("*.log"))


def written(place: Path) -> int:
    paths = [*(place / "out").glob("part-*.jsonl"), *(place / "out/.pegasus").glob("*.log")]
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # finished in between
            continue
    return total


def wait_until(true, process: subprocess.Popen | None = None) -> None:
    while not true() and (process is None or process.poll() is None):
        time.sleep(0.005)


def kill_again_and_again(place: Path, count: int, kills: int, seed: int) -> None:
    wanted = write_rows(place, count)
    chance = random.Random(seed)
    killed = 0
    for _ in range(kills):
        process = start(place, "--part-rows", "100")
        until = written(place) + chance.randint(1, 280 * count // (kills + 2))
        wait_until(lambda size=until: written(place) >= size, process)
        process.kill()
        killed += finish(process)[0] == -signal.SIGKILL
    code, told = finish(start(place))
    assert code == 3, told
    assert [record["id"] for record in records(place)] == wanted
    assert killed == kills
    unreadable = count // 50
    assert 0 <= begun(place) - (count - unreadable) <= kills * BATCH
    assert [("error" in record) for record in records(place)] == [n % 50 == 0 for n in range(count)]
    assert not list((place / "out/.pegasus").glob("*.log"))


@pytest.mark.parametrize("seed", [1])
def test_killed_at_random_each_id_is_there_once(place, seed) -> None:
    kill_again_and_again(place, 200, 3, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_five_thousand_documents_killed_ten_times(place, seed) -> None:
    kill_again_and_again(place, 5_000, 10, seed)


def test_a_row_that_kills_the_process_is_found_and_the_others_are_done(place) -> None:
    wanted = write_rows(place, 60, n17="KILLER", n23="FAULT")
    codes = []
    for _ in range(4):
        code, told = finish(start(place, "--part-rows", "50"))
        codes.append(code)
        if code >= 0:
            break
    assert codes == [-signal.SIGKILL] * 3 + [3], told
    rows = records(place)
    assert [row["id"] for row in rows] == wanted
    failed = {row["id"]: (row["error"], row["tries"]) for row in rows if "tries" in row}
    assert failed == {
        "n17": ("tried 3 times without a result: the process that computed it was gone", 3),
        "n23": ("tried 3 times without a result: RuntimeError: out of everything", 3),
    }
    assert [row["id"] for row in rows if "error" in row] == ["n0", "n17", "n23", "n50"]
    errors = [json.loads(line) for line in (place / "out/errors-00000.jsonl").read_text().splitlines()]
    assert errors == [row for row in rows[:50] if "error" in row]


def test_stopping_in_good_order_is_not_held_against_a_row(place) -> None:
    write_rows(place, 12, n5="SLOW")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        before = tries(place)
        process = start(place, SLOW="30")
        wait_until(lambda least=before: tries(place) > least, process)
        process.send_signal(number)
        code, told = finish(process)
        assert code in (130, 143), told
    code, told = finish(start(place))
    assert code == 3, told
    assert [row["id"] for row in records(place) if "error" in row] == ["n0"]


def test_several_workers_share_a_folder(place) -> None:
    wanted = write_rows(place, 300)
    options: list[tuple[str, ...]] = [(), (), ("--shard", "2/3")]
    ends = [finish(process) for process in [start(place, "--part-rows", "30", *each) for each in options]]
    assert [code for code, _ in ends] == [3, 3, 3], ends
    assert [row["id"] for row in records(place)] == wanted
    assert begun(place) == 294
    assert sum("counting the rows" in told for _, told in ends) == 1


def test_a_worker_that_stands_still_is_taken_over_and_harms_nothing(place) -> None:
    wanted = write_rows(place, 40, n3="SLOW", n7="SLOW", n33="SLOW")
    still = start(place, "--part-rows", "20", "--batch-size", "2", STALE="1")
    log = place / "out/.pegasus/00000.0.log"
    wait_until(lambda: log.exists() and '"row"' in log.read_text(), still)
    still.send_signal(signal.SIGSTOP)
    code, told = finish(start(place, "--batch-size", "2", STALE="1"))
    assert code == 3, told
    assert [row["id"] for row in records(place)] == wanted
    before = {path: path.read_bytes() for path in (place / "out").glob("part-*")}
    still.send_signal(signal.SIGCONT)
    code, told = finish(still)
    assert code == 3, told
    assert {path: path.read_bytes() for path in (place / "out").glob("part-*")} == before


def test_shards_are_done_apart_and_joined(place) -> None:
    wanted = write_rows(place, 90)
    for shard, expected in ((1, 3), (2, 0), (3, 3)):  # of the rows without a text the second has none
        code, told = finish(
            start(place, "--part-rows", "20", "--shard", f"{shard}/3", "-o", f"out-{shard}")
        )
        assert code == expected, told
    join = (sys.executable, "-m", "pegasus", "join")
    short = subprocess.run(
        (*join, "out-1", "out-2", "-o", "all.jsonl"), cwd=place, capture_output=True, text=True
    )
    assert short.returncode == 2
    assert "1 of 5 parts are not there (00002)" in short.stderr
    assert not (place / "all.jsonl").exists()
    subprocess.run((*join, "out-3", "out-1", "out-2", "-o", "all.jsonl"), cwd=place, check=True)
    rows = [json.loads(line) for line in (place / "all.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == wanted


def test_a_full_disk_loses_nothing(place) -> None:
    wanted = write_rows(place, 120)
    limit = (9_000, resource.RLIM_INFINITY)
    full = subprocess.run(
        (sys.executable, "-m", "pegasus", *COMMAND),
        cwd=place,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert full.returncode == 1
    assert "00000.0.log cannot be written: file too large. What was done before is kept" in full.stderr
    code, told = finish(start(place))
    assert code == 3, told
    assert [row["id"] for row in records(place)] == wanted
    assert 118 <= begun(place) <= 118 + BATCH


# -- within this process, over a stand-in ------------------------------------------------------------------


@pytest.fixture
def rows(tmp_path) -> Path:
    path = tmp_path / "in.jsonl"
    lines = [json.dumps({"id": n, "text": f"Water{n} under a bridge."}) for n in range(12)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


BULK = ("summarize", "in.jsonl", "-o", "out/", "--part-rows", "5")


def test_parts_are_what_one_file_holds_in_its_order(run, rows, tmp_path) -> None:
    assert run("summarize", "in.jsonl", "-o", "one.jsonl").code == 0
    assert run(*BULK).code == 0
    assert run("join", "out", "-o", "all.jsonl").code == 0

    def told(name: str) -> list[dict]:
        found = map(json.loads, (tmp_path / name).read_text().splitlines())
        return [{**row, "seconds": 0} for row in found]

    assert told("all.jsonl") == told("one.jsonl")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".pegasus",
        "job.json",
        *(f"part-{n:05d}.jsonl" for n in range(3)),
    ]
    again = run(*BULK)
    assert (again.code, run.opened) == (0, 2)
    assert "12 of 12 rows were done already" in again.err
    assert run("summarize", "in.jsonl", "-o", "out").code == 0  # the folder says that it is a bulk job


def test_what_join_writes_and_what_it_refuses(run, rows, tmp_path) -> None:
    assert run("join", "nothing", "-o", "all.jsonl").code == 2
    run(*BULK)
    assert run("join", "out", "-o", "all.jsonl").code == 0
    wanted = (tmp_path / "all.jsonl").read_text()
    assert run("join", "out", "-o", "-").out == wanted
    for target, options, said in (
        ("all.jsonl", (), "all.jsonl exists already: add --overwrite"),
        ("out", (), "out is a folder: name a file"),
        ("out/part-00001.jsonl", ("--overwrite",), "is one of the parts: name another file"),
        ("none/all.jsonl", (), "none/all.jsonl cannot be written"),
    ):
        ran = run("join", "out", "-o", target, *options)
        assert ran.code in (1, 2)
        assert said in ran.err
    assert run("join", "out", "-o", "all.jsonl", "--overwrite").code == 0
    part = tmp_path / "out/part-00001.jsonl"
    part.write_text("".join(part.read_text().splitlines(keepends=True)[1:]))
    ran = run("join", "out", "-o", "all.jsonl", "--overwrite")
    assert ran.code == 2
    assert "part-00001.jsonl does not hold a line for each of its rows" in ran.err
    assert (tmp_path / "all.jsonl").read_text() == wanted
    part.unlink()
    assert run(*BULK).code == 0
    assert run("join", "out", "-o", "all.jsonl", "--overwrite").code == 0
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 12


def test_a_folder_within_what_is_read_is_refused(run, rows, tmp_path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("One two three four.")
    ran = run("summarize", "texts", "-o", "texts/out/", "--bulk")
    assert ran.code == 2
    assert "texts/out/ lies in texts, which is read" in ran.err
    assert run("summarize", "texts", "-o", "out/", "--bulk").code == 0
    assert json.loads((tmp_path / "out/part-00000.jsonl").read_text())["file"] == "texts/a.txt"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "-"], "A bulk job writes a folder, and stdout is none"),
        (["-o", "in.jsonl"], "A bulk job writes a folder, and in.jsonl is none"),
        (["--format", "text"], "A bulk job writes JSON lines"),
        (["--part-rows", "0"], "--part-rows must be at least 1; found 0"),
        (["--shard", "4/3"], "--shard is I/N, such as 1/8 to 8/8; found 4/3"),
        (["--shard", "0/3"], "found 0/3"),
        (["--shard", "two"], "found two"),
        (["--ray-actors", "3"], "are for --engine ray"),
    ],
)
def test_options_that_make_no_sense(run, rows, tmp_path, options, said) -> None:
    ran = run(*BULK, *options)
    assert ran.code == 2
    assert said in ran.err
    assert not (tmp_path / "out").exists()


def test_stdin_and_names_of_nothing(run, rows, tmp_path) -> None:
    ran = run("summarize", "-o", "out/", "--bulk", stdin=b'{"text": "One two three four."}\n')
    assert ran.code == 2
    assert "stdin can be read once only" in ran.err
    ran = run("summarize", "none.jsonl", "-o", "out/", "--bulk")
    assert ran.code == 1
    assert "none.jsonl" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--length", "short"], "--length was not given and is short"),
        (["-m", "other"], "model was pegasus-mini and is other"),
        (["--part-rows", "6"], "--part-rows was 5 and is 6"),
        (["in.jsonl", "more.jsonl"], "inputs was in.jsonl and is in.jsonl, more.jsonl"),
    ],
)
def test_another_job_in_the_same_folder_is_refused_by_name(run, rows, tmp_path, options, said) -> None:
    (tmp_path / "more.jsonl").write_text('{"text": "One two three four."}\n')
    run(*BULK)
    command = ("summarize", *options, *BULK[2:]) if "more.jsonl" in options else (*BULK, *options)
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.json*")}
    ran = run(*command)
    assert ran.code == 2
    assert said in ran.err
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("*.json*")} == before
    assert run(*command, "--overwrite").code == 0
    assert run(*command).code == 0


@pytest.mark.parametrize("change", ["a row", "more rows", "fewer rows", "another order"])
def test_an_input_that_changed_is_refused(run, rows, tmp_path, change) -> None:
    run(*BULK)
    (tmp_path / "out/part-00002.jsonl").unlink()
    lines = rows.read_text().splitlines(keepends=True)
    changed = {
        "a row": [*lines[:3], lines[3].replace("Water3 ", "Wine "), *lines[4:]],
        "more rows": [*lines, *(json.dumps({"id": n, "text": "a b c d."}) + "\n" for n in range(12, 20))],
        "fewer rows": lines[:10],
        "another order": lines[::-1],
    }
    rows.write_text("".join(changed[change]))
    ran = run(*BULK)
    assert ran.code == 2
    assert "The input has changed since out/job.json was made (" in ran.err
    assert run(*BULK, "--overwrite").code == 2  # it is the same job: nothing of it is thrown away
    rows.write_text("".join(lines))
    assert run(*BULK).code == 0


def test_parts_of_nobody_are_left_alone(run, rows, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/part-00000.jsonl").write_text("mine\n")
    ran = run(*BULK)
    assert ran.code == 2
    assert "out holds parts, and no job.json that says what of" in ran.err
    assert (tmp_path / "out/part-00000.jsonl").read_text() == "mine\n"
    assert run(*BULK, "--overwrite").code == 0


def test_rows_with_equal_ids_have_a_line_each(run, tmp_path) -> None:
    ids = [1, "1", 1.0, True, None, "a", "a", {"b": 1}]
    lines = [json.dumps({"id": id, "text": f"Water{n} under a bridge."}) for n, id in enumerate(ids)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    ran = run(*BULK)
    assert ran.code == 0
    assert "1 row has an id that an earlier row has too (first 'a' of in.jsonl:7)" in ran.err
    run("join", "out", "-o", "all.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [(type(row["id"]), row["line"]) for row in rows[:4]] == [
        (int, 1),
        (str, 2),
        (float, 3),
        (bool, 4),
    ]
    assert len(rows) == 8


def test_empty_inputs_and_empty_shards(run, rows, tmp_path) -> None:
    ran = run(*BULK, "--shard", "7/8")
    assert ran.code == 0
    assert "this shard has no part: the job has 3" in ran.err
    assert run.opened == 0
    (tmp_path / "none.csv").write_text("id,text\n")
    ran = run("summarize", "none.csv", "-o", "none/", "--bulk")
    assert ran.code == 1
    assert "none.csv: It holds no text: there is nothing to read." in ran.err
    assert "1 row in 1 part of none, 1 without a summary" in ran.err
    assert run("join", "none", "-o", "none.jsonl").code == 0
    assert json.loads((tmp_path / "none.jsonl").read_text())["file"] == "none.csv"


def test_when_every_row_fails_it_is_not_held_against_all_of_them(run, rows, tmp_path, monkeypatch) -> None:
    def broken(*_, **__):
        raise RuntimeError("the device is lost")

    with monkeypatch.context() as patch:
        patch.setattr(Summarizer, "attempt", broken)
        ran = run("summarize", "in.jsonl", "-o", "out/", "--bulk", "--batch-size", "1")
        assert ran.code == 1
        assert (
            "10 rows one after the other came to nothing in 3 tries each (RuntimeError: the device"
            in ran.err
        )
    assert run("summarize", "in.jsonl", "-o", "out/").code == 3
    rows = [json.loads(line) for line in (tmp_path / "out/part-00000.jsonl").read_text().splitlines()]
    assert sum("error" in row for row in rows) == 10
    assert len(rows) == 12


def test_a_model_that_cannot_be_opened_costs_no_row_a_try(run, rows, tmp_path, monkeypatch) -> None:
    ran = run(*BULK, "-m", "pegasus-mini", "--num-beams", "65")
    assert ran.code == 2
    assert not (tmp_path / "out").exists()


def test_another_machine_that_has_other_weights_is_refused(run, rows, tmp_path) -> None:
    from pegasus.cli.bulk.compute import Opening
    from pegasus.errors import BadSetting

    opening = Opening("model", "0123456789abcdef", None, "cpu", "auto", 1, {})
    with pytest.raises(BadSetting, match="other weights on one of the machines"):
        opening()


def test_without_ray_its_engine_is_refused_in_a_sentence(run, rows, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = (
        "--engine ray needs the package ray, which is not installed: pip install 'pegasus-summarizer[ray]'."
    )
    ran = run(*BULK, "--engine", "ray")
    assert (ran.code, ran.err.splitlines()[-1]) == (1, f"pegasus: {said}")
    command = (
        "prepare",
        "in.jsonl",
        "--tokenizer",
        str(SMALL_TOKENIZER),
        "-o",
        "shards",
        "--engine",
        "ray",
    )
    ran = run(*command)
    assert (ran.code, ran.err.splitlines()[-1]) == (1, f"pegasus: {said}")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_was_given_to_another_job_is_left_to_it(run, writer, rows, tmp_path) -> None:
    def taken_over(job):
        path = tmp_path / "out/job.json"
        path.write_text(path.read_text().replace('"rows": 12', '"rows": 13'))
        return job.tokens[:2]

    writer.says = taken_over
    ran = run(*BULK)
    assert ran.code == 2
    assert "out belongs to another job now" in ran.err
    assert not list((tmp_path / "out").glob("part-*"))


# -- claims ------------------------------------------------------------------------------------------------


def test_of_many_who_come_together_one_gets_the_claim(tmp_path) -> None:
    everyone = [Claims(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for turn in range(20):
            got = list(pool.map(lambda claims, turn=turn: claims.take(f"{turn:05d}"), everyone))
            assert sum(claim is not None for claim in got) == 1
    for claims in everyone:
        claims.close()
    again = Claims(tmp_path)
    assert (claim := again.take("00000")) is not None
    assert claim.turn == 1
    again.close()


def test_a_claim_of_another_machine_is_stale_when_its_count_stands_still(tmp_path) -> None:
    theirs = Claims(tmp_path, beat=0.02)
    theirs._maker = {**theirs._maker, "machine": "another", "pid": 1}
    claim = theirs.take("00000")
    mine = Claims(tmp_path, stale=0.3)
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        assert mine.take("00000") is None
        time.sleep(0.01)
    theirs._closed.set()
    theirs._thread.join()
    assert mine.take("00000") is None
    assert not claim.is_lost()
    wait_until(lambda: mine.take("00000") is not None)
    assert claim.is_lost()
    mine.close()


def test_a_claim_of_a_process_that_is_gone_is_free_at_once(tmp_path) -> None:
    script = "import os, sys; from pathlib import Path; from pegasus.cli.bulk.claims import Claims\n"
    script += "Claims(Path(sys.argv[1])).take('00000'); os._exit(1)"
    subprocess.run((sys.executable, "-c", script, str(tmp_path)), check=False)
    mine = Claims(tmp_path)
    assert (claim := mine.take("00000")) is not None
    assert claim.turn == 1
    mine.close()


def test_a_claim_that_cannot_be_written_is_none(tmp_path, monkeypatch) -> None:
    from pegasus.cli.bulk import claims as module
    from pegasus.errors import WriteFailed

    def full(descriptor: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    claims = Claims(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_all", full)
        with pytest.raises(WriteFailed, match=r"00000.0.claim cannot be written: no space left on device"):
            claims.take("00000")
    assert not list(tmp_path.iterdir())
    assert claims.take("00000") is not None
    claims.close()


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_half_a_line_of_a_log_is_dropped(tmp_path, cut) -> None:
    (tmp_path / ".pegasus").mkdir()
    claims = Claims(tmp_path / ".pegasus")
    part = Part(tmp_path, claims.take("00000"), 4)
    part.begin([0, 1])
    part.add({0: {"id": "a"}, 1: {"id": "b"}})
    part.close()
    claims.close()
    log = tmp_path / ".pegasus/00000.0.log"
    log.write_bytes(log.read_bytes()[:-cut])
    again = Claims(tmp_path / ".pegasus")
    part = Part(tmp_path, again.take("00000"), 4)
    assert part.records == ({0: {"id": "a"}} if cut < 39 else {})
    assert part.left == ([1, 2, 3] if cut < 39 else [0, 1, 2, 3])
    part.close()
    again.close()


def test_the_pace_counts_what_all_workers_do_and_says_what_is_left(tmp_path) -> None:
    from pegasus.cli.bulk.job import Job

    (tmp_path / ".pegasus").mkdir()
    job = Job(tmp_path, {}, 100, 300, ("a", "b", "c"))
    now, told = [0.0], []
    pace = Pace(job, range(3), told.append, clock=lambda: now[0])
    pace.tell({0: 10})
    now[0] = 20.0
    (tmp_path / "part-00001.jsonl").write_text("{}\n" * 100)  # another worker's
    pace.tell({0: 50})
    assert told == ["150 of 300 rows, 7.0 rows/s, 21 s left"]
    assert [in_words(seconds) for seconds in (59.6, 150, 90_000)] == ["60 s", "2 min", "25.0 h"]
