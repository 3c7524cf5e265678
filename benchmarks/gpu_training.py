"""How fast a GPU learns PEGASUS: tokens a second, memory, share of what the card multiplies; four minutes.

    scripts/gpu-bench training                          # the bundled model's shape (22M) and pegasus-large
    scripts/gpu-bench training --peer /path/to/python   # beside transformers, in an interpreter that has it
    scripts/gpu-bench training --device cpu --small     # tries the script itself, in a minute

Updates on random texts of random lengths (a quarter of the longest up to it), sorted into batches of like
length as training has them, in bfloat16 autocast with dropout 0.1. What is switched on and off: ``packing``
(no padding is computed), ``compile`` (kernels of layers by PyTorch's compiler), ``together`` (optimizers
change weights of one shape at once). All on comes first, then transformers, all off, and each alone, as far
as ``--seconds`` go; a line is printed for each finding, so what was seen is kept when the run is cut.

Floating-point operations of a text of S source and T target tokens, by formula, two for each multiplication
(padding and what is computed again are not counted)::

    encoder layer   S (8 D² + 4 D F) + 4 S² D
    decoder layer   T (8 D² + 4 D² + 4 D F) + 4 S D² + 2 T² D + 4 T S D
    output layer    2 T D V
    learning        three times as many as the forward pass

The share is that of the card's dense bfloat16 products by its data sheet, and of a product of 8,192 × 8,192
measured here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

if find_spec("torch") is None:
    sys.exit(f"gpu-bench: {sys.executable} lacks torch: use the Python of an environment that has pegasus")
import torch

#: Dense bfloat16 TFLOP/s by the makers' data sheets; the first name that a card's contains.
SHEET = {
    "H100 PCIe": 756, "H100": 989, "H200": 989, "GH200": 989, "B200": 2250, "A100": 312, "L40S": 362,
    "L4": 121, "A10": 125, "RTX 4090": 165, "RTX 3090": 71,
}  # fmt: skip
FAMILY = {
    "activation_function": "relu", "scale_embedding": True, "dropout": 0.1, "attention_dropout": 0.0,
    "activation_dropout": 0.0, "max_position_embeddings": 512,
}  # fmt: skip
SWITCHES = ("packing", "compile", "together")


@dataclass(frozen=True)
class Shape:
    """A model, its batches and its optimizer.

    Attributes:
        fields: of its configuration.
        rows: texts of a batch.
        source: tokens of the longest source.
        target: tokens of the longest target.
        optimizer: what it is usually trained by.
        rate: of it.
    """

    fields: dict[str, Any]
    rows: int
    source: int
    target: int
    optimizer: Any
    rate: float


def sized(vocabulary: int, width: int, layers: tuple[int, int], heads: int, inner: int) -> dict[str, Any]:
    """Fields of a configuration."""
    return FAMILY | {
        "vocab_size": vocabulary, "d_model": width,
        "encoder_layers": layers[0], "decoder_layers": layers[1],
        "encoder_attention_heads": heads, "decoder_attention_heads": heads, "encoder_ffn_dim": inner,
        "decoder_ffn_dim": inner,
    }  # fmt: skip


SHAPES = {
    "bundled, 22M": Shape(sized(12103, 384, (6, 3), 6, 1536), 128, 490, 96, "muon", 0.02),
    "pegasus-large": Shape(sized(96103, 1024, (16, 16), 16, 4096), 32, 512, 128, "adafactor", 1e-3),
}
SMALL = {"small": Shape(sized(503, 64, (2, 2), 4, 128), 8, 48, 16, "muon", 0.02)}


# -- what both sides learn from --------------------------------------------------------------------------


def batches(shape: Shape, count: int = 8) -> list[dict[str, np.ndarray]]:
    """Padded batches, the same for everyone; texts of a batch are of like length."""
    random = np.random.default_rng(1)
    total = count * shape.rows
    sources = np.sort(random.integers(shape.source // 4, shape.source + 1, total)).reshape(count, -1)
    targets = random.integers(shape.target // 4, shape.target + 1, (count, shape.rows))
    return [batch_of(random, shape, sources[i], targets[i]) for i in random.permutation(count)]


def batch_of(
    random: np.random.Generator, shape: Shape, sources: np.ndarray, targets: np.ndarray
) -> dict[str, np.ndarray]:
    """One batch of these lengths."""
    vocabulary = shape.fields["vocab_size"]
    mask = np.arange(sources.max()) < sources[:, None]
    counted = np.arange(targets.max()) < targets[:, None]
    ids, labels = (random.integers(110, vocabulary, one.shape) for one in (mask, counted))
    return {
        "input_ids": np.where(mask, ids, 0).astype(np.int32),
        "attention_mask": mask.astype(np.int32),
        "labels": np.where(counted, labels, -100).astype(np.int32),
    }


def tokens(batch: dict[str, np.ndarray]) -> int:
    """Of sources and targets together, padding left out."""
    return int(batch["attention_mask"].sum() + (batch["labels"] >= 0).sum())


def operations(fields: dict[str, Any], batch: dict[str, np.ndarray]) -> float:
    """Floating-point operations of learning from a batch; see the top of this file."""
    width, inner, vocabulary = (fields[key] for key in ("d_model", "encoder_ffn_dim", "vocab_size"))
    source = batch["attention_mask"].sum(1).astype(np.float64)
    target = (batch["labels"] >= 0).sum(1).astype(np.float64)
    layer = 8 * width**2 + 4 * width * inner
    encoder = source * layer + 4 * source**2 * width
    decoder = target * (layer + 4 * width**2) + source * 4 * width**2
    decoder += 2 * target**2 * width + 4 * target * source * width
    forward = fields["encoder_layers"] * encoder + fields["decoder_layers"] * decoder
    return float(3 * (forward + 2 * target * width * vocabulary).sum())


# -- what learns -----------------------------------------------------------------------------------------


def ours(shape: Shape, device: str, switches: set[str]) -> Callable[[dict[str, np.ndarray]], float]:
    """An update of this package's engine; the loss of it."""
    from pegasus import PegasusConfig
    from pegasus.backends.contract.learning import Objective, OptimSettings, Placement
    from pegasus.backends.torch import backend
    from pegasus.backends.torch.learning import compiling

    if device == "cpu":  # where the script is only tried: the numbers are plain, and so are the graphs
        compiling.MAKER = "eager"
    place = Placement(
        device=device,
        precision="float32" if device == "cpu" else "bfloat16",
        packing="packing" in switches,
        compile="compile" in switches,
    )
    with torch.device(device):
        model = backend.fresh("conditional", PegasusConfig(**shape.fields), "transformers", 0)
    settings = OptimSettings(
        shape.optimizer, shape.rate, schedule="constant", warmup_steps=0, clip_norm=1.0
    )  # type: ignore[arg-type]
    engine = backend.engine(model, settings, Objective(parts=("target",)), place, backend.join(place))
    if "together" not in switches:
        one_by_one(engine)
    return lambda batch: engine.step([batch]).loss


def one_by_one(engine: Any) -> None:
    """Let the optimizer change one weight after another."""
    if hasattr(engine.optimizer, "together"):
        engine.optimizer.together = 0
    for group in engine.optimizer.param_groups:
        if "fused" in group:
            group |= {"fused": False, "foreach": False}


def theirs(shape: Shape, device: str) -> Callable[[dict[str, np.ndarray]], float]:
    """An update as a training script with transformers has it; AdamW where the shape's is Muon."""
    from training_step import update
    from transformers import PegasusConfig, PegasusForConditionalGeneration
    from transformers.optimization import Adafactor

    with torch.device(device):
        model = PegasusForConditionalGeneration(PegasusConfig(**shape.fields)).to(device).train()
    if shape.optimizer == "adafactor":
        settings = {"scale_parameter": True, "relative_step": False, "warmup_init": False}
        optimizer: Any = Adafactor(model.parameters(), lr=shape.rate, **settings)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=device.startswith("cuda"))

    def step(batch: dict[str, np.ndarray]) -> float:
        sent = {name: torch.from_numpy(array).long().to(device) for name, array in batch.items()}
        return update(model, optimizer, sent, bfloat16=True)

    return step


# -- how fast --------------------------------------------------------------------------------------------


def wait(device: str) -> None:
    """Until the device has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measure(
    step: Callable[[dict[str, np.ndarray]], float], shape: Shape, device: str, seconds: float
) -> dict[str, Any]:
    """Updates for some seconds, each batch as often as the others, after each was learned from once."""
    given = batches(shape)
    began = time.perf_counter()
    losses = [step(batch) for batch in given]
    wait(device)
    warm = time.perf_counter() - began
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    began, rounds = time.perf_counter(), 0
    while not rounds or time.perf_counter() - began < seconds:
        losses += [step(batch) for batch in given]
        wait(device)
        rounds += 1
    taken = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.startswith("cuda") else None
    return {
        "tokens_per_second": rounds * sum(map(tokens, given)) / taken,
        "tflops": rounds * sum(operations(shape.fields, batch) for batch in given) / taken / 1e12,
        "ms_a_step": 1000 * taken / rounds / len(given),
        "warm_seconds": warm,
        "memory_gb": peak,
        "losses": [losses[0], losses[-1]],
        "steps": rounds * len(given),
    }


def product_rate(device: str) -> float:
    """TFLOP/s of a square product in bfloat16."""
    size = 8192 if device.startswith("cuda") else 256
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        wait(device)
        began = time.perf_counter()
        one @ other
        wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best / 1e12


def sheet_rate(card: str) -> float | None:
    """TFLOP/s by the data sheet; None for a card that is not in the table."""
    return next((float(rate) for name, rate in SHEET.items() if name in card), None)


def cases(peer: str | None, shapes: dict[str, Shape]) -> Iterator[tuple[str, str, set[str] | None]]:
    """What is measured, by its importance: shape, what it is called, switches (None: transformers)."""
    every = set(SWITCHES)
    first = [("ours, all on", every), *([("transformers", None)] if peer else []), ("ours, all off", set())]
    alone = [(f"ours, {name} alone", {name}) for name in SWITCHES]
    rest = [(f"ours, without {name}", every - {name}) for name in SWITCHES]
    for label, switches in [*first, *alone, *rest]:
        yield from ((name, label, switches) for name in shapes)


def line(name: str, label: str, found: dict[str, Any], rates: dict[str, Any]) -> str:
    """A finding for people."""
    if "failed" in found:
        return f"{name} | {label} | failed: {found['failed']}"
    shares = [
        f"{found['tflops'] / rates[kind]:.1%} of {word}"
        for kind, word in (("sheet", "the data sheet"), ("product", "a product"))
        if rates[kind]
    ]
    memory = "" if found["memory_gb"] is None else f" | {found['memory_gb']:.1f} GB"
    return (
        f"{name} | {label} | {found['tokens_per_second']:,.0f} tokens/s | {found['ms_a_step']:.1f} ms a "
        f"step | {found['tflops']:.3g} TFLOP/s, {', '.join(shares)}{memory} | loss "
        f"{found['losses'][0]:.3f} → {found['losses'][1]:.3f} | first batches {found['warm_seconds']:.0f} s"
    )


def inside(job: dict[str, Any]) -> dict[str, Any]:
    """One case, in a process of its own: what it compiled and allocated goes with it."""
    shape = (SMALL if job["small"] else SHAPES)[job["shape"]]
    if job["switches"] is None:
        step = theirs(shape, job["device"])
    else:
        step = ours(shape, job["device"], set(job["switches"]))
    return measure(step, shape, job["device"], job["seconds"])


def carried_out(job: dict[str, Any], python: str, left: float) -> dict[str, Any]:
    """A case in another process, for no longer than is left."""
    with tempfile.NamedTemporaryFile("w+") as answer:
        command = [python, __file__, "--inside", json.dumps(job), answer.name]
        try:
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=left)
        except subprocess.TimeoutExpired:
            return {"failed": f"not done in {left:.0f} s"}
        if done.returncode:
            return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
        found: dict[str, Any] = json.loads(Path(answer.name).read_text())
        return found


def bench(options: argparse.Namespace) -> None:
    """Measure one case after another until the time is up."""
    until = time.monotonic() + options.seconds
    cuda = options.device.startswith("cuda")
    card = torch.cuda.get_device_name() if cuda else "CPU"
    rates = {"sheet": sheet_rate(card), "product": product_rate(options.device)}
    record: dict[str, Any] = {"card": card, "torch": torch.__version__, "rates": rates, "found": []}
    print(f"{card}, PyTorch {torch.__version__}: {rates['product']:.3g} TFLOP/s in a product", flush=True)
    for name, label, switches in cases(options.peer, SMALL if options.small else SHAPES):
        left = until - time.monotonic()
        if left < options.each:
            print(f"{name} | {label} | not measured: the time is up", flush=True)
            continue
        job = {"shape": name, "small": options.small, "device": options.device, "seconds": options.each}
        job["switches"] = None if switches is None else sorted(switches)
        python = options.peer if switches is None else sys.executable
        found = carried_out(job, python, min(left, options.seconds / 3))
        record["found"].append({"shape": name, "case": label, **found})
        print(line(name, label, found, rates), flush=True)
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="gpu-bench training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="a small shape, to try the script")
    parser.add_argument("--seconds", type=float, default=240, help="for all together")
    parser.add_argument("--each", type=float, default=5, help="seconds of timed updates of each case")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has transformers")
    parser.add_argument("--output", type=Path, default=Path("gpu-bench"))
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        Path(options.inside[1]).write_text(json.dumps(inside(json.loads(options.inside[0]))))
        return 0
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("gpu-bench: no CUDA device is here: use --device cpu --small to try it", file=sys.stderr)
        return 2
    bench(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
