"""DataCollatorForSeq2Seq: encoded examples → one batch, labels filled up by an ignored number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pegasus.errors import BadData
from pegasus.tokenization.call.encoding import BatchEncoding
from pegasus.tokenization.vocabulary.table import plain_numbers


@dataclass
class DataCollatorForSeq2Seq:
    """Fills up examples and their labels, as in transformers 4.34; the examples stay as they were.

    Attributes:
        tokenizer: fills up what the encoder reads, on its ``padding_side``.
        model: where it has ``prepare_decoder_input_ids_from_labels``, that gives ``decoder_input_ids``.
        padding: as in a call of the tokenizer.
        max_length: as in a call of the tokenizer.
        pad_to_multiple_of: as in a call of the tokenizer, of the labels too.
        label_pad_token_id: fills up labels.
        return_tensors: "pt" or "np".
    """

    tokenizer: Any
    model: Any = None
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = -100
    return_tensors: str = "pt"

    def __call__(
        self, features: Sequence[Mapping[str, Any]], return_tensors: str | None = None
    ) -> BatchEncoding:
        """One batch of several examples.

        Args:
            features: ``input_ids`` of each, ``attention_mask`` and ``labels`` where there are some.
            return_tensors: instead of the attribute of that name.

        Raises:
            BadData: when there are no examples, or only some have labels.
        """
        if not features:
            raise BadData("There are no examples to make a batch of.")
        labels = [example["labels"] for example in features if example.get("labels") is not None]
        if labels and len(labels) != len(features):
            raise BadData(
                f"{len(labels)} of {len(features)} examples have labels. Give all of them, or none."
            )
        rest = [
            {name: value for name, value in example.items() if name != "labels"} for example in features
        ]
        if labels:
            rest = [{**example, "labels": row} for example, row in zip(rest, self._filled(labels))]
        batch: BatchEncoding = self.tokenizer.pad(
            rest,
            padding=self.padding,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_tensors=return_tensors or self.return_tensors,
        )
        if labels and hasattr(self.model, "prepare_decoder_input_ids_from_labels"):
            shifted = self.model.prepare_decoder_input_ids_from_labels(labels=batch["labels"])
            batch["decoder_input_ids"] = shifted
        return batch

    def _filled(self, labels: Sequence[Any]) -> list[list[int]]:
        rows = [plain_numbers(np.asarray(row)) for row in labels]
        width = max(map(len, rows))
        if (multiple := self.pad_to_multiple_of) is not None:
            width = -(-width // multiple) * multiple
        blanks = [[self.label_pad_token_id] * (width - len(row)) for row in rows]
        right = self.tokenizer.padding_side == "right"
        return [row + blank if right else blank + row for row, blank in zip(rows, blanks)]
