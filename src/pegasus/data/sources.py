"""Where a loader finds its examples: pairs, prepared shards, or running text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pegasus.data.mask import Symbols
from pegasus.data.pretraining import PretrainingSettings, make_example
from pegasus.data.records import Example, Ids, Pair, Rows
from pegasus.data.shards import TOKENIZER, Shards
from pegasus.errors import BadData, BadSetting

Ints = npt.NDArray[np.int64]

_TEXTS_AT_ONCE = 512


class Source(Protocol):
    """Numbered examples."""

    pad: int

    def __len__(self) -> int: ...

    def sizes(self, indices: Ints) -> tuple[Ints, Ints]:
        """Return the lengths of inputs and of targets, or guesses: rows of like lengths are batched."""
        ...

    def example(self, index: int, epoch: int) -> Example:
        """Return one example; what is left to chance is drawn anew each epoch and the same each time."""
        ...


class PairSource:
    """Sources and targets, encoded once: four bytes a token.

    Args:
        inputs: the ids of each source.
        labels: the ids of each target.
        pad: the id of padding.
    """

    def __init__(self, inputs: Rows, labels: Rows, pad: int = 0) -> None:
        if not len(inputs):
            raise BadData("There is no row to learn from. Check the files and the limit.")
        self.inputs, self.labels, self.pad = inputs, labels, pad

    @classmethod
    def encode(
        cls,
        pairs: Iterable[Pair],
        tokenizer: Any,
        max_input: int,
        max_target: int,
        *,
        keep_eos: bool = True,
    ) -> PairSource:
        """Encode pairs; of several references the first is the target.

        Args:
            pairs: the rows.
            tokenizer: turns text into ids.
            max_input: ids of a source at most, EOS included.
            max_target: ids of a target at most, EOS included.
            keep_eos: a text that is cut keeps its EOS, as in transformers; the authors' code loses it.
        """
        inputs: list[Ids] = []
        labels: list[Ids] = []
        for some in _chunks(pairs):
            inputs += _encoded([pair.document for pair in some], tokenizer, max_input, keep_eos)
            labels += _encoded([pair.summary for pair in some], tokenizer, max_target, keep_eos)
        return cls(Rows.join(inputs), Rows.join(labels), tokenizer.pad_token_id)

    def __len__(self) -> int:
        return len(self.inputs)

    def sizes(self, indices: Ints) -> tuple[Ints, Ints]:
        """Return the lengths of sources and targets."""
        return self.inputs.lengths[indices], self.labels.lengths[indices]

    def example(self, index: int, epoch: int) -> Example:
        """Return one pair; the epoch changes nothing."""
        return Example(self.inputs[index], self.labels[index])


class ShardSource:
    """Documents of a prepared corpus, turned into gap-sentence examples when they are asked for.

    Args:
        folder: what `pegasus prepare` wrote.
        settings: which sentences are taken out, and what else; free to differ from run to run.
        seed: with it, the epoch and the number of a document everything left to chance is settled.
        limit: use the first so many documents only.

    Raises:
        BadSetting: the strategy wants other scores than the corpus has.
    """

    def __init__(
        self, folder: str | Path, settings: PretrainingSettings, *, seed: int = 0, limit: int | None = None
    ) -> None:
        self.shards, self.settings, self.seed = Shards(folder), settings, seed
        self._size = len(self.shards) if limit is None else min(limit, len(self.shards))
        if not self._size:
            raise BadData("The corpus has no document.", self.shards.folder)
        self._check_strategy()
        # The tokenizer's own module is heavy; only this kind of source needs it.
        from pegasus.tokenization.fast import PegasusTokenizerFast

        tokenizer = PegasusTokenizerFast.from_pretrained(str(self.shards.folder / TOKENIZER))
        self.symbols = Symbols.of(tokenizer)
        self.pad = self.symbols.pad

    def _check_strategy(self) -> None:
        gap, stored = self.settings.gap, self.shards.manifest.settings
        if gap.kind == "continuous":
            raise BadSetting(
                f"Strategy {gap.strategy!r} needs the words of a document, and shards have its ids only. "
                "Use one of ind- or seq-, or make examples from text with `text_example`."
            )
        wanted = "ind-orig" if gap.kind == "hybrid" else gap.strategy
        if gap.needs_scores and stored.get("strategy") != wanted:
            raise BadSetting(
                f"The corpus has scores for {stored.get('strategy')!r} and the job wants {wanted!r}. "
                f"Change the job, or run `pegasus prepare --strategy {wanted}`."
            )

    def __len__(self) -> int:
        return self._size

    def sizes(self, indices: Ints) -> tuple[Ints, Ints]:
        """Return each document's tokens, at most the cut, for its input; targets follow from them."""
        tokens = self.shards.lengths(indices)
        return np.minimum(tokens, self.settings.max_input), np.minimum(tokens, self.settings.max_target)

    def example(self, index: int, epoch: int) -> Example:
        """Return the example of one document; where its target is too short to keep, of the next that has
        one.
        """
        for step in range(self._size):
            number = (index + step) % self._size
            sentences, scores = self.shards.document(number)
            rng = np.random.default_rng([self.seed, epoch, number])
            made = make_example(sentences, self.settings, self.symbols, rng, scores=scores)
            if made.example is not None:
                return made.example
        raise BadSetting(
            f"No document has a target of more than min_target={self.settings.min_target} ids."
        )


class BlockSource:
    """Running text in blocks of equal length, for a model that continues texts.

    Args:
        ids: all ids end to end.
        size: ids in a block; what is left over at the end is not used.
        pad: the id of padding.
    """

    def __init__(self, ids: Ids, size: int, pad: int = 0) -> None:
        if len(ids) < size:
            raise BadData(
                f"The texts have {len(ids)} tokens and a block takes {size}. Give more, or shorten it."
            )
        self.ids, self.size, self.pad = ids, size, pad

    @classmethod
    def encode(cls, texts: Iterable[str], tokenizer: Any, size: int) -> BlockSource:
        """Encode texts, an EOS after each."""
        rows = [row for some in _chunks(texts) for row in _encoded(some, tokenizer, None, True)]
        return cls(Rows.join(rows).flat, size, tokenizer.pad_token_id)

    def __len__(self) -> int:
        return len(self.ids) // self.size

    def sizes(self, indices: Ints) -> tuple[Ints, Ints]:
        """Return no input and targets of one length."""
        return np.zeros(len(indices), np.int64), np.full(len(indices), self.size, np.int64)

    def example(self, index: int, epoch: int) -> Example:
        """Return one block; the epoch changes nothing."""
        return Example(None, self.ids[index * self.size : (index + 1) * self.size])


def _encoded(texts: Sequence[str], tokenizer: Any, most: int | None, keep_eos: bool) -> list[Ids]:
    rows: list[Ids] = [row[:most] for row in tokenizer.encode_ids(texts)]
    for row in rows if keep_eos else ():
        row[-1] = tokenizer.eos_token_id
    return rows


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(islice(rest, _TEXTS_AT_ONCE)):
        yield some
