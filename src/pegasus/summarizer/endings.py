"""Where a summary ends that met its limit: at a whole sentence if there is one, else at a whole word."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_STOPS = (".", "!", "?", "…", "。", "！", "？", "।", "؟")
_CLOSERS = "\"'”’»)]}"
_OPENERS = "\"'“‘«([{"
_BETWEEN = ",;:"
_DASHES = ("-", "\u2010", "\u2011")


def is_finished(sentence: str) -> bool:
    """Whether a sentence ends as sentences do."""
    return sentence.rstrip().rstrip(_CLOSERS).endswith(_STOPS)


def end_at_word(text: str, known: Collection[str]) -> str:
    """Return a text that was broken off without the word that may have been broken off with it.

    The last word stays where it is known to be whole: it is a word of the source, or a comma follows it. A
    text of one word stays, and so does one that is written without spaces.

    Args:
        text: the text.
        known: the words of the source.
    """
    text = text.rstrip()
    head, _, last = text.rpartition(" ")
    core = last.strip(_OPENERS + _CLOSERS + _BETWEEN)
    whole = core in known or last.rstrip(_CLOSERS).endswith(tuple(_BETWEEN))
    if head.strip() and (last.endswith(_DASHES) or not whole):
        text = head
    return text.rstrip(_BETWEEN + " ")


def within_words(sentences: Sequence[str], most: int) -> tuple[list[str], bool]:
    """Return sentences of at most so many words in all, and whether the last one was broken off for it.

    Sentences at the end are left out where at least half of the words stay; else words are.
    """
    counts = [len(sentence.split()) for sentence in sentences]
    kept = list(sentences)
    while len(kept) > 1 and sum(counts[: len(kept)]) > most and 2 * sum(counts[: len(kept) - 1]) >= most:
        kept.pop()
    over = sum(counts[: len(kept)]) - most
    if over <= 0:
        return kept, False
    while over >= counts[len(kept) - 1]:
        over -= counts[len(kept) - 1]
        kept.pop()
    if over:
        kept[-1] = _first_words(kept[-1], counts[len(kept) - 1] - over)
    return kept, not is_finished(kept[-1])


def words_of(text: str) -> set[str]:
    """Return the words of a text as `end_at_word` knows them."""
    return {word.strip(_OPENERS + _CLOSERS + _BETWEEN).rstrip("".join(_STOPS)) for word in text.split()}


def _first_words(text: str, count: int) -> str:
    words = text.split()[:count]
    place = 0
    for word in words:
        place = text.index(word, place) + len(word)
    return text[:place].rstrip(_BETWEEN)
