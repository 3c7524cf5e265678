"""Batches on their way to the model: words hidden in them, made by another process ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from examples import SENTENCE_MASK
from passages import OFFSET
from scales import Settings
from sentencepiece import SentencePieceProcessor
from torch.utils.data import DataLoader, IterableDataset

from pegasus.backends.contract import IGNORED
from pegasus.data.mask import Symbols, WordMasking, hide_words

Batch = dict[str, np.ndarray]
"""What ``Learner`` reads: ``input_ids``, ``attention_mask``, ``labels`` and perhaps ``mlm_labels``."""
Feed = Callable[[int], Iterator[Batch]]
"""From the number of batches to pass over to the batches that follow."""

_AHEAD = 32


def as_batch(source: np.ndarray, target: np.ndarray) -> Batch:
    """Padded ids as a batch."""
    labels = np.where(target == 0, IGNORED, target)
    return {"input_ids": source, "attention_mask": (source != 0).astype(np.int64), "labels": labels}


def symbols(pieces: SentencePieceProcessor) -> Symbols:
    """What hiding words has to know of the vocabulary."""
    size = pieces.get_piece_size() + OFFSET
    unknown = pieces.unk_id() + OFFSET
    begins = np.zeros(size, bool)
    begins[unknown:] = [
        pieces.id_to_piece(place - OFFSET).startswith("▁") for place in range(unknown, size)
    ]
    return Symbols(size, unknown, begins)


def hide(feed: Feed, settings: Settings, known: Symbols, seed: int) -> Feed:
    """The same batches with words hidden in the texts that sentences were taken from.

    In a text that is whole none are: the model is to copy its sentences.
    """
    rule = WordMasking(settings["word_ratio"])

    def hidden(first: int) -> Iterator[Batch]:
        for number, batch in enumerate(feed(first), first):
            rng = np.random.default_rng([seed, number, 1])
            covered = np.full_like(batch["input_ids"], IGNORED)
            ids = batch["input_ids"].copy()
            for place in np.flatnonzero((ids == SENTENCE_MASK).any(1)):
                ids[place], covered[place] = hide_words(ids[place], rule, known, rng)
            yield {**batch, "input_ids": ids, "mlm_labels": covered}

    return hidden


def ahead(feed: Feed) -> Feed:
    """The same batches in the same order, made by another process: an accelerator shall not wait."""

    def start(first: int) -> Iterator[Batch]:
        loader: DataLoader[Any] = DataLoader(
            _Stream(feed, first),
            batch_size=None,
            num_workers=1,
            prefetch_factor=_AHEAD,
            collate_fn=_same,
            multiprocessing_context="fork",  # the text is not copied
            generator=torch.Generator(),  # the model's random numbers are left alone
        )
        yield from loader

    return start


class _Stream(IterableDataset[Batch]):
    def __init__(self, feed: Feed, first: int) -> None:
        self.feed, self.first = feed, first

    def __iter__(self) -> Iterator[Batch]:
        return self.feed(self.first)


def _same(batch: Batch) -> Batch:
    return batch
