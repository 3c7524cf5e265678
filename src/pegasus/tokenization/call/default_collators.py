"""The collators that know of no target: rows filled up by a tokenizer, or stacked as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pegasus.errors import BadData
from pegasus.spec.tensors import to_tensor
from pegasus.tokenization.call.encoding import BatchEncoding

#: Whatever makes a batch of examples.
DataCollator = Callable[[Sequence[Any]], Mapping[str, Any]]
#: Names of one label an example → what a batch calls it.
_LABELS: Mapping[str, str] = {"label": "labels", "label_ids": "labels"}


@dataclass
class DataCollatorWithPadding:
    """Fills up what the encoder reads; the examples stay as they were.

    Attributes:
        tokenizer: fills up, on its ``padding_side``.
        padding: as in a call of the tokenizer.
        max_length: as in a call of the tokenizer.
        pad_to_multiple_of: as in a call of the tokenizer.
        return_tensors: "pt" or "np".
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> BatchEncoding:
        """One batch of several examples.

        Raises:
            BadData: when there are no examples.
        """
        if not features:
            raise BadData("There are no examples to make a batch of.")
        batch: BatchEncoding = self.tokenizer.pad(
            list(features),
            padding=self.padding,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_tensors=self.return_tensors,
        )
        for name, usual in _LABELS.items():
            if name in batch:
                batch[usual] = batch.pop(name)
        return batch


@dataclass
class DefaultDataCollator:
    """``default_data_collator`` with tensors of one kind."""

    return_tensors: str = "pt"

    def __call__(self, features: Sequence[Any], return_tensors: str | None = None) -> dict[str, Any]:
        """One batch of several examples of one length."""
        return default_data_collator(features, return_tensors or self.return_tensors)


def default_data_collator(features: Sequence[Any], return_tensors: str = "pt") -> dict[str, Any]:
    """Stack examples as they are; ``label`` and ``label_ids`` become ``labels``, texts are left out.

    Args:
        features: dictionaries, or objects with attributes, whose rows have one length.
        return_tensors: "pt", "np" or "jax".

    Raises:
        BadData: when there are no examples.
        BadSetting: when rows have different lengths.
    """
    if not features:
        raise BadData("There are no examples to make a batch of.")
    rows = [one if isinstance(one, Mapping) else vars(one) for one in features]
    found: dict[str, Any] = {}
    for name, first in dict[str, Any](rows[0]).items():
        if first is None or isinstance(first, str):
            continue
        values = [np.asarray(row[name]) for row in rows]
        found[_LABELS.get(name, name)] = to_tensor(
            [value.tolist() for value in values], return_tensors, name
        )
    return found
