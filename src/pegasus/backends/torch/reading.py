"""What the summarizer asks of PyTorch beside `generate`: a model on its device, and where it looked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pegasus.backends.torch.model import PegasusForConditionalGeneration
from pegasus.backends.torch.pretrained import torch_dtype
from pegasus.errors import BadSetting


def open_model(
    folder: Path, *, device: str = "auto", dtype: str = "auto"
) -> PegasusForConditionalGeneration:
    """Load the model in a folder and put it where it will run.

    Args:
        folder: a checkpoint.
        device: a PyTorch device; "auto" takes CUDA, then MPS, then the CPU.
        dtype: "auto" is bfloat16 on CUDA devices that compute in it, and float32 elsewhere; never float16.

    Raises:
        BadSetting: there is no such device here, or no such dtype.
    """
    place = _device(device)
    if dtype == "auto":
        # Older devices only pretend to, slowly.
        real = place.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = "bfloat16" if real else "float32"
    kind = torch_dtype(dtype)
    name = str(kind).removeprefix("torch.")
    model: PegasusForConditionalGeneration = PegasusForConditionalGeneration.from_pretrained(
        folder, dtype=name
    )
    try:
        model.to(place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BadSetting(
            f"The model cannot be put on device {device!r}: {reason}. Use device='auto' or 'cpu'."
        ) from error
    model.eval()
    return model


def cross_attention(
    model: PegasusForConditionalGeneration, source: Sequence[int], summary: Sequence[int]
) -> np.ndarray:
    """Read a source and a summary of it once more, and return where the decoder looked.

    Args:
        model: the model.
        source: tokens of the source.
        summary: tokens of the summary, without the start token.

    Returns:
        float32 [summary tokens, source tokens], averaged over layers and heads: row t is the look with
        which token t was written. Each row sums to 1.
    """
    start = model.config.decoder_start_token_id
    place = model.device
    with torch.inference_mode():
        found = model(
            input_ids=torch.tensor([list(source)], device=place),
            decoder_input_ids=torch.tensor([[start, *summary[:-1]]], device=place),
            output_attentions=True,
            use_cache=False,
            return_dict=True,
        )
        mean_TS = torch.stack([layer[0].float().mean(dim=0) for layer in found.cross_attentions]).mean(
            dim=0
        )
    return np.asarray(mean_TS[: len(summary)].cpu().numpy())


def use_threads(count: int) -> None:
    """Compute with so many threads on the CPU."""
    torch.set_num_threads(count)


def best_device() -> str:
    """The first that is here of "cuda", "mps" and "cpu"."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _device(device: str) -> torch.device:
    if device == "auto":
        device = best_device()
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise BadSetting(
            f"{device!r} is no device: use 'auto', 'cpu', 'cuda', 'cuda:0' or 'mps'."
        ) from error
