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
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pegasus.errors import BadSetting

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
#: A function from a sentence to its words, in order.
WordFinder = Callable[[str], Iterable[str]]

_ENGLISH = (
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her "
    "hers herself it its itself they them their theirs themselves what which who whom this that these "
    "those am is are was were be been being have has had having do does did doing a an the and but if or "
    "because as until while of at by for with about against between into through during before after "
    "above below to from up down in out on off over under again further then once here there when where "
    "why how all any both each few more most other some such no nor not only own same so than too very s "
    "t can will just don should now"
)
#: The usual short list of English, single letters left over from "it's" and "don't" among them.
STOP_WORDS = frozenset(_ENGLISH.split())

_KEPT = b"abcdefghijklmnopqrstuvwxyz0123456789"
_CLEAN = bytes(byte if byte in _KEPT else 0 for byte in bytes(range(256)).lower())
_WORD = re.compile(r"[^\W_]+")
# Any odd number with its bits well mixed: the golden ratio's. It has an inverse modulo 2**64.
_MIX = 0x9E3779B97F4A7C15
_BLOCK = 1 << 16  # characters at a time: their arrays stay in the processor's cache


def unicode_words(sentence: str) -> list[str]:
    """Return the runs of letters and digits of any alphabet, lower-cased: for text that is not English."""
    return _WORD.findall(sentence.lower())


@dataclass(frozen=True)
class Grams:
    """The grams of one document, or of several that are counted together and each for itself.

    There are N sentences, G distinct grams of a document, and K distinct pairs of a gram and a sentence.

    Attributes:
        owners: [N] the document that each sentence belongs to, ascending from 0.
        grams: [K] the gram of each pair, ascending, and with it the document.
        rows: [K] its sentence, ascending within a gram.
        counts: [K] how often the gram stands in that sentence.
        totals: [G] how often it stands in its document. For grams of several words this counts those that
            reach over a sentence border too, which no sentence has.
        homes: [G] the document of each gram.
    """

    owners: Ints
    grams: Ints
    rows: Ints
    counts: Ints
    totals: Ints
    homes: Ints

    @property
    def sentences(self) -> int:
        """How many sentences there are, those without any gram included."""
        return len(self.owners)

    def document(self, number: int) -> Grams:
        """Return one of the documents, its sentences and grams numbered from 0."""
        begin, end = np.searchsorted(self.owners, (number, number + 1))
        first, last = np.searchsorted(self.homes, (number, number + 1))
        pairs = slice(*np.searchsorted(self.grams, (first, last)))
        return Grams(
            np.zeros(end - begin, np.int64),
            self.grams[pairs] - first,
            self.rows[pairs] - begin,
            self.counts[pairs],
            self.totals[first:last],
            np.zeros(last - first, np.int64),
        )


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
    return count_many([sentences], size, words=words, stop_words=stop_words)


def count_many(
    documents: Sequence[Sequence[str]],
    size: int = 1,
    *,
    words: WordFinder | None = None,
    stop_words: frozenset[str] = STOP_WORDS,
) -> Grams:
    """Count several documents at once, which costs short ones much less than one by one.

    Arguments and errors are those of `count_grams`.
    """
    if size < 1:
        raise BadSetting(f"A gram has at least one word; found ngram={size}. Use 1, as the paper does.")
    sentences = list(itertools.chain.from_iterable(documents))
    owners = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    if words is None:
        keys, rows = _ascii_words(sentences)
        content = _is_content(keys, stop_words)
        keys, rows = keys[content], rows[content]
    else:
        keys, rows = _found_words(sentences, words, stop_words)
    if size == 1:
        return _counted(keys, rows, rows, owners)
    return _counted(*_joined(keys, rows, owners, size), owners)


def _ascii_words(sentences: Sequence[str]) -> tuple[Keys, Ints]:
    """Every run of ASCII letters and digits as a number, and its sentence."""
    sizes = np.fromiter(map(len, sentences), np.int64, len(sentences)) + 1
    ends = np.cumsum(sizes)
    if len(sentences) > 1 and ends[-1] > _BLOCK:
        half = min(max(int(np.searchsorted(ends, ends[-1] // 2)), 1), len(sentences) - 1)
        parts = _ascii_words(sentences[:half]), _ascii_words(sentences[half:])
        keys = np.concatenate([parts[0][0], parts[1][0]])
        return keys, np.concatenate([parts[0][1], parts[1][1] + half])
    # One byte a character, so that lengths of text are lengths of data; zeros between words and around.
    data = ("\0" + "\0".join(sentences) + "\0").encode("ascii", "replace").translate(_CLEAN)
    letters = np.frombuffer(data, np.uint8)
    kept = letters != 0
    edges = np.flatnonzero(kept[1:] != kept[:-1])
    starts = edges[::2]
    words_until = np.searchsorted(starts, ends)
    rows = np.repeat(np.arange(len(sentences)), np.diff(words_until, prepend=0))
    return _keys(letters, starts, edges[1::2]), rows


def _keys(letters: npt.NDArray[np.uint8], before: Ints, last: Ints) -> Keys:
    """The sum of each word's letters times powers of an odd number counted from its start, modulo 2**64."""
    powers, inverse = _powers(1 << len(letters).bit_length())
    sums = np.cumsum(letters * powers[: len(letters)])
    return (sums[last] - sums[before]) * inverse[before]


@lru_cache(maxsize=24)
def _powers(count: int) -> tuple[Keys, Keys]:
    """The powers of `_MIX` and of its inverse."""
    bases = (_MIX, pow(_MIX, -1, 2**64))
    up, down = (np.cumprod(np.full(count, base, np.uint64), dtype=np.uint64) for base in bases)
    return up, down


def _is_content(keys: Keys, stop_words: frozenset[str]) -> npt.NDArray[np.bool_]:
    """Which words are no stop words."""
    shift, tables = _stop_tables(stop_words)
    slots = (keys >> shift).astype(np.int64)
    content = np.ones(len(keys), bool)
    for table in tables:
        content &= table[slots] != keys
    return content


@lru_cache(maxsize=8)
def _stop_tables(stop_words: frozenset[str], bits: int = 12) -> tuple[np.uint64, list[Keys]]:
    """The stop words' numbers by their first bits, in as many tables as words share a slot."""
    tables: list[Keys] = []
    for key in _ascii_words(sorted(stop_words))[0]:
        slot = int(key) >> (64 - bits)
        free = next((table for table in tables if not table[slot]), None)
        if free is None:
            free = np.zeros(1 << bits, np.uint64)  # no word has number 0: its first letter counts
            tables.append(free)
        free[slot] = key
    return np.uint64(64 - bits), tables


def _found_words(
    sentences: Sequence[str], words: WordFinder, stop_words: frozenset[str]
) -> tuple[Keys, Ints]:
    """The words that a function finds, numbered as they come, and their sentences."""
    found = [list(words(sentence)) for sentence in sentences]
    book: defaultdict[str, int] = defaultdict(itertools.count(1).__next__, dict.fromkeys(stop_words, 0))
    sizes = np.fromiter(map(len, found), np.int64, len(found))
    flat = itertools.chain.from_iterable(found)
    ids = np.fromiter(map(book.__getitem__, flat), np.uint64, int(sizes.sum()))
    rows = np.repeat(np.arange(len(found)), sizes)
    return ids[ids > 0] * np.uint64(_MIX), rows[ids > 0]


def _joined(keys: Keys, rows: Ints, owners: Ints, size: int) -> tuple[Keys, Ints, Ints]:
    """Words → grams of `size` words that one document holds: numbers, first and last sentences."""
    length = max(len(keys) - size + 1, 0)
    grams = np.zeros(length, np.uint64)
    for step in range(size):
        grams = (grams ^ (grams >> np.uint64(29))) * np.uint64(_MIX) + keys[step : step + length]
    first, last = rows[:length], rows[size - 1 : size - 1 + length]
    held = owners[first] == owners[last]
    return grams[held], first[held], last[held]


def _counted(keys: Keys, first: Ints, last: Ints, owners: Ints) -> Grams:
    """Numbers of grams with the sentences they begin and end in → counts."""
    homes = owners[first]
    order = _grouped(keys, homes)
    keys, homes, first, last = keys[order], homes[order], first[order], last[order]
    new = _differs(keys) | _differs(homes)
    starts = np.flatnonzero(new)
    totals = np.diff(starts, append=len(keys))
    grams = np.cumsum(new) - 1
    inside = first == last
    grams, rows = grams[inside], first[inside]
    pairs = np.flatnonzero(_differs(grams) | _differs(rows))
    counts = np.diff(pairs, append=len(grams))
    return Grams(owners, grams[pairs], rows[pairs], counts, totals, homes[starts])


def _grouped(keys: Keys, homes: Ints) -> Ints:
    """The order by document that brings equal numbers together and keeps each group in text order."""
    # Sorting numbers is several times faster than sorting places by them: the document goes into the high
    # bits, the place into the low ones, and what remains tells the words apart, nearly always.
    high = int(homes[-1]).bit_length() if len(homes) else 0
    low = np.uint64((1 << len(keys).bit_length()) - 1)
    tops = (homes.astype(np.uint64) << np.uint64(63 - high) << np.uint64(1)) | (keys >> np.uint64(high))
    mixed = np.sort((tops & ~low) | np.arange(len(keys), dtype=np.uint64))
    order = (mixed & low).astype(np.int64)
    apart = _differs(keys[order]) | _differs(homes[order])
    if np.count_nonzero(apart) == np.count_nonzero(_differs(mixed & ~low)):
        return order
    return np.lexsort((keys, homes))


def _differs(values: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Where a value is not the one before it; the first always is not."""
    new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new
