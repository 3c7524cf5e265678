"""What a faithful summary may say: words of its text, common words, and numbers as the text has them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pegasus.errors import BadData
from pegasus.generation.processors.byte_letters import as_bytes, letter_of, stands_in
from pegasus.generation.processors.faithful import Faithful
from pegasus.generation.processors.token_table import is_letter
from pegasus.generation.processors.word_list import WordList
from pegasus.generation.processors.wording import Lexicon, SourceWords
from pegasus.summarizer.number_words import ORDINALS, UNITS
from pegasus.summarizer.numbers import dated_months
from pegasus.summarizer.proper_names import opens_sentence
from pegasus.summarizer.settings import COMMON_WORDS, FaithfulMode
from pegasus.summarizer.written_numbers import LEAST_SPOKEN, NUMBER_WORDS, ways_to_write_numbers

_SMALL_NUMBERS = frozenset(
    word for words in (UNITS, ORDINALS) for word, value in words.items() if value < LEAST_SPOKEN
)
_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_APOSTROPHES = re.compile("['’]")
_SUFFIX = re.compile("['’](?:s|t|re|ve|ll|d|m)$")
_ELIDED = re.compile(r"(?<!\w)([^\W\d_A-Z]{1,5})['’](?=\w)")
# J. Smith, John F. Kennedy; not the U.S. President
_INITIAL = re.compile(r"(?<![\w.])([^\W\d_a-z])\.(?= ?[^\W\d_a-z])")
_LARGEST_LIST = 64 * 2**20
_LONGEST_WORD = 200
_NO_WORD = re.compile(rf"\0|\S{{{_LONGEST_WORD + 1}}}")
_FIGURE = re.compile("[\\d²³¹⁰-⁹₀-₉¼-¾⅐-ↈ①-⓿]")


def faithful_to(tokenizer: Any, mode: FaithfulMode, folder: Path | None = None) -> Faithful | None:
    """What ``generate(..., faithful=...)`` takes.

    Args:
        tokenizer: any of this package's tokenizers.
        mode: "words": all words; "names": names and numbers, other words in small letters are free;
            "off": nothing is held to the source.
        folder: of the checkpoint, which may hold a list of common words. Without one every word in small
            letters that is no number is free, and a sentence begins with a word of the source.

    Raises:
        BadData: the list cannot be read.
    """
    if mode == "off":
        return None
    lexicon, single = _lexicon(tokenizer, mode, None if folder is None else folder / COMMON_WORDS)
    return Faithful(lexicon, lru_cache(maxsize=256)(lambda text: read_source(text, lexicon, single)))


def _lexicon(tokenizer: Any, mode: FaithfulMode, file: Path | None) -> tuple[Lexicon, frozenset[str]]:
    special = set(tokenizer.all_special_ids)
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    pieces = [None if token in special else _text_of(name) for token, name in enumerate(names)]
    by_bytes = _BYTES.issubset(names)
    if by_bytes:
        pieces = _with_bytes(pieces)
    pieces[tokenizer.unk_token_id] = ""
    single = frozenset(
        piece for piece in pieces if piece is not None and len(piece) == 1 and not stands_in(piece)
    )
    listed = read_common_words(file) if file is not None and file.is_file() else ()
    common = _written((word for word in listed if word not in NUMBER_WORDS), single, by_bytes)
    lexicon = Lexicon(
        pieces=pieces,
        ends=frozenset({tokenizer.eos_token_id}),
        common=WordList(common),
        free=mode == "names" or not common,
        small_numbers=WordList(_written(_SMALL_NUMBERS, single, by_bytes)),
        number_words=NUMBER_WORDS,
        characters=single | {" "} if by_bytes else None,
    )
    return lexicon, single


def _text_of(piece: str) -> str:
    return "\n" if piece == "<n>" else piece.replace("▁", " ")


def _with_bytes(pieces: Sequence[str | None]) -> list[str | None]:
    """Pieces where a byte is the character that it is, or the letter that stands in for it.

    A character that has a piece of its own is written with that alone.
    """
    single = {piece for piece in pieces if piece is not None and len(piece) == 1}
    found = list(pieces)
    for token, piece in enumerate(pieces):
        if piece in _BYTES:
            byte = int(piece[3:5], 16)
            found[token] = letter_of(byte) if byte > 0x7F else None if chr(byte) in single else chr(byte)
    return found


def _written(words: Iterable[str], single: frozenset[str], by_bytes: bool) -> list[str]:
    """The words that can be written, as pieces spell them.

    Args:
        words: the words.
        single: the characters that have a piece.
        by_bytes: whether others are written as bytes.
    """
    if by_bytes:
        return [as_bytes(word, single | {" "}) for word in words]
    return [word for word in words if single.issuperset(word)]


def read_common_words(file: Path) -> list[str]:
    """The words of a list; what holds figures is none.

    Raises:
        BadData: it is no text in UTF-8, or nothing that words stand in.
    """
    mend = "Save one word a line as UTF-8, or make a list with `pegasus words`."
    if (size := file.stat().st_size) > _LARGEST_LIST:
        raise BadData(
            f"{file} is no list of words: it has {size:,} bytes, more than {_LARGEST_LIST:,}. {mend}"
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{file} is no list of words: it is not UTF-8 ({error}). {mend}") from error
    if wrong := _NO_WORD.search(text):
        line = text.count("\n", 0, wrong.start()) + 1
        found = (
            "a byte 0" if wrong.group() == "\0" else f"more than {_LONGEST_WORD} letters without a blank"
        )
        raise BadData(f"{file} is no list of words: line {line:,} holds {found}. {mend}")
    words = text.split()
    return [word for word in words if not _FIGURE.search(word)] if _FIGURE.search(text) else words


def read_source(text: str, lexicon: Lexicon, letters: frozenset[str]) -> SourceWords:
    """What a text allows.

    Args:
        text: the text, as the model reads it.
        lexicon: what is allowed anyway.
        letters: the characters that have a piece; where others are not written as bytes, words that have
            some are left out.
    """
    words = set(_names_and_words(text))
    openers = {word for word in words if word.islower()}
    names = {
        word
        for word in words
        if not word.islower() and lexicon.spelled(word[0].lower() + word[1:]) not in lexicon.common
    }
    lists = (words, openers, set(ways_to_write_numbers(text)), names)
    by_bytes = lexicon.characters is not None
    words_of, openers_of, numbers_of, names_of = (
        WordList(_written(found, letters, by_bytes)) for found in lists
    )
    initials = frozenset(match[1] for match in _INITIAL.finditer(text))
    return SourceWords(words_of, openers_of, numbers_of, names_of, initials)


def _names_and_words(text: str) -> Iterator[str]:
    seen: set[str] = set()
    elided = {match[1] for match in _ELIDED.finditer(text)}
    for match in _words(text):
        whole = match.group()
        if whole in seen and not whole.istitle():
            continue
        parts = _parts_of_word(whole, elided)
        opens = any(map(str.istitle, parts)) and opens_sentence(
            text[max(0, match.start() - 8) : match.start()]
        )
        if whole not in seen:
            yield from _forms(parts)
            seen.add(whole)
        if opens:
            yield from (word.lower() for word in parts if word.istitle() and not is_number_word(word))
    yield from (month.capitalize() for month in dated_months(text))


def _parts_of_word(whole: str, elided: Container[str]) -> set[str]:
    """A word, and what its apostrophes join: the "l" and "eau" of "l'eau", but nothing of O'Malley."""
    bare = _SUFFIX.sub("", whole)
    first, *others = _APOSTROPHES.split(bare)
    if others and first[0].isupper() and others[0][:1].isupper() and first.lower() not in elided:
        return {whole, bare}
    return {whole, bare, first, *others}


def _words(text: str) -> Iterator[re.Match[str]]:
    """The words of a text: letters and figures with their marks, as vowels are written in many scripts."""
    marks = (sign for sign in set(text) if not sign.isalnum() and is_letter(sign))
    return _word_of("".join(sorted(marks))).finditer(text)


@lru_cache(maxsize=256)
def _word_of(marks: str) -> re.Pattern[str]:
    letter = rf"(?:[^\W_]|[{re.escape(marks)}])" if marks else r"[^\W_]"
    return re.compile(rf"[^\W_]{letter}*(?:['’]{letter}+)*")


def _forms(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word and not is_number_word(word):
            yield word
            if len(word) > 3 and word.isupper():
                yield word.capitalize()


def is_number_word(word: str) -> bool:
    """Whether a word is a number, or begins with figures."""
    return word[0].isdigit() or word.lower() in NUMBER_WORDS


def list_common_words(texts: Iterable[str], least: int = 4) -> list[str]:
    """The words that texts write in small letters so often, sorted: what goes into ``common_words.txt``.

    Args:
        texts: what the model learns from.
        least: how often a word must come.
    """
    counts: dict[str, int] = {}
    for text in texts:
        for match in _words(text):
            word = match.group()
            marked = (one for one in word if not one.isalpha())
            if word == word.lower() and all(is_letter(one) and not one.isalnum() for one in marked):
                counts[word] = counts.get(word, 0) + 1
    return sorted(word for word, count in counts.items() if count >= least)
