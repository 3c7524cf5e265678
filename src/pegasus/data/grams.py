"""What a document says, counted: its content words (or runs of them) by sentence and in all.

The words are those of the authors' code: runs of ASCII letters and digits in lower case, stop words left
out, no stemming. This counting chooses gap sentences. It is not the ROUGE that grades summaries, which
lives in `pegasus.evaluation.rouge` and stems.

A word is known by a 64-bit number made of its letters, so that a document is counted by a few array
operations and one sort instead of a look-up a word.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from pegasus.errors import BadSetting

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
#: A function from a sentence to its words, in order.
WordFinder = Callable[[str], Iterable[str]]

#: The usual short list of English, single letters left over from "it's" and "don't" among them.
STOP_WORDS = frozenset(
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves what which who whom this that these those am is "
    "are was were be been being have has had having do does did doing a an the and but if or because as until "
    "while of at by for with about against between into through during before after above below to from up "
    "down in out on off over under again further then once here there when where why how all any both each "
    "few more most other some such no nor not only own same so than too very s t can will just don should "
    "now".split()
)

_KEPT = b"abcdefghijklmnopqrstuvwxyz0123456789"
_CLEAN = bytes(byte if byte in _KEPT else 0 for byte in bytes(range(256)).lower())
_WORD = re.compile(r"[^\W_]+")
# Any odd number with its bits well mixed: the golden ratio's.
_MIX = np.uint64(0x9E3779B97F4A7C15)


def unicode_words(sentence: str) -> list[str]:
    """Return the runs of letters and digits of any alphabet, lower-cased: for text that is not English."""
    return _WORD.findall(sentence.lower())


@dataclass(frozen=True)
class Grams:
    """The grams of one document: G distinct grams, K distinct pairs of a gram and a sentence that has it.

    Attributes:
        sentences: how many sentences there are, those without any gram included.
        grams: [K] the gram of each pair, ascending.
        rows: [K] its sentence, ascending within a gram.
        counts: [K] how often the gram stands in that sentence.
        totals: [G] how often it stands in the whole text. For grams of several words this counts those
            that reach over a sentence border too, which no sentence has.
    """

    sentences: int
    grams: Ints
    rows: Ints
    counts: Ints
    totals: Ints


def count_grams(
    sentences: Sequence[str],
    size: int = 1,
    *,
    words: WordFinder | None = None,
    stop_words: frozenset[str] = STOP_WORDS,
) -> Grams:
    """Count the grams of a document in one pass over its words and one sort of them.

    Args:
        sentences: the document's sentences in order.
        size: words in a gram.
        words: how a sentence falls into words; None for the authors' rule, which is the fastest.
        stop_words: words that are passed over before grams are formed.

    Raises:
        BadSetting: `size` is below 1.
    """
    if size < 1:
        raise BadSetting(f"A gram has at least one word; found ngram={size}. Use 1, as the paper does.")
    if words is None:
        keys, rows = _ascii_words(sentences)
        stops = _stop_keys(stop_words)
        content = stops[np.searchsorted(stops, keys)] != keys
        keys, rows = keys[content], rows[content]
    else:
        keys, rows = _found_words(sentences, words, stop_words)
    inside = None
    if size > 1:
        keys, rows, inside = _joined(keys, rows, size)
    return _counted(keys, rows, inside, len(sentences))


def _ascii_words(sentences: Sequence[str]) -> tuple[Keys, Ints]:
    """Every run of ASCII letters and digits as a number, and its sentence."""
    # One byte a character, so that lengths of text are lengths of data; zeros between words and around.
    data = ("\0" + "\0".join(sentences) + "\0").encode("ascii", "replace").translate(_CLEAN)
    letters = np.frombuffer(data, np.uint8)
    kept = letters != 0
    edges = np.flatnonzero(kept[1:] != kept[:-1]) + 1
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not len(starts):
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    sizes = np.fromiter(map(len, sentences), np.int64, len(sentences)) + 1
    words_until = np.searchsorted(starts, np.cumsum(sizes) + 1)
    rows = np.repeat(np.arange(len(sentences)), np.diff(words_until, prepend=0))
    return _keys(letters[kept], lengths), rows


def _keys(letters: npt.NDArray[np.uint8], lengths: Ints) -> Keys:
    """The sum of each word's letters times powers of an odd number, modulo 2**64."""
    begins = np.cumsum(lengths) - lengths
    places = np.arange(len(letters)) - np.repeat(begins, lengths)
    # Rounded up to a power of two, so that few tables are ever made.
    powers = _powers(1 << int(lengths.max()).bit_length())
    return np.add.reduceat(powers[places] * letters, begins)


@cache
def _powers(count: int) -> Keys:
    return np.cumprod(np.full(count, _MIX, np.uint64), dtype=np.uint64)


@cache
def _stop_keys(stop_words: frozenset[str]) -> Keys:
    """The numbers of the stop words, ascending, and the highest number of all at the end."""
    keys, _ = _ascii_words(sorted(stop_words))
    return np.append(np.sort(keys), np.uint64(2**64 - 1))


def _found_words(sentences: Sequence[str], words: WordFinder, stop_words: frozenset[str]) -> tuple[Keys, Ints]:
    """The words that a function finds, numbered as they come, and their sentences."""
    found = [list(words(sentence)) for sentence in sentences]
    book: defaultdict[str, int] = defaultdict(itertools.count(1).__next__, dict.fromkeys(stop_words, 0))
    sizes = np.fromiter(map(len, found), np.int64, len(found))
    flat = itertools.chain.from_iterable(found)
    ids = np.fromiter(map(book.__getitem__, flat), np.uint64, int(sizes.sum()))
    rows = np.repeat(np.arange(len(found)), sizes)
    return ids[ids > 0] * _MIX, rows[ids > 0]


def _joined(keys: Keys, rows: Ints, size: int) -> tuple[Keys, Ints, npt.NDArray[np.bool_]]:
    """Words → grams of `size` words: their numbers, first sentences, and whether one sentence holds all."""
    length = max(len(keys) - size + 1, 0)
    grams = np.zeros(length, np.uint64)
    for step in range(size):
        grams = (grams ^ (grams >> np.uint64(29))) * _MIX + keys[step : step + length]
    return grams, rows[:length], rows[:length] == rows[size - 1 : size - 1 + length]


def _counted(keys: Keys, rows: Ints, inside: npt.NDArray[np.bool_] | None, sentences: int) -> Grams:
    order = _grouped(keys)
    keys, rows = keys[order], rows[order]
    new = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    grams = np.cumsum(new) - 1
    totals = np.diff(np.flatnonzero(new), append=len(keys))
    if inside is not None:
        held = inside[order]
        grams, rows, new = grams[held], rows[held], np.diff(grams[held], prepend=-1) != 0
    new[1:] |= rows[1:] != rows[:-1]
    first = np.flatnonzero(new)
    return Grams(sentences, grams[first], rows[first], np.diff(first, append=len(grams)), totals)


def _grouped(keys: Keys) -> Ints:
    """The order that brings equal numbers together and keeps each group in text order."""
    # Sorting numbers is several times faster than sorting places by them: the place goes into the low bits.
    low = np.uint64((1 << len(keys).bit_length()) - 1)
    mixed = np.sort((keys & ~low) | np.arange(len(keys), dtype=np.uint64))
    order = (mixed & low).astype(np.int64)
    high, full = mixed & ~low, keys[order]
    if np.count_nonzero(high[1:] != high[:-1]) == np.count_nonzero(full[1:] != full[:-1]):
        return order
    return np.argsort(keys, kind="stable")  # two words that differ in their low bits only: rare
