"""How the texts of a padded batch lie one behind another: found on the host, so no device is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pegasus.backends.contract import IGNORED, PARTS, Batch
from pegasus.backends.torch.model.packing import Spans


@dataclass(frozen=True)
class BatchSpans:
    """Where the texts of a batch lie when it is packed.

    Attributes:
        source: of ``input_ids``; None where there are none.
        target: of ``labels``, each up to its last token that counts; None where there are none.
        counted: by the name of labels, which packed tokens have one that counts, in the order of the batch.
    """

    source: Spans | None
    target: Spans | None
    counted: Mapping[str, Tensor]


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device, which is not waited for."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def find_spans(batch: Batch, device: torch.device) -> BatchSpans | None:
    """Where the texts of a batch lie; None if one has no token, which only a padded batch can hold.

    Args:
        batch: arrays of the host.
        device: where the numbers are needed.
    """
    held: dict[str, np.ndarray] = {}
    if "input_ids" in batch:
        mask = batch.get("attention_mask")
        held["input_ids"] = np.ones_like(batch["input_ids"], bool) if mask is None else mask != 0
    if "labels" in batch:
        counts = batch["labels"] != IGNORED
        held["labels"] = np.flip(np.flip(counts, 1).cumsum(1), 1) > 0
    if not all(one.any(1).all() for one in held.values()):
        return None
    counted = {}
    for key in PARTS.values():
        of = "input_ids" if key == "mlm_labels" else key
        if key in batch and of in held:
            counts = batch[key] != IGNORED
            if (counts & ~held[of]).any():  # a label on padding
                return None
            counted[key] = sent(torch.from_numpy((held[of].ravel().cumsum() - 1)[counts.ravel()]), device)
    source, target = (_spans(held[key], device) if key in held else None for key in ("input_ids", "labels"))
    return BatchSpans(source, target, counted)


def _spans(held_BT: np.ndarray, device: torch.device) -> Spans:
    lengths = held_BT.sum(1)
    longest, places = int(lengths.max()), np.flatnonzero(held_BT)
    ends = np.concatenate([[0], lengths.cumsum()])
    within = np.arange(len(places)) - np.repeat(ends[:-1], lengths)
    rows, positions = np.divmod(places, held_BT.shape[1])
    arrays = ends.astype(np.int32), places, positions, rows * longest + within
    tensors = [sent(torch.from_numpy(array), device) for array in arrays]
    return Spans(
        ends=tensors[0],
        places=tensors[1],
        positions=tensors[2],
        padded=tensors[3],
        count=len(held_BT),
        longest=longest,
        width=int(positions.max()) + 1,
    )
