"""What both libraries run on a GPU: ``generate``, timed; as a program, transformers' part of ``gpu-bench``.

python gpu_peer.py FOLDER JOB                # prints a line of JSON; JOB is JSON too
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def wait(device: str) -> None:
    """Until the device has done what it was told."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(run: Callable[[], Any], device: str, rounds: int, warm: int = 2) -> list[float]:
    """Seconds of each round, after some that warm up."""
    found = []
    for number in range(rounds + warm):
        wait(device)
        start = time.perf_counter()
        run()
        wait(device)
        if number >= warm:
            found.append(time.perf_counter() - start)
    return found


def make_texts(vocabulary: int, batch: int, source: int, device: str) -> Any:
    """Random tokens, the same in both libraries."""
    import torch

    generator = torch.Generator().manual_seed(7)
    return torch.randint(110, vocabulary, (batch, source), generator=generator).to(device)


def say(model: Any, texts: Any, mask: Any, beams: int, tokens: int) -> Any:
    """A summary of each text, all of them of so many tokens."""
    said = model.generate(
        input_ids=texts, attention_mask=mask, num_beams=beams, max_new_tokens=tokens,
        do_sample=False, early_stopping=False, length_penalty=1.0, min_length=0,
    )  # fmt: skip
    assert said.shape == (len(texts), tokens + 1), f"{tuple(said.shape)}, not {tokens} tokens"
    return said


def timed(model: Any, job: dict[str, Any], batch: int, tokens: int) -> dict[str, Any]:
    """Seconds of each round of one batch size, and the memory that it took; or why there are none."""
    import torch

    device = job["device"]
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    texts = make_texts(model.config.vocab_size, batch, job["source"], device)
    mask = torch.ones_like(texts)
    try:
        rounds = seconds(
            lambda: say(model, texts, mask, job["beams"], tokens), device, job["rounds"], job.get("warm", 2)
        )
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return {"failed": "does not fit"}
    memory = torch.cuda.max_memory_allocated() / 1e9 if device.startswith("cuda") else None
    return {"seconds": rounds, "memory_gb": memory}


def main() -> None:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    folder, job = sys.argv[1], json.loads(sys.argv[2])
    kind = getattr(torch, job["dtype"])
    model = transformers.PegasusForConditionalGeneration.from_pretrained(folder, torch_dtype=kind)
    model = model.to(job["device"]).eval()
    for batch in job["batches"]:
        found = timed(model, job, batch, job["tokens"])
        print(json.dumps(found | {"batch": batch, "version": transformers.__version__}), flush=True)


if __name__ == "__main__":
    main()
