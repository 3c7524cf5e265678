"""Bulk jobs and preparation on a Ray cluster of three nodes on this machine; one leaves on the way."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]
WORDS = ["zebra", "horse", "fly", "stripe", "cloth", "study", "land", "water", "river", "house", "night"]
BATCH = 16


@pytest.fixture
def place(model, tmp_path) -> Path:
    shutil.copytree(model, tmp_path / "model")
    return tmp_path


def write_rows(place: Path, count: int) -> list[str]:
    chance = random.Random(count)
    rows = [
        {"id": f"n{n}", "text": ". ".join(" ".join(chance.choices(WORDS, k=8)) for _ in range(3)) + "."}
        for n in range(count)
    ]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [row["id"] for row in rows]


@pytest.fixture
def cluster(monkeypatch):
    """Three nodes: that of the head, and two that a test may take away."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
    made.leavers = [made.add_node(num_cpus=1, object_store_memory=100_000_000) for _ in range(2)]
    made.wait_for_nodes()
    yield made
    made.shutdown()


def start(place: Path, cluster, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        (sys.executable, "-m", "pegasus", *arguments, "--engine", "ray", "--ray-address", cluster.address),
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_until(true, process: subprocess.Popen) -> None:
    while not true() and process.poll() is None:
        time.sleep(0.02)


def records(folder: Path) -> list[dict]:
    parts = sorted(folder.glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def test_a_node_leaves_and_the_command_is_killed_and_each_id_is_there_once(place, cluster) -> None:
    wanted = write_rows(place, 5_000)
    command = ("summarize", "rows.jsonl", "-m", "model", "-o", "out", "--part-rows", "250")
    out = place / "out"
    first = start(place, cluster, *command)
    wait_until(lambda: len(list(out.glob("part-*"))) >= 4, first)
    cluster.remove_node(cluster.leavers[0])
    wait_until(lambda: len(list(out.glob("part-*"))) >= 9, first)
    assert first.poll() is None, first.communicate()[1]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = start(place, cluster, *command)
    told = second.communicate(timeout=300)[1]
    assert second.returncode == 0, told
    assert "rows were done already: going on" in told
    rows = records(out)
    assert [row["id"] for row in rows] == wanted
    assert all(row["model"] == "model" for row in rows)
    begun = sum(json.loads(path.read_text())["tries"] for path in out.glob(".pegasus/*.done"))
    # One actor left with its node; then the command was killed while the others were at a batch each.
    assert begun - len(wanted) <= BATCH + 2 * BATCH


def test_prepared_shards_are_those_of_one_process(place, cluster) -> None:
    write_rows(place, 12_000)
    command = ("prepare", "rows.jsonl", "--tokenizer", "model", "--shard-mb", "0.05")
    alone = (sys.executable, "-m", "pegasus", *command, "-o", "alone", "--processes", "1")
    subprocess.run(alone, cwd=place, check=True, capture_output=True)
    shared = place / "shared"
    process = start(place, cluster, *command, "-o", "shared")
    wait_until(lambda: len(list(shared.glob("*.safetensors"))) >= 5, process)
    cluster.remove_node(cluster.leavers[0])
    told = process.communicate(timeout=300)[1]
    assert process.returncode == 0, told
    files = {path.relative_to(shared): path.read_bytes() for path in shared.rglob("*") if path.is_file()}
    assert len(files) > 20
    single = place / "alone"
    assert files == {
        path.relative_to(single): path.read_bytes() for path in single.rglob("*") if path.is_file()
    }


def test_a_row_that_kills_its_actor_is_an_error_after_three_tries(place, cluster) -> None:
    """Over the pool itself: what kills is sent to the actors by value."""
    import ray

    from pegasus.data.cluster import Actors, RayPool
    from pegasus.data.workers import Failed

    def make():
        import os
        import signal

        return lambda task: os.kill(os.getpid(), signal.SIGKILL) if task == "KILLER" else task.upper()

    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    pool = RayPool(make, Actors(2))
    tasks, ends = {0: "a", 1: "KILLER", 2: "b", 3: "KILLER", 4: "c"}, {}
    waiting = list(tasks)
    while len(ends) < len(tasks):
        if waiting and not pool.full:
            number = waiting.pop(0)
            pool.submit(number, tasks[number])
        elif (end := pool.next()) is not None:
            ends[end[0]] = end[1]
    pool.close()
    ray.shutdown()
    died = Failed("its process or its machine died")
    assert ends == {0: "A", 1: died, 2: "B", 3: died, 4: "C"}


def test_no_cluster_at_an_address_and_no_room_for_an_actor(place, cluster, monkeypatch) -> None:
    import ray

    from pegasus.data import cluster as module
    from pegasus.errors import NotOffered

    write_rows(place, 3)
    nowhere = (sys.executable, "-m", "pegasus", "summarize", "rows.jsonl", "-m", "model", "-o", "o")
    options = ("--engine", "ray", "--ray-address", "127.0.0.1:1")
    ran = subprocess.run((*nowhere, *options), cwd=place, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 1
    assert "There is no Ray cluster at 127.0.0.1:1" in ran.stderr
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    monkeypatch.setattr(module, "_PATIENCE", 3.0)
    pool = module.RayPool(lambda: str, module.Actors(1, cpus=64))
    with pytest.raises(NotOffered, match=r"no room for an actor \(64 cpus, 0 gpus\)"):
        pool.next()
    pool.close()
    ray.shutdown()
