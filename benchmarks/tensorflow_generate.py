"""TensorFlow at full size: loading, and 512 tokens to 64 at 8 beams, beside transformers 4.57's TF classes.

Each side runs in a process of its own, one after the other, round by round::

    python benchmarks/tensorflow_generate.py FOLDER --theirs ORACLE/bin/python [--rounds 2] [--threads 2]

FOLDER holds a checkpoint that both read; ORACLE has transformers 4.57 with tf-keras.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SOURCE, NEW, BEAMS = 512, 64, 8


def ours(folder: str, threads: int) -> dict[str, Any]:
    """Our classes: seconds to load, the peak of memory, seconds of the first and of the next call."""
    from pegasus import TFPegasusForConditionalGeneration
    from pegasus.backends.tensorflow.devices import set_threads

    set_threads(threads)
    found = measured(lambda: TFPegasusForConditionalGeneration.from_pretrained(folder))
    model = found.pop("model")
    found |= generated(model)
    return {**found, "graphs": model.programs.traces}


def theirs(folder: str, threads: int) -> dict[str, Any]:
    """The classes of transformers, the same."""
    import tensorflow as tf
    from transformers import TFPegasusForConditionalGeneration

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    found = measured(lambda: TFPegasusForConditionalGeneration.from_pretrained(folder, from_pt=True))
    model = found.pop("model")
    return {**found, **generated(model)}


def torch_room(folder: str, threads: int) -> dict[str, Any]:
    """Our PyTorch classes, the same."""
    import torch

    from pegasus import PegasusForConditionalGeneration

    torch.set_num_threads(threads)
    found = measured(lambda: PegasusForConditionalGeneration.from_pretrained(folder))
    return {**found, **generated(found.pop("model"), torch.tensor)}


def measured(load: Any) -> dict[str, Any]:
    """Loading, with the peak of memory before and after, in gigabytes."""
    before, start = peak(), time.perf_counter()
    model = load()
    return {"model": model, "load_s": time.perf_counter() - start, "before": before, "peak": peak()}


def generated(model: Any, make: Any = None) -> dict[str, Any]:
    """The first call and the next one, of a text of random tokens."""
    import numpy as np

    make = make or (lambda array: __import__("tensorflow").constant(array, "int32"))
    ids = np.random.default_rng(0).integers(110, 90_000, (1, SOURCE))
    settings = {"num_beams": BEAMS, "max_length": NEW + 1, "min_length": NEW + 1, "length_penalty": 0.8}
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        said = model.generate(make(ids), attention_mask=make(np.ones_like(ids)), **settings)
        seconds.append(time.perf_counter() - start)
    return {"first_s": seconds[0], "next_s": seconds[1], "tokens": np.asarray(said)[0].tolist()}


def peak() -> float:
    """Of this process's memory so far, in gigabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


SIDES = {"ours": ours, "torch": torch_room, "theirs": theirs}


def run(python: str, side: str, options: argparse.Namespace) -> dict[str, Any]:
    """One side in a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "OMP_NUM_THREADS": str(options.threads)}
    environment |= {"TF_USE_LEGACY_KERAS": "1"} if side == "theirs" else {}
    command = [python, __file__, options.folder, "--side", side, "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Say what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--theirs", default="")
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(SIDES[options.side](options.folder, options.threads)))
        return
    weights = sum(path.stat().st_size for path in Path(options.folder).glob("*.safetensors")) / 1e9
    print(f"weights {weights:.2f} GB, load {os.getloadavg()[0]:.1f}, {options.threads} threads", flush=True)
    for number in range(options.rounds):
        said = {}
        for side in SIDES if options.theirs else ("ours", "torch"):
            found = run(options.theirs if side == "theirs" else sys.executable, side, options)
            said[side] = found.pop("tokens")
            found["peak_ratio"] = (found["peak"] - found.pop("before")) / weights
            print(number, side, {key: round(value, 2) for key, value in found.items()}, flush=True)
        print(number, "same tokens:", len(set(map(tuple, said.values()))) == 1, flush=True)


if __name__ == "__main__":
    main()
