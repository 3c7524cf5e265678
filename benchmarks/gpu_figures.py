"""Figures of a model on a GPU: a step's limit, a step on the device, the encoder; part of ``gpu-bench``."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from gpu_peer import make_texts, seconds

from pegasus.backends.torch.inference import encoder_passes, static
from pegasus.generation.model_inputs import Request


def bandwidth(device: str) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.ones(2**26 if device.startswith("cuda") else 2**23, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(seconds(lambda: target.copy_(source), device, 10))


def read_each_step(model: Any) -> int:
    """Bytes of the weights that a step reads: the decoder without its cross keys and values, the head."""
    once = (".encoder_attn.k_proj", ".encoder_attn.v_proj", "embed")
    named = model.get_decoder().named_parameters()
    parts = [part for name, part in named if not any(word in f".{name}" for word in once)]
    return sum(part.nbytes for part in parts) + int(model.get_output_embeddings().weight.nbytes)


def device_step(model: Any, kernels: str | None, beams: int, device: str) -> float | None:
    """Seconds of one recorded pass of one text's beams when nothing is asked in between."""
    memories = model.__dict__.get("_memories")
    recorded = [
        kept
        for memory in (memories._all if memories else [])
        for (name, *_), kept in memory.passes.items()
        if memory.texts == 1 and memory.beams == beams and name == kernels and kept.graph is not None
    ]
    if not recorded:
        return None

    def replay() -> None:
        for _ in range(20):
            recorded[-1].run()

    with torch.inference_mode():
        return min(seconds(replay, device, 5)) / 20


def encoder_seconds(model: Any, job: dict[str, Any]) -> float:
    """Seconds of encoding one text, in the way that the model is set to."""
    texts = make_texts(model.config.vocab_size, 1, job["source"], job["device"])
    request = Request(input_ids=texts, attention_mask=torch.ones_like(texts))

    def encode() -> None:
        if encoder_passes.fits(model, request):
            static.encode(model, request)
        else:
            with torch.inference_mode():
                model.get_encoder()(input_ids=texts, attention_mask=request.attention_mask)

    return statistics.median(seconds(encode, job["device"], job["rounds"], job["warm"]))
