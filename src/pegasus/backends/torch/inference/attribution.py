"""Where the decoder looked while it wrote: one pass over a source and its summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


def attend(model: Any, source: Sequence[int], summary: Sequence[int]) -> np.ndarray:
    """Read a source and a summary of it once more, and return where the decoder looked.

    Args:
        model: with encoder and decoder.
        source: tokens of the source.
        summary: tokens of the summary, without the start token.

    Returns:
        float32 [summary tokens, source tokens]; ``contract.InferenceModel.attend`` says more.
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
        # Layer by layer: [layers, heads, T, S] of a long text is large.
        layers = [layer[0].float().mean(dim=0) for layer in found.cross_attentions]
        mean_TS = torch.stack(layers).mean(dim=0)
    return np.asarray(mean_TS[: len(summary)].cpu().numpy())
