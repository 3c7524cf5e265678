"""One contestant in a process of its own: loads a model, then does the jobs that come in, line by line.

Started by the other files here. It runs in our interpreter or in a peer's, so nothing but the standard
library is imported before it is known who takes part. Results go to standard output, a JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Peer → the packages that its interpreter must have.
PEERS = {
    "ctranslate2-int8": ("ctranslate2", "transformers", "torch"),
    "ctranslate2-fp32": ("ctranslate2", "transformers", "torch"),
    "onnxruntime-fp32": ("onnxruntime", "onnxscript"),
    "onnxruntime-int8": ("onnxruntime", "onnxscript"),
    "transformers-fp32": ("transformers", "torch"),
    "transformers-bf16": ("transformers", "torch"),
    "transformers-int8": ("transformers", "torch"),
    "flax-fp32": ("transformers", "flax", "jax"),
}
FIRST_WORD, EOS = 106, 1
#: rows [documents][source] of ids, beams, tokens → how many tokens each summary has
Generate = Callable[[list[list[int]], int, int], list[int]]
#: text, beams, tokens → summary
Summarize = Callable[[str, int, int], str]


def rows_of(job: dict[str, int], vocabulary: int) -> list[list[int]]:
    """Random source texts as ids, EOS last, the same for everyone."""
    import random

    dice = random.Random(job.get("seed", 0))
    return [
        [*(dice.randrange(FIRST_WORD, vocabulary) for _ in range(job["source"] - 1)), EOS]
        for _ in range(job["documents"])
    ]


def words_of(ids: list[int]) -> list[str]:
    """Ids as the pieces of the made-up vocabulary (`checkpoints.py`)."""
    return ["</s>" if number == EOS else f"▁w{number - FIRST_WORD}" for number in ids]


# -- who takes part ------------------------------------------------------------------------------------


def ours(folder: Path, name: str, threads: int) -> Generate:
    """Named ours-DTYPE, or ours-BACKEND-DTYPE where it is no packed model."""
    import numpy as np

    from pegasus.backends.choose import open_model

    _, *backend, dtype = name.split("-")
    if backend:  # a framework computes with the processors that the process may use
        opened = open_model(folder, backend=backend[0], device="cpu", dtype=dtype)
    else:
        opened = open_model(folder, device="cpu", threads=threads)

    def generate(rows: list[list[int]], beams: int, tokens: int) -> list[int]:
        found = opened.generate(
            np.array(rows), num_beams=beams, min_new_tokens=tokens, max_new_tokens=tokens
        )
        return [len(row) - 1 for row in getattr(found, "sequences", found)]

    return generate


def our_summary(folder: Path, name: str, threads: int) -> Summarize:
    from pegasus import Summarizer

    opened = Summarizer.from_pretrained(folder, device="cpu", threads=threads)

    def summarize(text: str, beams: int, tokens: int) -> str:
        limits = {"min_new_tokens": tokens, "max_new_tokens": tokens}
        return opened(text, num_beams=beams, generate=limits).text

    return summarize


def ctranslate2(folder: Path, name: str, threads: int) -> Generate:
    translate = _translator(folder, name, threads)
    return lambda rows, beams, tokens: [
        len(found) for found in translate([words_of(row) for row in rows], beams, tokens)
    ]


def ctranslate2_summary(folder: Path, name: str, threads: int) -> Summarize:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(str(folder / "spiece.model"))
    translate = _translator(folder, name, threads)

    def summarize(text: str, beams: int, tokens: int) -> str:
        (found,) = translate([[*processor.encode(text, out_type=str), "</s>"]], beams, tokens)
        return str(processor.decode(found))

    return summarize


def _translator(folder: Path, name: str, threads: int) -> Callable[..., list[list[str]]]:
    from ctranslate2 import Translator

    kind = {"int8": "int8", "fp32": "float32"}[name.rpartition("-")[2]]
    opened = Translator(
        str(folder), device="cpu", compute_type=kind, inter_threads=1, intra_threads=threads
    )

    def translate(rows: list[list[str]], beams: int, tokens: int) -> list[list[str]]:
        limits = {"min_decoding_length": tokens, "max_decoding_length": tokens}
        found = opened.translate_batch(rows, beam_size=beams, max_input_length=0, **limits)
        return [result.hypotheses[0] for result in found]

    return translate


def transformers(folder: Path, name: str, threads: int) -> Generate:
    import torch

    run = _hugging_face(folder, name, threads)
    return lambda rows, beams, tokens: [
        int(row.shape[0]) - 1 for row in run(torch.tensor(rows), beams, tokens)
    ]


def transformers_summary(folder: Path, name: str, threads: int) -> Summarize:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    run = _hugging_face(folder, name, threads)

    def summarize(text: str, beams: int, tokens: int) -> str:
        ids = tokenizer([text], return_tensors="pt").input_ids
        return str(tokenizer.batch_decode(run(ids, beams, tokens), skip_special_tokens=True)[0])

    return summarize


def _hugging_face(folder: Path, name: str, threads: int) -> Callable[..., Any]:
    import torch
    from transformers import PegasusForConditionalGeneration

    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if name.endswith("bf16") else torch.float32
    model = PegasusForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
    if name.endswith("int8"):
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)

    def run(ids: Any, beams: int, tokens: int) -> Any:
        limits = {"min_new_tokens": tokens, "max_new_tokens": tokens}
        with torch.inference_mode():
            return model.generate(ids, num_beams=beams, do_sample=False, **limits)

    return run


def flax(folder: Path, name: str, threads: int) -> Generate:
    """transformers' Flax classes, which the releases before 5 have."""
    import numpy as np
    from transformers import FlaxPegasusForConditionalGeneration

    model = FlaxPegasusForConditionalGeneration.from_pretrained(folder, from_pt=True)

    def generate(rows: list[list[int]], beams: int, tokens: int) -> list[int]:
        limits = {"min_length": tokens + 1, "max_length": tokens + 1}
        ids = np.array(rows)
        found = model.generate(ids, attention_mask=np.ones_like(ids), num_beams=beams, **limits)
        return [len(row) - 1 for row in np.asarray(found.sequences)]

    return generate


GENERATE = {
    "ours": ours,
    "onnxruntime": ours,
    "ctranslate2": ctranslate2,
    "transformers": transformers,
    "flax": flax,
}
SUMMARIZE = {
    "ours": our_summary,
    "onnxruntime": our_summary,
    "ctranslate2": ctranslate2_summary,
    "transformers": transformers_summary,
}


# -- the machine -----------------------------------------------------------------------------------------


def bandwidth(threads: int) -> float:
    """Bytes a second that all threads together read from memory: the best of several tries."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    parts = [np.ones(2**26, np.float32) for _ in range(threads)]  # 256 MiB each, beyond any cache
    probes: list[Callable[[Any], Any]] = [
        lambda part: np.dot(part, part), lambda part: part.view(np.int64).sum(), np.max,
    ]  # fmt: skip
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for probe in probes * 4:
            began = time.perf_counter()
            list(pool.map(probe, parts))
            best = max(best, sum(part.nbytes for part in parts) / (time.perf_counter() - began))
    return best


def peak_memory() -> int:
    """The most bytes of memory that this process has held; what it was started from does not count."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("the system does not tell the peak memory of a process")


def limit_threads(threads: int) -> None:
    for name in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)


def silence_peers() -> None:
    """What peers say about their own settings and future."""
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    warnings.simplefilter("ignore")


def compilations() -> Callable[[], int]:
    """How many programs JAX has compiled since this was called; 0 where there is no JAX."""
    found: list[float] = []
    if "jax" in sys.modules:
        from jax import monitoring

        def listen(event: str, seconds: float, **_: Any) -> None:
            if event == "/jax/core/compile/backend_compile_duration":
                found.append(seconds)

        monitoring.register_event_duration_secs_listener(listen)
    return lambda: len(found)


# -- the conversation ----------------------------------------------------------------------------------


def answers(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is told: after loading, and after every job."""
    family = options.name.partition("-")[0]
    if options.do == "bandwidth":
        yield {"bytes_per_second": bandwidth(options.threads)}
        return
    began = time.perf_counter()
    if options.do == "summarize":
        yield from _summary(
            SUMMARIZE[family](options.folder, options.name, options.threads), began, options
        )
        return
    generate = GENERATE[family](options.folder, options.name, options.threads)
    yield {"load_seconds": time.perf_counter() - began, "peak_memory": peak_memory()}
    compiled = compilations()
    for line in sys.stdin:
        job = json.loads(line)
        rows = rows_of(job, options.vocabulary)
        began = time.perf_counter()
        lengths = generate(rows, job["beams"], job["tokens"])
        seconds = time.perf_counter() - began
        assert lengths == [job["tokens"]] * job["documents"], lengths
        yield {"seconds": seconds, "peak_memory": peak_memory(), "compilations": compiled()}


def _summary(summarize: Summarize, began: float, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    loaded, memory = time.perf_counter(), peak_memory()
    job = {"source": options.source, "documents": 1}
    text = " ".join(word.removeprefix("▁") for word in words_of(rows_of(job, options.vocabulary)[0][:-1]))
    summary = summarize(text, options.beams, options.tokens)
    assert summary
    yield {"load_seconds": loaded - began, "loaded_memory": memory, "peak_memory": peak_memory()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=("generate", "summarize", "bandwidth"))
    parser.add_argument("--name", default="")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=96_103)
    for name, usual in (("source", 128), ("beams", 8), ("tokens", 64)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    limit_threads(1 if options.do == "bandwidth" else options.threads)
    if not options.name.startswith("ours"):
        silence_peers()
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for answer in answers(options):
        print(json.dumps(answer), file=told, flush=True)


if __name__ == "__main__":
    main()
