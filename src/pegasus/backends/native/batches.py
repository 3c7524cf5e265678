"""How a batch is dealt out for learning: its texts without padding, to workers, in portions.

Axes: B texts, S source, T target length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pegasus.spec.batch import IGNORED, Batch

#: Tokens that one thread takes at a time: what a layer keeps of them is some MiB.
PORTION_TOKENS = 2048


def fits(batch: Batch, vocabulary: int) -> bool:
    """Whether each text has tokens, all of the vocabulary, and what MLM hides is not padding.

    The library would read beyond its tables.
    """
    labels = [batch[name] for name in ("labels", "mlm_labels") if name in batch]
    counted = [ids[ids != IGNORED] for ids in labels]
    if not all(((ids >= 0) & (ids < vocabulary)).all() for ids in (batch["input_ids"], *counted)):
        return False
    seen = _seen(batch)
    mlm = batch.get("mlm_labels")
    hidden = mlm is not None and bool(((mlm != IGNORED) & ~seen).any())
    return not hidden and bool(seen.any(axis=1).all())


class Texts:
    """A batch as separate texts without padding.

    Args:
        batch: arrays by name; one that `fits`.
        parts: of the loss that are wanted, of "target" and "mlm"; the batch has labels for them.
        pad: what the decoder reads where a label is not counted.
        start: what the decoder reads first.
    """

    def __init__(self, batch: Batch, parts: Sequence[str], pad: int, start: int) -> None:
        places = [np.flatnonzero(row) for row in _seen(batch)]
        self._places = [place.astype(np.int32) for place in places]
        self._sources = _cut(batch["input_ids"], places)
        nothing = [np.zeros(0, np.int32)] * len(places)
        self._targets, self._labels = nothing, nothing
        if "target" in parts:
            self._targets, self._labels = _targets(batch["labels"], pad, start)
        self._mlm = _cut(batch["mlm_labels"], places) if "mlm" in parts else None
        #: Tokens of source and target of each text.
        self.sizes = [len(a) + len(b) for a, b in zip(self._sources, self._targets)]
        #: Rows of the tables of positions that are read: of the encoder, of the decoder.
        self.source_length = batch["input_ids"].shape[1]
        self.target_length = max(map(len, self._targets), default=0)

    def together(self, texts: Sequence[int]) -> dict[str, Any]:
        """These texts behind each other: fields of ``learning.BatchRecord``."""
        fields: dict[str, Any] = {
            "texts": len(texts),
            "source_offsets": _offsets([self._sources[i] for i in texts]),
            "source": np.concatenate([self._sources[i] for i in texts]),
            "source_positions": np.concatenate([self._places[i] for i in texts]),
            "target_offsets": _offsets([self._targets[i] for i in texts]),
            "target": np.concatenate([self._targets[i] for i in texts]),
            "labels": np.concatenate([self._labels[i] for i in texts]),
        }
        if self._mlm is not None:
            mlm = np.concatenate([self._mlm[i] for i in texts])
            places = np.flatnonzero(mlm != IGNORED).astype(np.int32)
            labels = np.ascontiguousarray(mlm[places])
            fields.update(mlm_tokens=len(places), mlm_places=places, mlm_labels=labels)
        return fields


def deal(sizes: Sequence[int], workers: int) -> list[list[int]]:
    """Which texts each worker takes: the longest first, each to whoever has least. Always the same way."""
    hands: list[list[int]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for text in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        least = loads.index(min(loads))
        hands[least].append(text)
        loads[least] += sizes[text]
    return hands


def portions(sizes: Sequence[int], texts: Sequence[int]) -> Iterator[list[int]]:
    """Texts in portions of about as many tokens each, few enough for one pass."""
    total = sum(sizes[text] for text in texts)
    limit = total / max(1, round(total / PORTION_TOKENS))
    portion: list[int] = []
    filled = 0.0
    for text in texts:
        portion.append(text)
        filled += sizes[text]
        if filled >= limit - 1:
            yield portion
            portion, filled = [], 0.0
    if portion:
        yield portion


def _seen(batch: Batch) -> np.ndarray:
    """Which tokens of the sources are no padding."""
    mask = batch.get("attention_mask")
    return np.ones(batch["input_ids"].shape, bool) if mask is None else np.asarray(mask != 0)


def _targets(labels_BT: np.ndarray, pad: int, start: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the decoder reads and is to say, up to the last token that counts."""
    given_BT = np.full_like(labels_BT, start)
    given_BT[:, 1:] = np.where(labels_BT[:, :-1] == IGNORED, pad, labels_BT[:, :-1])
    counted_BT = labels_BT != IGNORED
    ends = [int(row.nonzero()[0][-1]) + 1 if row.any() else 0 for row in counted_BT]
    whole = [np.arange(end) for end in ends]
    return _cut(given_BT, whole), _cut(labels_BT, whole)


def _cut(ids: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
    rows = ids.astype(np.int32)
    return [row[place] for row, place in zip(rows, places)]


def _offsets(texts: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *map(len, texts)]).astype(np.int32)
