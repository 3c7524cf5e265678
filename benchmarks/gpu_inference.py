"""What a GPU makes of PEGASUS: are the words right, how fast do they come? Part of ``scripts/gpu-bench``.

Questions are asked in the order of their importance until the time is up; each finding is printed, and
written to a file, when it is there. Weights are random (seeded) in the shape of pegasus-large; the bias of
EOS keeps it from being said, so every text gets all its tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gpu_words
import torch
from checkpoints import ARCHITECTURE
from gpu_figures import bandwidth, device_step, encoder_seconds, read_each_step
from gpu_peer import make_texts, say, seconds, timed, wait

import pegasus

SMALL = ARCHITECTURE | {
    "vocab_size": 503, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
}  # fmt: skip
EOS = 1
#: Ways to compute: what ``static_kernels`` and ``static_encoder`` are.
WAYS = {"torch": ("torch", False), "torch, recorded encoder": ("torch", True), "triton": ("triton", True)}


@dataclass
class Bench:
    """A device, a model, what was found on it, and when time is up."""

    options: argparse.Namespace
    start: float = field(default_factory=time.time)
    model: Any = None
    limits: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def gpu(self) -> bool:
        return bool(self.options.device.startswith("cuda"))

    @property
    def left(self) -> float:
        """Seconds until time is up."""
        return self.options.seconds - (time.time() - self.start)

    def note(self, question: str, answer: str, **figures: Any) -> None:
        """One finding: printed, and a line of JSON in the output folder."""
        at = time.time() - self.start
        print(f"[{at:6.1f} s] {question}: {answer}", flush=True)
        row = {"at_s": round(at, 1), "question": question, "answer": answer, **figures}
        self.rows.append(row)
        with (self.options.output / "gpu-bench.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def limit(self, dtype: str) -> float:
        """Seconds of a step that only reads its weights."""
        if dtype not in self.limits:
            self.limits[dtype] = read_each_step(self.model) / bandwidth(self.options.device)
        return self.limits[dtype]

    def job(self, **changes: Any) -> dict[str, Any]:
        """What ``gpu_peer.timed`` is told."""
        names = ("device", "source", "beams", "rounds", "warm")
        return {name: getattr(self.options, name) for name in names} | changes

    def use(self, dtype: str, way: str) -> Any:
        """The model in a type, computing in one of the ways."""
        kind = getattr(torch, dtype)
        if self.model.dtype != kind:
            self.model.__dict__.pop("_memories", None)
            self.model = self.model.to(kind)
        self.model.static_memory = way != "plain"
        self.model.static_kernels, self.model.static_encoder = WAYS.get(way, ("torch", False))
        return self.model


def kernels_of(way: str) -> str | None:
    """Whose passes of static memory a way takes; None: it has none."""
    return WAYS[way][0] if way in WAYS else None


# -- what is asked ----------------------------------------------------------------------------------------

Question = tuple[str, float, Callable[[], None]]


def questions(bench: Bench) -> Iterator[Question]:
    """What is asked, how many seconds it may take on an H100, and how: the most important first."""
    options, large = bench.options, max(bench.options.batches)
    first, *others = options.dtypes
    for way in ("triton", "torch"):
        yield f"first summary, {first}, {way}", 20, lambda way=way: first_summary(bench, first, way)
    for way in reversed(WAYS):
        yield f"one text, {first}, {way}", 6, lambda way=way: one_text(bench, first, way)
    yield "overflow, float16, triton", 10, lambda: overflow(bench, "float16", "triton")
    yield "recorded settings, triton", 25, lambda: settings(bench, "triton")
    for way in ("triton", "torch") if 32 in options.batches else ():
        yield from _batch(bench, first, way, 32, options.beams)
    if options.peer:
        yield f"transformers, {first}", 45, lambda: by_peer(bench, first)
    for batch in (128, 64, 8):
        for way in ("triton", "torch") if batch in options.batches else ():
            yield from _batch(bench, first, way, batch, options.beams)
    if bench.gpu:
        yield f"bundled model, {first}", 12, lambda: bundled(bench, first, "triton")
    yield f"one beam, {first}", 6, lambda: [one_text(bench, first, way, 1) for way in ("triton", "torch")]
    for source in (24, 16) if options.small else (1024, 128):
        for way in ("triton", "torch"):
            yield (
                f"source {source}, {way}",
                5,
                lambda way=way, source=source: one_text(bench, first, way, source=source),
            )
            if large > 1:
                yield from _batch(bench, first, way, min(32, large), options.beams, source)
    for dtype in others:
        for way in ("triton", "torch"):
            yield f"one text, {dtype}, {way}", 6, lambda dtype=dtype, way=way: one_text(bench, dtype, way)
            if large > 1:
                yield from _batch(bench, dtype, way, min(32, large), options.beams)
    for batch in options.batches:
        if batch not in (1, 8, 32, 64, 128):
            yield from _batch(bench, first, "triton", batch, options.beams)
            yield from _batch(bench, first, "torch", batch, options.beams)
    yield "recorded settings, torch", 15, lambda: settings(bench, "torch")
    yield "overflow, float16, torch", 8, lambda: overflow(bench, "float16", "torch")
    yield f"one text, {first}, plain", 8, lambda: one_text(bench, first, "plain")
    for name in TUNINGS:
        yield f"tuning {name}", 15, lambda name=name: tuned(bench, first, name)


def _batch(
    bench: Bench, dtype: str, way: str, batch: int, beams: int, source: int | None = None
) -> Iterator[Question]:
    size = f"{batch} x {beams}" + (f", source {source}" if source else "")
    cost = 4 + batch / 12
    yield f"{size}, {dtype}, {way}", cost, lambda: many_texts(bench, dtype, way, batch, source)


def first_summary(bench: Bench, dtype: str, way: str) -> None:
    """From a model in memory to its first summary: compiles, allocates, records nothing yet."""
    model, options = bench.use(dtype, way), bench.options
    texts = make_texts(model.config.vocab_size, 1, options.source, options.device)
    found = seconds(
        lambda: say(model, texts, torch.ones_like(texts), options.beams, options.tokens),
        options.device, 2, warm=0,
    )  # fmt: skip
    bench.note(
        f"first summary, {dtype}, {way}", f"{found[0]:.2f} s, the second {found[1]:.2f} s", seconds=found
    )


def settings(bench: Bench, way: str) -> None:
    """Recorded settings, in float32."""
    few = not bench.gpu
    found = gpu_words.check_settings(bench.options.device, way, 1000 if few else 24, 1 if few else None)
    judge(bench, f"words, recorded settings, float32, {way}", found, whole=True)


def overflow(bench: Bench, dtype: str, way: str) -> None:
    """A residual that leaves float16's range."""
    found = gpu_words.check_overflow(bench.options.device, way, dtype, None if bench.gpu else 1)
    judge(bench, f"words, overflow model, {dtype}, {way}", found, whole=True)


def bundled(bench: Bench, dtype: str, way: str) -> None:
    """Real texts; 16 bits may choose other words in one, and that is said and no fault."""
    found = gpu_words.check_bundled(bench.options.device, way, dtype)
    judge(bench, f"words, bundled model, {dtype}, {way}", found, whole=False)


def judge(bench: Bench, question: str, found: dict[str, int], whole: bool) -> None:
    right = found["right"] == found["of"]
    wrong = "" if right else " WRONG" if whole else " (others may be as good)"
    bench.note(question, f"{found['right']} of {found['of']}{wrong}", **found)
    if whole and not right:
        bench.faults.append(f"{question}: {found}")


def one_text(
    bench: Bench, dtype: str, way: str, beams: int | None = None, source: int | None = None
) -> None:
    """One text: a document, a step, its share on the device, its limit, the encoder."""
    options, model = bench.options, bench.use(dtype, way)
    job = bench.job(beams=beams or options.beams, source=source or options.source)
    few = max(1, options.tokens // 8)
    whole, part = (
        statistics.median(timed(model, job, 1, tokens)["seconds"]) for tokens in (options.tokens, few)
    )
    step, limit = (whole - part) / (options.tokens - few), bench.limit(dtype)
    on_device = device_step(model, kernels_of(way), job["beams"], options.device)
    encoder = encoder_seconds(model, job)
    inner = "" if on_device is None else f" ({1e3 * on_device:.3f} on the device)"
    bench.note(
        f"1 x {job['beams']}, source {job['source']}, {dtype}, {way}",
        f"{1e3 * whole:.1f} ms; step {1e3 * step:.3f} ms{inner}, {step / limit:.1f} x its limit of "
        f"{1e3 * limit:.3f}; encoder {1e3 * encoder:.2f} ms; {few} tokens {1e3 * part:.1f} ms",
        document_s=whole, step_s=step, device_step_s=on_device, limit_s=limit, encoder_s=encoder,
        few_s=part, way=way, dtype=dtype, batch=1, beams=job["beams"], source=job["source"],
    )  # fmt: skip


def many_texts(bench: Bench, dtype: str, way: str, batch: int, source: int | None = None) -> None:
    """Several texts at once."""
    job = bench.job(source=source or bench.options.source)
    found = timed(bench.use(dtype, way), job, batch, bench.options.tokens)
    question = f"{batch} x {job['beams']}, source {job['source']}, {dtype}, {way}"
    where = {"batch": batch, "beams": job["beams"], "source": job["source"], "dtype": dtype}
    bench.note(question, told(found, batch), **found, **where, way=way)
    bench.model.__dict__.pop("_memories", None)  # the next size has the device to itself
    if bench.gpu:
        torch.cuda.empty_cache()


def told(found: dict[str, Any], batch: int) -> str:
    if "failed" in found:
        return str(found["failed"])
    middle, memory = statistics.median(found["seconds"]), found.get("memory_gb")
    room = "" if memory is None else f", {memory:.1f} GB"
    return f"{1e3 * middle:.1f} ms, {batch / middle:.2f} documents/s{room}"


def by_peer(bench: Bench, dtype: str) -> None:
    """Transformers in its own interpreter, batch after batch, until it is stopped."""
    options, model = bench.options, bench.use(dtype, "torch")
    batches = [1, *sorted({32, max(options.batches)} & set(options.batches))]
    job = bench.job(
        dtype=dtype, batches=batches, tokens=options.tokens, rounds=min(3, options.rounds), warm=1
    )
    with tempfile.TemporaryDirectory() as folder:
        model.__dict__.pop("_memories", None)
        model.save_pretrained(folder)
        model.to("cpu")  # the peer has the device to itself
        if bench.gpu:
            torch.cuda.empty_cache()
        file = Path(__file__).with_name("gpu_peer.py")
        command = [options.peer, str(file), folder, json.dumps(job)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said, errors = process.communicate(timeout=max(20.0, bench.left - 25))
        except subprocess.TimeoutExpired:
            process.kill()
            said, errors = process.communicate()
        for line in said.splitlines():
            found = json.loads(line)
            name = f"{found['batch']} x {options.beams}, {dtype}, transformers {found['version']}"
            where = {"beams": options.beams, "source": options.source, "dtype": dtype}
            bench.note(name, told(found, found["batch"]), **found, **where, way="transformers")
        if process.returncode:
            last = errors.strip().splitlines()[-1:] or ["stopped"]
            bench.note(f"transformers, {dtype}", f"failed: {last[0]}")
        model.to(options.device)


#: Other sizes of blocks for one text, where a step of ``Tuning()`` is not what was hoped for.
TUNINGS: dict[str, dict[str, int]] = {
    "32 columns": {"columns": 32},
    "norm written once": {"norm_rows": 0, "wide_columns": 16, "splits": 1},
    "norm written once, 4 splits": {"norm_rows": 0, "wide_columns": 32, "splits": 4},
    "PyTorch's products": {"norm_rows": 0, "few_rows": 0},
    "source whole": {"programs": 1},
}


def tuned(bench: Bench, dtype: str, name: str) -> None:
    """A step on the device with other sizes of blocks."""
    from pegasus.backends.torch.inference.kernels.tuning import Tuning

    options, model = bench.options, bench.use(dtype, "triton")
    texts = make_texts(model.config.vocab_size, 1, options.source, options.device)
    model.__dict__.pop("_memories", None)
    say(model, texts, torch.ones_like(texts), options.beams, 1)
    model._memories.choice.tuning = Tuning(**TUNINGS[name])
    for memory in model._memories._all:
        memory.passes.clear()
    for _ in range(2):
        say(model, texts, torch.ones_like(texts), options.beams, options.tokens)
    found = device_step(model, "triton", options.beams, options.device)
    answer = "was not recorded" if found is None else f"step {1e3 * found:.3f} ms on the device"
    bench.note(f"tuning, {dtype}, {name}", answer, device_step_s=found, tuning=TUNINGS[name])
    model.__dict__.pop("_memories", None)


# -- the run ----------------------------------------------------------------------------------------------


def make_model(options: argparse.Namespace) -> Any:
    torch.manual_seed(0)
    shape = (SMALL if options.small else ARCHITECTURE) | {
        "max_position_embeddings": max(1024, options.source)
    }
    with torch.device(options.device):
        model = pegasus.PegasusForConditionalGeneration(
            pegasus.PegasusConfig(**shape, max_length=512)
        ).eval()
    model.final_logits_bias[0, EOS] = -1e4
    return model


def table(bench: Bench) -> str:
    """All findings in Markdown."""
    lines = ["| s | question | found |", "|---:|---|---|"]
    lines += [f"| {row['at_s']} | {row['question']} | {row['answer']} |" for row in bench.rows]
    return "\n".join(lines) + "\n"


def compare(bench: Bench) -> None:
    """Old and new beside each other: what the default is decided by."""
    times: dict[str, dict[str, float]] = {}
    for row in bench.rows:
        spent = row.get("document_s") or statistics.median(row.get("seconds") or [0.0])
        if spent and "way" in row:
            size = f"{row['batch']} x {row['beams']}, source {row['source']}, {row['dtype']}"
            times.setdefault(size, {})[row["way"]] = spent
    for size, ways in times.items():
        others = [name for name in ways if name != "triton"]
        if "triton" in ways and others:
            ratios = [f"{ways[name] / ways['triton']:.2f} times as fast as {name}" for name in others]
            bench.note(f"{size}: triton is", ", ".join(ratios))


def ask_all(bench: Bench) -> list[str]:
    """Asks what there is time for; the questions that there was none for."""
    skipped = []
    for question, cost, ask in questions(bench):
        if bench.left < (cost if bench.gpu else 1):
            skipped.append(question)
            continue
        try:
            ask()
        except Exception as error:  # the other questions are worth an answer too
            bench.note(question, f"failed: {type(error).__name__}: {error}"[:600])
            bench.faults.append(f"{question}: {type(error).__name__}")
            bench.model.__dict__.pop("_memories", None)
    wait(bench.options.device)
    return skipped


def run(options: argparse.Namespace) -> int:
    """Asks until time is up; 1 where words are wrong."""
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "gpu-bench.jsonl").unlink(missing_ok=True)
    bench = Bench(options)
    machine = torch.cuda.get_device_name() if bench.gpu else "CPU"
    shape = "a small shape" if options.small else "pegasus-large"
    bench.note("machine", f"{machine}, PyTorch {torch.__version__}, {shape}, {options.tokens} tokens")
    bench.model = make_model(options)
    try:
        skipped = ask_all(bench)
        compare(bench)
        bench.note("not asked", "; ".join(skipped) or "nothing", skipped=skipped)
    finally:  # what was seen is kept, whatever ends this
        (options.output / "gpu-bench.md").write_text(table(bench))
    for fault in bench.faults:
        print(f"gpu-bench: wrong or failed: {fault}", file=sys.stderr)
    return 1 if bench.faults else 0
