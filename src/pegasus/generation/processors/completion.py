"""Whether a text ends where a word is whole, and how one that does not is made whole."""

from __future__ import annotations

from collections.abc import Iterator

from pegasus.generation.processors.allowed_tokens import short_lists
from pegasus.generation.processors.token_table import plain_form
from pegasus.generation.processors.wording import State, Wording

#: What is read of a character some bytes of which are missing.
_NO_CHARACTER = "\ufffd"


def is_whole(wording: Wording, text: str) -> bool:
    """Whether a text may end as it does: all of its words are allowed, the last one too.

    Args:
        wording: what may be written.
        text: what was written.
    """
    return _after(wording, text).may_end


def completed(wording: Wording, text: str) -> str | None:
    """The text with the rest of the word that it breaks off in, the shortest there is.

    Args:
        wording: what may be written.
        text: what was written.

    Returns:
        The text as it is where it is whole already; None where it holds what must not be written.
    """
    text = text.rstrip(_NO_CHARACTER)
    state = _after(wording, text)
    if state.may_end:
        return text
    for found in (_source_endings(wording, state), _common_endings(wording, state)):
        for ending in sorted(set(found), key=lambda one: (len(one), one)):
            if wording.read(state, ending).may_end:
                return text + wording.lexicon.said(ending)
    return None


def _after(wording: Wording, text: str) -> State:
    return wording.read(wording.start, wording.lexicon.spelled(text))


def _source_endings(wording: Wording, state: State) -> Iterator[str]:
    for thread in state.threads:
        for words, prefix in short_lists(wording, thread):
            yield from words.endings(prefix)


def _common_endings(wording: Wording, state: State) -> Iterator[str]:
    for word, opens, _ in state.threads:
        plain = plain_form(word, opens)
        if plain is not None:
            yield from wording.lexicon.common.endings(plain)
