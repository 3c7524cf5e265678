"""Small runs in one process or several, for the tests: ``python worker.py '[{"output": ...}, ...]'``.

Each entry is one launch; its processes are forked, so that the framework is imported only once. What is
asked of a launch is in ``Launch``. Nothing random is shared between launches. Under ``torchrun`` the
argument is one entry, and this process one of its processes.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # before the forks: each process would import its hundreds of modules again

from pegasus.backends.contract.learning import Objective, OptimSettings, Placement
from pegasus.backends.torch import backend
from pegasus.backends.torch.learning import engine as _engine  # noqa: F401  likewise
from pegasus.spec.config import PegasusConfig
from pegasus.training import checkpoints as checkpoints_module
from pegasus.training.checkpoints import Checkpoints
from pegasus.training.journal import Journal
from pegasus.training.loop import Plan, Run, learn, resume
from pegasus.training.signals import StopSignals

VOCABULARY = 97


def config(**fields: Any) -> PegasusConfig:
    """A model so small that its steps cost nothing; without dropout unless it is asked for."""
    usual = {
        "vocab_size": VOCABULARY, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2,
        "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "max_position_embeddings": 32, "scale_embedding": True,
        "activation_function": "relu", "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
    }  # fmt: skip
    return PegasusConfig(**{**usual, **fields})


def model(kind: str = "conditional", seed: int = 0, **fields: Any) -> Any:
    torch.manual_seed(seed)
    return backend.models[kind](config(**fields))


def batch(
    seed: int, rows: int = 3, source: int = 11, target: int = 6, mlm: bool = True
) -> dict[str, np.ndarray]:
    """Random rows of random lengths; learnable, because half of a target is a copy of its source."""
    random = np.random.default_rng([7, seed])
    ids = random.integers(4, VOCABULARY, (rows, source)).astype(np.int32)
    labels = random.integers(4, VOCABULARY, (rows, target)).astype(np.int32)
    labels[:, : target // 2] = ids[:, : target // 2]
    mask = np.ones_like(ids)
    for row in range(rows):
        length, kept = random.integers(4, source + 1), random.integers(1, target + 1)
        ids[row, length:], mask[row, length:], labels[row, kept:] = 0, 0, -100
    found = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    if mlm:
        hidden = (random.random(ids.shape) < 0.3) & (mask > 0)
        found["mlm_labels"] = np.where(hidden, ids, -100).astype(np.int32)
    return found


class BatchStream:
    """Batch number n of the whole run goes to process n mod count, so any number of them see the same."""

    def __init__(self, ranks: Any, die_at: int | None = None, stop_at: int | None = None) -> None:
        self.ranks, self.position, self.die_at, self.stop_at = ranks, 0, die_at, stop_at

    def __iter__(self) -> BatchStream:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        if (
            self.die_at is not None
            and self.position >= self.die_at
            and self.ranks.rank == self.ranks.count - 1
        ):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.stop_at is not None and self.position >= self.stop_at and self.ranks.rank == 0:
            self.stop_at = None
            os.kill(os.getpid(), signal.SIGTERM)
        made = batch(self.position + self.ranks.rank)
        self.position += self.ranks.count
        return made

    def state(self) -> dict[str, int]:
        return {"epoch": 0, "position": self.position}

    def restore(self, state: dict[str, int]) -> None:
        self.position = state["position"]


@dataclass
class Launch:
    """One run.

    Attributes:
        output: its folder.
        ranks: processes; each update sees four batches, whatever their number.
        spread: "ddp" or "fsdp".
        steps: updates.
        save_every: updates between checkpoints.
        die_at: SIGKILL, in the last process, when the batch of that number is asked for.
        die_saving: SIGKILL, in the first process, in the save of this number, before the rename.
        stop_at: SIGTERM, in the first process alone, when that batch is asked for.
        optim: fields of OptimSettings.
        objective: fields of Objective.
        fields: of the configuration.
        placement: fields of Placement.
    """

    output: str
    ranks: int = 1
    spread: str = "ddp"
    steps: int = 6
    save_every: int = 2
    die_at: int | None = None
    die_saving: int | None = None
    stop_at: int | None = None
    optim: dict[str, Any] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    placement: dict[str, Any] = field(default_factory=dict)


def work(launch: Launch) -> None:
    """What each process of a launch does."""
    torch.set_num_threads(1)
    place = Placement(device="cpu", spread=launch.spread, **launch.placement)
    ranks = backend.join(place)
    optim = {"rate": 1e-2, "schedule": "constant", "warmup_steps": 3, "clip_norm": 1.0, **launch.optim}
    engine = backend.engine(
        model(**launch.fields), OptimSettings(**optim), Objective(**launch.objective), place, ranks
    )
    output = Path(launch.output)
    plan = Plan(
        steps=launch.steps,
        accumulate=4 // ranks.count,
        log_every=1,
        measure_every=2,
        save_every=launch.save_every,
    )
    if launch.die_saving is not None:
        _die_in_save(launch.die_saving)
    with StopSignals() as signals:
        run = Run(
            engine=engine,
            stream=BatchStream(ranks, None if restarted() else launch.die_at, launch.stop_at),
            ranks=ranks,
            plan=plan,
            checkpoints=Checkpoints(output / "checkpoints", ranks),
            validation=lambda: [batch(10_000 + ranks.rank + i) for i in range(1 + ranks.rank)],
            asked_to_stop=lambda: signals.asked,
        )
        resume(run)
        if ranks.rank == 0:
            run.journal = Journal(output / "journal.jsonl", run.train_state.step)
        ending = learn(run)
    if ending != "stopped":
        engine.export(output / "model")
    if ranks.rank == 0:
        (output / "ending").write_text(f"{ending} {run.train_state.step}")
    ranks.leave()


def restarted() -> bool:
    """Whether torchrun has started this process in the place of one that died."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def _die_in_save(number: int) -> None:
    saves = 0
    real = checkpoints_module.seal

    def seal(folder: Path, notes: dict[str, Any]) -> None:
        nonlocal saves
        saves += 1
        if saves == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(folder, notes)

    checkpoints_module.seal = seal


def start(launch: Launch) -> bool:
    """Fork the processes of a launch; tell whether all ended well. One that dies takes the others along."""
    port = _free_port()
    children = []
    for rank in range(launch.ranks):
        child = os.fork()
        if child == 0:
            os.environ.update(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(launch.ranks),
                MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
            )  # fmt: skip
            _work_and_exit(launch)
        children.append(child)
    good = True
    while children:
        child, status = os.wait()
        children.remove(child)
        if status != 0:
            good = False
            for other in children:
                os.kill(other, signal.SIGKILL)
    return good


def _work_and_exit(launch: Launch) -> None:
    code = 1
    faulthandler.dump_traceback_later(300, exit=True)  # a process that waits for ever says where
    try:
        work(launch)
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__" and "TORCHELASTIC_RUN_ID" in os.environ:
    work(Launch(**json.loads(sys.argv[1])))  # as one of torchrun's processes
elif __name__ == "__main__":
    print(json.dumps([start(Launch(**entry)) for entry in json.loads(sys.argv[1])]))
