"""Two hosts that learn together, each a network namespace of its own, by the recipe that the docs name."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pegasus import PegasusTokenizerFast
from pegasus.checkpoint.files import read_safetensors
from pegasus.training.toml import to_toml

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "hosts" / "learn"
SMALL = ROOT / "tests" / "fixtures" / "tokenizer-small" / "spiece.model"
WORDS = [
    "the",
    "mayor",
    "of",
    "a",
    "small",
    "town",
    "said",
    "that",
    "no",
    "new",
    "houses",
    "near",
    "the",
    "river",
]
HEAD, OTHER = "10.213.7.1", "10.213.7.2"
SHAPE = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "max_position_embeddings": 64, "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
}  # fmt: skip


def ip(*words: str) -> bool:
    return subprocess.run(("ip", *words), capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, str]]:
    """Address → namespace of two hosts with a cable between them, and nothing else."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need iproute2 and the rights of root")
    names = {HEAD: f"pegasus-{os.getpid()}-0", OTHER: f"pegasus-{os.getpid()}-1"}
    ends = {HEAD: f"pg{os.getpid()}a", OTHER: f"pg{os.getpid()}b"}
    try:
        if not all(ip("netns", "add", name) for name in names.values()):
            pytest.skip("this machine makes no network namespaces")
        assert ip("link", "add", ends[HEAD], "type", "veth", "peer", "name", ends[OTHER])
        for address, name in names.items():
            assert ip("link", "set", ends[address], "netns", name)
            inside = ("-n", name)
            assert ip(*inside, "link", "set", ends[address], "name", "cable")
            assert ip(*inside, "addr", "add", f"{address}/24", "dev", "cable")
            assert ip(*inside, "link", "set", "cable", "up")
            assert ip(*inside, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names.values():
            kill_all(name)
            ip("netns", "del", name)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("job")
    chance = random.Random(2)
    documents = [
        " ".join(" ".join(chance.choices(WORDS, k=6)).capitalize() + "." for _ in range(6))
        for _ in range(40)
    ]
    rows = [{"document": text, "summary": text.split(". ")[0] + "."} for text in documents]
    (place / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    PegasusTokenizerFast(str(SMALL), model_max_length=64).save_pretrained(place / "tokenizer")
    return place


def write_job(place: Path, name: str, accumulate: int) -> Path:
    """Eight rows an update, whoever computes them; without dropout, which each process draws for itself."""
    tables = {
        "output": str(place / name),
        "model": {"tokenizer": str(place / "tokenizer"), "config": SHAPE},
        "data": {"train": [str(place / "pairs.jsonl")], "max_source": 40, "max_target": 12},
        "run": {"steps": 12, "batch": 4, "accumulate": accumulate, "log_every": 1, "save_every": 2},
        "optim": {"rate": 0.02, "schedule": "constant", "warmup_steps": 2},
        "placement": {"device": "cpu"},
    }
    path = place / f"{name}.toml"
    path.write_text(to_toml(tables))
    return path


def start(hosts: dict[str, str], address: str, job: Path) -> subprocess.Popen:
    """An agent on a host, in a group of processes of its own."""
    environment = {
        **os.environ, "HEAD": HEAD, "ADDRESS": address, "HOSTS": "2", "INTERFACE": "cable",
        "PROCESSES": "1", "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"),
        "JOB": job.stem,
    }  # fmt: skip
    return subprocess.Popen(
        ("ip", "netns", "exec", hosts[address], str(RECIPE), "finetune", str(job)),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip


def kill_all(namespace: str, but: int = 0) -> None:
    """SIGKILL to all processes of a host at once, but for one."""
    found = subprocess.run(("ip", "netns", "pids", namespace), capture_output=True, text=True, check=True)
    for pid in {*map(int, found.stdout.split())} - {but}:
        os.kill(pid, signal.SIGKILL)


def run_to_the_end(*agents: subprocess.Popen) -> None:
    for agent in agents:
        told = agent.communicate(timeout=240)[1]
        assert agent.returncode == 0, told[-3000:]


def weights(folder: Path) -> dict[str, np.ndarray]:
    tensors, _ = read_safetensors(folder / "model" / "model.safetensors")
    return {name: tensor.array() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def two(hosts, place) -> Path:
    """What two hosts have learned."""
    job = write_job(place, "two", 1)
    run_to_the_end(start(hosts, HEAD, job), start(hosts, OTHER, job))
    return place / "two"


@pytest.mark.slow
def test_two_hosts_learn_the_weights_of_one(two, place):
    job = write_job(place, "one", 2)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    subprocess.run((sys.executable, "-m", "pegasus", "finetune", str(job)), check=True, env=environment)
    one, both = weights(place / "one"), weights(two)
    assert one.keys() == both.keys()
    furthest = max(float(np.abs(one[name] - both[name]).max()) for name in one)
    assert furthest < 1e-5, furthest
    print(f"furthest: {furthest:.2e}")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["process", "host", "unplugged host"])
def test_what_dies_and_comes_back_changes_no_bit(hosts, two, place, what):
    """The connections of what dies end; of an unplugged host they do not, and nobody is told."""
    name = f"killed-{what}".replace(" ", "-")
    job = write_job(place, name, 1)
    head, other = start(hosts, HEAD, job), start(hosts, OTHER, job)
    saved = place / name / "checkpoints"
    until = time.monotonic() + 120
    while not any(saved.glob("step-*")) and time.monotonic() < until and head.poll() is None:
        time.sleep(0.005)
    if what == "unplugged host":
        assert ip("-n", hosts[OTHER], "link", "set", "cable", "down")
    kill_all(hosts[OTHER], but=other.pid if what == "process" else 0)
    assert head.poll() is None
    if what != "process":
        other.communicate()
        assert ip("-n", hosts[OTHER], "link", "set", "cable", "up")
        other = start(hosts, OTHER, job)
    run_to_the_end(head, other)
    model = "model/model.safetensors"
    assert (place / name / model).read_bytes() == (two / model).read_bytes()
