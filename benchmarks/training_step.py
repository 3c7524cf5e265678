"""One fine-tuning step beside transformers: how long it takes, and the most memory that the process needs.

    python benchmarks/training_step.py --peer /path/to/python/with/transformers

A model of 6 + 6 layers, 512 wide, with 96,103 tokens, learns from random batches of 8 texts of 512 tokens
with 64 to write, by Adafactor, with dropout 0.1; in float32, or with products of bfloat16. Each side runs
in a process of its own, the two in turn; the medians of all their steps are compared. CPU seconds are told
besides, for machines that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SHAPE = {
    "vocab_size": 96_103, "d_model": 512, "encoder_layers": 6, "decoder_layers": 6,
    "encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048, "encoder_attention_heads": 8,
    "decoder_attention_heads": 8, "activation_function": "relu", "scale_embedding": True, "dropout": 0.1,
    "attention_dropout": 0.1, "activation_dropout": 0.1, "max_position_embeddings": 512,
}  # fmt: skip
ROWS, SOURCE, TARGET = 8, 512, 64


def arrays() -> dict[str, Any]:
    """A batch without padding, as both sides get it."""
    import numpy as np

    random = np.random.default_rng(0)
    ids = random.integers(200, SHAPE["vocab_size"], (ROWS, SOURCE)).astype(np.int32)
    labels = random.integers(200, SHAPE["vocab_size"], (ROWS, TARGET)).astype(np.int32)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "labels": labels}


def ours(checkpointing: bool, precision: str) -> Callable[[], float]:
    """A step of this package's engine."""
    import torch

    from pegasus import PegasusConfig
    from pegasus.backends.contract.learning import Objective, OptimSettings, Placement
    from pegasus.backends.torch import backend

    torch.manual_seed(0)
    place = Placement(device="cpu", precision=precision, gradient_checkpointing=checkpointing)
    model = backend.models["conditional"](PegasusConfig(**SHAPE))
    optim = OptimSettings(rate=1e-4, schedule="constant", warmup_steps=0, clip_norm=1.0)
    engine = backend.engine(model, optim, Objective(), place, backend.join(place))
    batch = arrays()
    return lambda: engine.step([batch]).loss


def theirs(precision: str) -> Callable[[], float]:
    """A step as a training script with transformers has it."""
    import torch
    from transformers import Adafactor, PegasusConfig, PegasusForConditionalGeneration

    torch.manual_seed(0)
    model = PegasusForConditionalGeneration(PegasusConfig(**SHAPE)).train()
    optimizer = Adafactor(
        model.parameters(), lr=1e-4, scale_parameter=True, relative_step=False, warmup_init=False
    )
    batch = {name: torch.from_numpy(array).long() for name, array in arrays().items()}
    return lambda: update(model, optimizer, batch, precision == "bfloat16")


def update(model: Any, optimizer: Any, batch: dict[str, Any], bfloat16: bool) -> float:
    """The loss of a batch, from which a model of transformers has learned then."""
    import torch

    with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16):
        loss = model(**batch, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def measure(side: str, steps: int, checkpointing: bool, precision: str) -> dict[str, Any]:
    """Run one side in this process: seconds of each step after a first one, and the peak of memory."""
    step = ours(checkpointing, precision) if side == "ours" else theirs(precision)
    wall, cpu, losses = [], [], [step()]
    for _ in range(steps):
        began, used = time.perf_counter(), time.process_time()
        losses.append(step())
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": wall, "cpu": cpu, "peak": peak, "losses": losses}


def main() -> None:
    """Run both sides in turn and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", help="a python that has transformers")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each process")
    parser.add_argument(
        "--checkpointing", action="store_true", help="compute activations again on our side"
    )
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(
            json.dumps(
                measure(arguments.side, arguments.steps, arguments.checkpointing, arguments.precision)
            )
        )
        return
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    for _ in range(arguments.rounds):
        for side in found if arguments.peer else ["ours"]:
            python = sys.executable if side == "ours" else arguments.peer
            command = [python, __file__, "--side", side, "--steps", str(arguments.steps)]
            command += ["--precision", arguments.precision]
            command += ["--checkpointing"] if arguments.checkpointing else []
            ran = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
            found[side].append(json.loads(ran.stdout.splitlines()[-1]))
    report(found)


def report(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print medians, and what share of the other side's ours are."""
    rows = {}
    for side, runs in found.items():
        if runs:
            wall = statistics.median(second for run in runs for second in run["wall"])
            cpu = statistics.median(second for run in runs for second in run["cpu"])
            rows[side] = (wall, cpu, max(run["peak"] for run in runs), runs[0]["losses"][0])
    print(f"{'':8}{'s a step':>10}{'CPU s':>10}{'peak MiB':>10}{'loss':>10}")
    for side, (wall, cpu, peak, loss) in rows.items():
        print(f"{side:8}{wall:10.2f}{cpu:10.2f}{peak:10.0f}{loss:10.4f}")
    if len(rows) == 2:
        shares = [one / other for one, other in zip(rows["ours"], rows["theirs"])]
        print(f"{'share':8}" + "".join(f"{share:10.2f}" for share in shares[:3]))


if __name__ == "__main__":
    main()
