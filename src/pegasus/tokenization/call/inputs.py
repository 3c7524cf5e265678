"""What callers hand to a tokenizer: one text or many, in words, with a second text or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pegasus.errors import BadSetting
from pegasus.tokenization.segmentation.surrogates import mend_surrogates

#: A text, the words of a text, its tokens, or its ids.
Text = str | Sequence[str] | Sequence[int]


def as_lists(text: Any) -> Any:
    """Arrays and columns of texts as lists; anything else as it is."""
    if isinstance(text, str | bytes | list | tuple) or not hasattr(text, "tolist"):
        return text
    return text.tolist()


def is_batch(text: Any, in_words: bool) -> bool:
    """Whether this is several texts.

    Raises:
        TypeError: when it is neither a text nor texts.
    """
    if isinstance(text, str):
        return False
    if not isinstance(text, list | tuple):
        raise TypeError(
            f"A text is a string, several are a list of strings; got {type(text).__name__}. "
            "Turn columns and arrays into lists first."
        )
    return not in_words or (bool(text) and isinstance(text[0], list | tuple))


def aligned(text: Any, pair: Any, batched: bool, in_words: bool) -> tuple[list[Text], list[Text] | None]:
    """The texts and their second texts as two lists of one length; a list may also hold pairs.

    Raises:
        BadSetting: when there are more of the one than of the other.
    """
    if not batched:
        return [text], None if pair is None else [pair]
    if pair is None and text and all(is_pair(item, in_words) for item in text):
        firsts, seconds = zip(*text)
        return list(firsts), list(seconds)
    if pair is None:
        return list(text), None
    if isinstance(pair, str):
        raise TypeError("text_pair is one string and text are several: give one second text for each.")
    if len(pair) != len(text):
        raise BadSetting(f"There are {len(text)} texts and {len(pair)} second texts. Give one for each.")
    return list(text), list(pair)


def is_pair(item: Any, in_words: bool) -> bool:
    """Whether an item of a batch is a text with a second text: two of them in a tuple or a list."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        return False
    return isinstance(item[0], list | tuple) if in_words else isinstance(item[0], str | list)


def words_of(item: Text, in_words: bool) -> Sequence[str] | None:
    """The strings to cut: the text itself or its words, without halves of characters, which no library
    takes. None: the item is tokens or ids already.

    Raises:
        TypeError: when it is none of these.
    """
    if isinstance(item, str):
        return (mend_surrogates(item),)
    if not isinstance(item, Sequence):
        raise TypeError(
            f"A text is a string, or a list of words, tokens or ids; got {type(item).__name__}."
        )
    if not in_words:
        return None
    for word in item:
        if not isinstance(word, str):
            raise TypeError(f"is_split_into_words=True wants words, got {type(word).__name__}: {word!r}.")
    return [mend_surrogates(word) for word in item if isinstance(word, str)]
