"""How long a full-size PEGASUS (568M parameters, random weights) takes to save, load and generate.

Each measurement runs in a process of its own, so that peak memory is that of the one thing measured::

    python benchmarks/full_size.py                         # 16+16 layers, 1,024 wide, 96,103 tokens
    python benchmarks/full_size.py --config FOLDER --threads 2 --dtype bfloat16
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkpoints import ARCHITECTURE

GB = 1e9


def make(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """A model with seeded random weights, saved: seconds of each, and bytes on the disk."""
    import torch

    import pegasus

    config = (
        pegasus.PegasusConfig.from_pretrained(options.config)
        if options.config
        else pegasus.PegasusConfig(**ARCHITECTURE)
    )
    torch.manual_seed(0)
    start = time.perf_counter()
    model = pegasus.PegasusForConditionalGeneration(config)
    built = time.perf_counter()
    model.save_pretrained(folder, max_shard_size=options.shard)
    saved = time.perf_counter()
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return {"build_s": built - start, "save_s": saved - built, "weights_gb": size / GB}


def load(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Loading: seconds, and how the peak of the process's memory compares with the weights."""
    import torch

    import pegasus

    pegasus.PegasusForConditionalGeneration  # noqa: B018 - so that its import is not counted
    torch.set_num_threads(options.threads)
    before = peak()
    start = time.perf_counter()
    model = pegasus.PegasusForConditionalGeneration.from_pretrained(folder, dtype=options.dtype)
    seconds = time.perf_counter() - start
    size = sum(parameter.nbytes for parameter in model.parameters()) / GB
    return {
        "load_s": seconds,
        "before_gb": before,
        "peak_gb": peak(),
        "model_gb": size,
        "peak_ratio": peak() / size,
    }


def load_cold(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """The same with the files out of the system's cache, so read from the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return {f"cold_{name}": value for name, value in load(folder, options).items()}


def generate(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """``--tokens`` new tokens with ``--beams`` beams from ``--source`` tokens, one text."""
    import torch

    import pegasus

    torch.set_num_threads(options.threads)
    model = pegasus.PegasusForConditionalGeneration.from_pretrained(folder, dtype=options.dtype)
    ids = torch.randint(
        106, model.config.vocab_size, (1, options.source), generator=torch.Generator().manual_seed(0)
    )
    settings = {
        "num_beams": options.beams,
        "min_new_tokens": options.tokens,
        "max_new_tokens": options.tokens,
    }
    model.generate(ids[:, :32], num_beams=options.beams, min_new_tokens=2, max_new_tokens=2)
    start = time.perf_counter()
    out = model.generate(ids, **settings)
    seconds = time.perf_counter() - start
    assert out.shape[1] == options.tokens + 1, out.shape
    return {"generate_s": seconds, "tokens_per_s": options.tokens / seconds, "generate_peak_gb": peak()}


def peak() -> float:
    """The most memory this process has held so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB


STEPS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "make": make,
    "load": load,
    "load-cold": load_cold,
    "generate": generate,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", help="a folder with config.json (default: the large architecture)")
    parser.add_argument("--folder", type=Path, help="keep the model there (default: a temporary folder)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--shard", default="5GB")
    parser.add_argument("--source", type=int, default=512)
    parser.add_argument("--beams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--alone", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(STEPS[options.alone](options.folder, options)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for step in options.steps:
            command = [sys.executable, __file__, *sys.argv[1:], "--alone", step, "--folder", str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{step:<10}" + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()),
                flush=True,
            )


if __name__ == "__main__":
    main()
