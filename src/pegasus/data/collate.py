"""Examples → one batch: padded arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pegasus.data.records import Example, Ids
from pegasus.spec.batch import IGNORED, Batch


def collate(examples: Sequence[Example], pad: int = 0, multiple: int = 1) -> Batch:
    """Pad examples on the right into one batch.

    Args:
        examples: all with an input or all without, all with `mlm_labels` or all without.
        pad: the id of padding in the input; labels are padded with -100.
        multiple: lengths are rounded up to a multiple of this, which some devices like.

    Returns:
        `labels` [B, T]; `input_ids` and `attention_mask` [B, S] where the examples have an input;
        `mlm_labels` [B, S] where words were hidden. All int32.
    """
    batch: dict[str, Ids] = {}
    inputs = [example.input_ids for example in examples if example.input_ids is not None]
    if inputs:
        batch["input_ids"] = _padded(inputs, pad, multiple)
        lengths = np.array([len(row) for row in inputs])
        columns = np.arange(batch["input_ids"].shape[1])
        batch["attention_mask"] = (columns < lengths[:, None]).astype(np.int32)
    batch["labels"] = _padded([example.labels for example in examples], IGNORED, multiple)
    hidden = [example.mlm_labels for example in examples if example.mlm_labels is not None]
    if hidden:
        batch["mlm_labels"] = _padded(hidden, IGNORED, multiple)
    return batch


def _padded(rows: Sequence[Ids], fill: int, multiple: int) -> Ids:
    longest = max(map(len, rows))
    padded = np.full((len(rows), -(-longest // multiple) * multiple), fill, np.int32)
    for place, row in zip(padded, rows):
        place[: len(row)] = row
    return padded
