"""What becomes of the input: gap sentences replaced, single words hidden.

Both follow the authors' code. A gap sentence is replaced by one mask, by another sentence of the document,
by itself or by nothing. Words are hidden whole: each piece of a chosen word becomes the word mask (80 %), a
random piece (10 %) or stays (10 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pegasus.data.records import Ids
from pegasus.errors import BadSetting
from pegasus.spec.batch import IGNORED

Fate = Literal["mask", "random", "intact", "remove"]
_FATES: tuple[Fate, ...] = ("mask", "random", "intact", "remove")
_MARKER = "▁"


@dataclass(frozen=True)
class Symbols:
    """What masking has to know of a vocabulary.

    Attributes:
        size: how many ids there are.
        ordinary: the first id that is a piece of text; those below are pad, masks and the like.
        begins_word: [size] whether the piece begins with the space marker.
        pad: the id of padding.
        eos: the id that ends a sequence.
        sentence_mask: the id that stands for a gap sentence.
        word_mask: the id that stands for a piece of a hidden word.
    """

    size: int
    ordinary: int
    begins_word: npt.NDArray[np.bool_]
    pad: int = 0
    eos: int = 1
    sentence_mask: int = 2
    word_mask: int = 3

    @classmethod
    def of(cls, tokenizer: Any) -> Symbols:
        """Read them off a tokenizer.

        Raises:
            BadSetting: the vocabulary has no id for the sentence mask or for the word mask.
        """
        masks = [tokenizer.mask_token_sent, tokenizer.mask_token]
        if None in masks:
            raise BadSetting(
                "This vocabulary has no masks, and pre-training needs one for sentences and one for words "
                f"(found {masks[0]!r} and {masks[1]!r}). Use a tokenizer with offset 103."
            )
        size = len(tokenizer)
        pieces = tokenizer.convert_ids_to_tokens(list(range(size)))
        begins = np.fromiter((piece.startswith(_MARKER) for piece in pieces), bool, size)
        sentence_mask, word_mask = tokenizer.convert_tokens_to_ids(masks)
        unknown = tokenizer.unk_token_id
        return cls(
            size, unknown, begins, tokenizer.pad_token_id, tokenizer.eos_token_id, sentence_mask, word_mask
        )


@dataclass(frozen=True)
class Fates:
    """What becomes of a gap sentence in the input, as probabilities that add up to 1.

    Attributes:
        mask: one mask in its place.
        random: a copy of some sentence of the document in its place, as that one stands by then.
        intact: left as it is, so that the model has to copy.
        remove: nothing in its place.
    """

    mask: float = 0.9
    random: float = 0.0
    intact: float = 0.1
    remove: float = 0.0

    def __post_init__(self) -> None:
        shares = self.shares
        # NaN is neither below 0 nor far from 1: it must pass tests, not fail to fail them.
        if not (min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6):
            named = ", ".join(f"{fate} {share:g}" for fate, share in zip(_FATES, shares))
            raise BadSetting(
                f"What becomes of a gap sentence must add up to 1; found {named} = {sum(shares):g}."
            )

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """The four, in the order of the authors' code."""
        return self.mask, self.random, self.intact, self.remove


def replace_sentences(
    sentences: Sequence[Ids],
    chosen: Sequence[int],
    fates: Fates,
    symbols: Symbols,
    rng: np.random.Generator,
) -> tuple[list[Ids], list[Fate]]:
    """Replace the chosen sentences, one draw for each in document order.

    Returns:
        the sentences of the input (a removed one is empty) and what became of each chosen one.
    """
    parts = list(sentences)
    limits = np.cumsum(fates.shares)[:-1]
    drawn = np.searchsorted(limits, rng.random(len(chosen)), side="right")
    became = [_FATES[int(number)] for number in drawn]
    mask = np.array([symbols.sentence_mask], np.int32)
    for index, fate in zip(chosen, became):
        if fate == "mask":
            parts[index] = mask
        elif fate == "random":
            parts[index] = parts[int(rng.integers(len(parts)))]
        elif fate == "remove":
            parts[index] = parts[index][:0]
    return parts, became


@dataclass(frozen=True)
class WordMasking:
    """How single words are hidden in the input.

    Attributes:
        ratio: the share of words; 0 hides none, anything above at least one.
        mask: the share of chosen words whose pieces become the word mask.
        random: the share whose pieces become random ones; the rest stays as it is.
    """

    ratio: float = 0.0
    mask: float = 0.8
    random: float = 0.1

    def __post_init__(self) -> None:
        if (
            not 0 <= self.ratio <= 1
            or not min(self.mask, self.random) >= 0
            or not self.mask + self.random <= 1 + 1e-6
        ):
            raise BadSetting(
                "Hiding words takes a ratio from 0 to 1 and shares of mask and random that are at most 1 "
                f"together; found ratio {self.ratio:g}, mask {self.mask:g}, random {self.random:g}."
            )


def word_numbers(ids: Ids, symbols: Symbols) -> npt.NDArray[np.int64]:
    """Number the words of a sequence: pieces of one word share a number, what is no text has -1.

    A word is a run of ordinary pieces of which only the first begins with the space marker; a run that
    follows a mask is a word without one.
    """
    ordinary = ids >= symbols.ordinary
    first = ordinary & (symbols.begins_word[ids] | ~np.concatenate([[False], ordinary[:-1]]))
    return np.where(ordinary, np.cumsum(first) - 1, -1)


def hide_words(
    ids: Ids, settings: WordMasking, symbols: Symbols, rng: np.random.Generator
) -> tuple[Ids, Ids]:
    """Hide some words of a sequence.

    Returns:
        the sequence with them hidden, and labels: the original id at every piece of a chosen word, kept
            ones
        included, -100 elsewhere.
    """
    words = word_numbers(ids, symbols)
    total = int(words.max(initial=-1)) + 1
    if not settings.ratio or not total:
        return ids, np.full_like(ids, IGNORED)
    # float32 and rounding down, as for gap sentences
    count = min(int(np.maximum(np.float32(total) * np.float32(settings.ratio), 1)), total)
    draws = np.full(total, 2.0)
    draws[rng.permutation(total)[:count]] = rng.random(count)
    draw = np.where(words >= 0, draws[words], 2.0)
    masked, chosen = draw < settings.mask, draw < 1
    shuffled = chosen & ~masked & (draw < settings.mask + settings.random)
    random_ids = rng.integers(symbols.ordinary, symbols.size, int(shuffled.sum()), np.int32)
    hidden = np.where(masked, np.int32(symbols.word_mask), ids)
    hidden[shuffled] = random_ids
    return hidden, np.where(chosen, ids, np.int32(IGNORED))
