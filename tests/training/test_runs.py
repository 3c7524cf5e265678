"""Runs in one process and several: equal results, killed and resumed ones bit by bit.

All launches of the quick tests are carried out by one interpreter (see worker.py), before the first test.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from pegasus.checkpoint.files import read_safetensors
from pegasus.training.checkpoints import verify
from pegasus.training.journal import read_journal

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")
KINDS = {"one": {"ranks": 1}, "ddp": {"ranks": 2, "spread": "ddp"}, "fsdp": {"ranks": 2, "spread": "fsdp"}}
DROPS = {"dropout": 0.2, "attention_dropout": 0.2, "activation_dropout": 0.2}
SHORT = {"steps": 6, "save_every": 2, "fields": DROPS}
LONG = {"steps": 20, "save_every": 20}
PACKED = {**LONG, "placement": {"packing": True}}
MUON = {"steps": 6, "save_every": 6, "optim": {"name": "muon", "rate": 0.02, "weight_decay": 0.01}}


def ending(folder: Path) -> str:
    return (folder / "ending").read_text()


def weights(folder: Path):
    return load_file(folder / "model" / "model.safetensors")


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def furthest(one, other) -> float:
    return max(float(abs(one[name] - other[name]).max()) for name in one)


@pytest.fixture(scope="module")
def runs(launch, tmp_path_factory) -> Path:
    """The folder with everything that the quick tests validate at."""
    place = tmp_path_factory.mktemp("runs")
    two = KINDS["fsdp"]
    results = launch(
        *({"output": place / name, **kind, **LONG} for name, kind in KINDS.items()),
        {"output": place / "fewer", **two, **LONG, "stop_at": 30},
        {"output": place / "fewer", "ranks": 1, **LONG, "steps": 14},
        {"output": place / "fewer", **KINDS["ddp"], **LONG},
        {"output": place / "more", "ranks": 1, **LONG, "stop_at": 30},
        {"output": place / "more", **two, **LONG},
        *({"output": place / f"whole-{name}", **KINDS[name], **SHORT} for name in ("one", "fsdp")),
        {"output": place / "killed-one", "ranks": 1, **SHORT, "die_at": 17},
        {"output": place / "killed-one", "ranks": 1, **SHORT, "die_saving": 1},
        {"output": place / "killed-one", "ranks": 1, **SHORT},
        {"output": place / "killed-fsdp", **two, **SHORT, "die_at": 13},
        {"output": place / "killed-fsdp", **two, **SHORT},
        *({"output": place / f"muon-{name}", **KINDS[name], **MUON} for name in ("one", "fsdp")),
        *({"output": place / f"packed-{name}", **KINDS[name], **PACKED} for name in ("ddp", "fsdp")),
    )
    assert results == [True] * 10 + [False, False, True, False, True, True, True, True, True]
    return place


@pytest.mark.parametrize("kind", ["ddp", "fsdp", "packed-ddp", "packed-fsdp"])
def test_two_processes_equal_one_over_twenty_steps(runs, kind):
    one, two = weights(runs / "one"), weights(runs / kind)
    assert one.keys() == two.keys()
    assert furthest(one, two) < 1e-5
    for found, expected in zip(
        read_journal(runs / kind / "journal.jsonl"), read_journal(runs / "one" / "journal.jsonl")
    ):
        assert found["step"] == expected["step"]
        if found["event"] == "train":
            assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
            assert found["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=1e-4)


def test_muon_on_weights_that_two_processes_share_equals_muon_on_whole_ones(runs, tiny):
    one, two = weights(runs / "muon-one"), weights(runs / "muon-fsdp")
    start = {name: value.detach().numpy() for name, value in tiny.model().named_parameters()}
    moved = sum(float(((one[name] - start[name]) ** 2).sum()) for name in one if name in start)
    apart = sum(float(((one[name] - two[name]) ** 2).sum()) for name in one)
    assert moved > 1
    # Its rounds are in bfloat16 and enlarge what is small: the last bit of a gradient may show in a weight.
    assert apart < 0.1**2 * moved


def test_the_weights_did_move(runs, tiny):
    start = {name: value.detach().numpy() for name, value in tiny.model().named_parameters()}
    assert (
        furthest({name: value for name, value in weights(runs / "one").items() if name in start}, start)
        > 0.01
    )


@pytest.mark.parametrize("way", ["fewer", "more"])
def test_a_run_goes_on_with_another_number_of_processes(runs, way):
    assert ending(runs / way) == "done 20"
    assert furthest(weights(runs / "one"), weights(runs / way)) < 1e-5
    steps = [e["step"] for e in read_journal(runs / way / "journal.jsonl") if e["event"] == "train"]
    assert steps == list(range(1, 21))


@pytest.mark.parametrize("kind", ["one", "fsdp"])
def test_a_killed_run_ends_with_the_same_bits(runs, kind):
    assert ending(runs / f"killed-{kind}") == "done 6"
    assert digest(runs / f"killed-{kind}") == digest(runs / f"whole-{kind}")
    last = runs / f"killed-{kind}" / "checkpoints" / "step-00000006"
    expected = runs / f"whole-{kind}" / "checkpoints" / "step-00000006"
    for path in expected.glob("rank-*"):  # the optimizer and the random numbers too
        assert path.read_bytes() == (last / path.name).read_bytes()


def test_processes_that_share_weights_write_a_share_each(runs):
    folder = runs / "fsdp" / "checkpoints" / "step-00000020"
    assert verify(folder)["processes"] == 2
    sizes = [numbers(path) for path in sorted(folder.glob("rank-*"))]
    assert len(sizes) == 2
    whole = numbers(runs / "one" / "checkpoints" / "step-00000020" / "rank-00000-of-00001.safetensors")
    assert max(sizes) < 0.55 * whole
    assert sum(sizes) == whole


def numbers(path: Path) -> int:
    """How many numbers of weights and statistics a file holds."""
    tensors, _ = read_safetensors(path)
    return sum(raw.data.nbytes // 4 for name, raw in tensors.items() if not name.startswith("random/"))


def test_sigterm_to_one_process_stops_all_within_a_step(launch, tmp_path):
    launch({"output": tmp_path, **KINDS["ddp"], "steps": 50, "save_every": 0, "stop_at": 10})
    # The third update takes batches 8 to 11; the signal came in the middle of it.
    assert ending(tmp_path) == "stopped 3"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_torchrun_restarts_a_killed_run_and_no_bit_changes(kind, launch, tmp_path):
    killed = {"output": str(tmp_path / "killed"), **KINDS[kind], **SHORT, "die_at": 15}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run(
        [*command, "--max-restarts", "1", str(WORKER), json.dumps(killed)],
        capture_output=True, text=True, timeout=300, check=False,
        # Without the last of these the processes that are started anew find the old ones' store.
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"),
             "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "exitcode: -9" in ran.stderr  # one did die
    launch({"output": tmp_path / "whole", **KINDS[kind], **SHORT})
    assert ending(tmp_path / "killed") == "done 6"
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_kills_at_random_change_no_bit(kind, launch, tmp_path):
    settings = {**KINDS[kind], "steps": 24, "save_every": 3, "fields": DROPS}
    chance = random.Random(kind)
    kills = []
    for _ in range(10):
        when = (
            {"die_at": chance.randrange(4, 96)}
            if chance.random() < 0.7
            else {"die_saving": chance.randrange(1, 4)}
        )
        kills.append({"output": tmp_path / "killed", **settings, **when})
    kills.sort(key=lambda each: each.get("die_at", chance.randrange(96)))
    results = launch(
        {"output": tmp_path / "whole", **settings}, *kills, {"output": tmp_path / "killed", **settings}
    )
    assert results[0]
    assert results[-1]
    assert results.count(False) >= 5
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


def test_a_second_signal_ends_at_once():
    from pegasus.training.signals import StopSignals

    with StopSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.asked
        # What would happen next: the default action. For SIGINT in Python that ends the process at once.
        ended = []
        original, signal.raise_signal = signal.raise_signal, ended.append
        try:
            signals._hear(signal.SIGINT, None)
        finally:
            signal.raise_signal = original
        assert ended == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) != signal.SIG_DFL
