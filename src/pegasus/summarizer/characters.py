"""Characters that a vocabulary cannot represent: found, counted, shown by examples; and text made legible.

What a vocabulary has no piece for becomes its unknown token, whatever it was: "Łódź" and "Ćódź" read the
same, and a summary, in which unknown tokens are left out, says "d". A few characters vanish even earlier,
when a text is normalized. Both are asked of the tokenizer, a character at a time and each only once.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pegasus.errors import BadData
from pegasus.tokenization.segmentation.surrogates import mend_surrogates

# The most among 7,000 English documents is 6 %; Vietnamese text has 30 %, other scripts 50 to 100 %.
_MEANINGLESS = 0.2
_MOST_EXAMPLES = 5
_LONGEST_EXAMPLE = 20
_PUNCTUATION = ".,;:!?\"'“”‘’()[]"
_DAMAGED = "\ufffd"
# Line breaks that sentencepiece drops, which glues the words around them together, or takes for a blank.
_LINE_BREAK = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_BLANK = "\x1f"
# Normalizing would make 51/2 of "5½" and 102 of "10²".
_RAISED = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞²³¹⁰⁴-⁹₀-₉])")
# "<n>" in a text is no line break, nor is what normalizing turns into it ("＜n＞").
_WRITTEN_BREAK = re.compile(r"[<＜﹤]\w[>＞﹥]")


@dataclass(frozen=True)
class Unknown:
    """What of a text a vocabulary cannot represent.

    Attributes:
        characters: how many characters, blanks and invisible ones left out.
        share: their part of all characters that are not blank, 0 to 1.
        letters: the part of the text's letters that is unknown, 0 to 1; signs and emoji say little, but for
            a text that has neither letters nor figures: there it is the part of all its characters.
        examples: the first words that hold one.
    """

    characters: int = 0
    share: float = 0.0
    letters: float = 0.0
    examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.characters > 0

    def __str__(self) -> str:
        return f"{percent(self.share)} of the text's characters ({', '.join(self.examples)})"


class Characters:
    """The characters of texts, seen by a tokenizer.

    Args:
        tokenizer: any of this package's tokenizers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: set[str] = set()
        self._lost: set[str] = set()
        self._invisible: set[str] = set()

    def find_unknown(self, text: str) -> Unknown:
        """Count the characters of a text that the vocabulary cannot represent."""
        # The accent of an "é" in two characters is not lost.
        text = unicodedata.normalize("NFC", mend_surrogates(text))
        lost = self._meet(text) & self._lost
        if not lost:
            return Unknown()
        counts, whole = Counter(text), self._known_as_words(text, lost)
        missed = counts - Counter("".join(whole)) if whole else counts
        characters = sum(missed[one] for one in lost)
        if not characters:
            return Unknown()
        visible = sum(times for one, times in counts.items() if not one.isspace())
        letters = {one for one in counts if unicodedata.category(one)[0] in "LM"}
        if not letters and not any(one.isdecimal() for one in counts):
            letters = {one for one in counts if not one.isspace()}
        lost_letters = sum(missed[one] for one in lost & letters)
        return Unknown(
            characters,
            characters / visible,
            lost_letters / max(1, sum(counts[one] for one in letters)),
            _examples(text, lost, set(whole)),
        )

    def _known_as_words(self, text: str, lost: set[str]) -> list[str]:
        """The words, as often as they stand there, that are pieces although their characters are none."""
        rare = lost & self._in_pieces
        words = [word for word in text.split() if not rare.isdisjoint(word)] if rare else []
        fresh = list(dict.fromkeys(words))
        rows = self._tokenizer.encode_ids(fresh, add_special_tokens=False, split_special_tokens=True)
        unknown = self._tokenizer.unk_token_id
        known = {word for word, ids in zip(fresh, rows) if unknown not in ids.tolist()}
        return [word for word in words if word in known]

    @functools.cached_property
    def _in_pieces(self) -> set[str]:
        return set("".join(getattr(self._tokenizer, "get_vocab", dict)()))

    def make_legible(self, text: str) -> str:
        """Return a text as the tokenizer should be given it, so that nothing in it is taken for a command.

        Every kind of line break is one, `<n>` is text, and characters without a shape of their own (a soft
        hyphen, a joiner, marks of direction) do not stand in a word as something unknown. Half an emoji,
        which JSON can hold and no tokenizer takes, is U+FFFD. A raised figure or a fraction does not
        grow together with the figures before it.
        """
        text = mend_surrogates(text)
        for character in self._meet(text) & self._invisible:
            text = text.replace(character, "")
        text = _LINE_BREAK.sub("\n", text).replace(_BLANK, " ")
        return _WRITTEN_BREAK.sub(_apart, text if text.isascii() else _RAISED.sub(" ", text))

    def _meet(self, text: str) -> set[str]:
        """Return the characters of a text, all of them known, lost or invisible from now on."""
        found = set(text)
        fresh = [one for one in found - self._known - self._lost - self._invisible if not one.isspace()]
        if fresh:
            self._learn(fresh)
        return found

    def _learn(self, fresh: list[str]) -> None:
        unknown, lost = self._tokenizer.unk_token_id, set()
        ids_of_each = self._tokenizer.encode_ids(fresh, add_special_tokens=False, split_special_tokens=True)
        for one, ids in zip(fresh, ids_of_each):
            row = ids.tolist()
            if unknown in row or one == _DAMAGED or not self._tokenizer.decode(row).strip():
                lost.add(one)
        self._invisible |= {one for one in lost if _is_invisible(one)}
        self._lost |= lost - self._invisible
        self._known |= set(fresh) - lost


def refuse_unknown(unknown: Unknown, wanted: str | None) -> None:
    """Refuse a text for what is unknown in it, where `Settings.unknown` says so.

    Raises:
        BadData: it holds an unknown character and `wanted` is "error", or it is None and of the text's
            letters a fifth are unknown.
    """
    if wanted == "error" and unknown:
        raise BadData(
            f"The model's vocabulary lacks {unknown}. "
            'Use a model that knows them, or set `unknown` to "warn".'
        )
    if wanted is None and unknown.letters >= _MEANINGLESS:
        raise BadData(
            f"The model's vocabulary lacks {percent(unknown.letters)} of the text's letters "
            f"({', '.join(unknown.examples)}): a summary of the rest would mean nothing. "
            'Use a model for its language, or set `unknown` to "warn".'
        )


class UnknownTally:
    """Adds up what of many texts is unknown, for one line about all of them.

    Attributes:
        texts: how many texts there were.
        holding: how many of them hold a character that is unknown.
        characters: how many characters are.
        examples: words that hold one, of the first texts.
    """

    def __init__(self) -> None:
        self.texts = self.holding = self.characters = 0
        self.examples: tuple[str, ...] = ()
        self._visible = 0.0

    def add(self, unknown: Unknown, text: str) -> None:
        """Take what was found in a text."""
        self.texts += 1
        self._visible += unknown.characters / unknown.share if unknown else _count_visible(text)
        if unknown:
            self.holding += 1
            self.characters += unknown.characters
            if len(self.examples) < _MOST_EXAMPLES:
                self.examples = tuple(_first(dict.fromkeys((*self.examples, *unknown.examples))))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {"texts": self.holding, "share": self.share, "examples": list(self.examples)}

    @property
    def share(self) -> float:
        """The part of all visible characters that is unknown, 0 to 1."""
        return self.characters / max(self._visible, 1)

    def line(self, what: str) -> str:
        """Say it: "12 of 100 sources hold characters …"."""
        if not self.holding:
            return f"the vocabulary has every character of {self.texts:,} {what}"
        return (
            f"{self.holding:,} of {self.texts:,} {what} hold characters that the vocabulary lacks: "
            f"{percent(self.share)} of all, for example {', '.join(self.examples)}"
        )


def percent(share: float) -> str:
    """Return a share as text that tells small ones from none: "12 %", "0.3 %", "under 0.1 %"."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    return f"{share:.0%}".replace("%", " %") if share >= 0.1 else f"{100 * share:.1f} %"


def _is_invisible(character: str) -> bool:
    """Whether a character changes how others look and has no shape itself."""
    selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return selector or character == "\u034f" or unicodedata.category(character) in ("Cf", "Cc")


def _count_visible(text: str) -> int:
    return sum(map(len, text.split()))


def _examples(text: str, lost: set[str], known: set[str]) -> tuple[str, ...]:
    around = "".join(set(_PUNCTUATION) - lost)
    words = (word.strip(around) for word in text.split() if word not in known)
    found = dict.fromkeys(word for word in words if not lost.isdisjoint(word))
    return tuple(_short(word, lost) for word in _first(found))


def _first(examples: Iterable[str]) -> list[str]:
    return [example for _, example in zip(range(_MOST_EXAMPLES), examples)]


def _short(word: str, lost: set[str]) -> str:
    """Return a word, or of a long one the part around its first unknown character."""
    if len(word) <= _LONGEST_EXAMPLE:
        return word
    place = next(place for place, one in enumerate(word) if one in lost)
    start = max(0, min(place - _LONGEST_EXAMPLE // 2, len(word) - _LONGEST_EXAMPLE))
    end = start + _LONGEST_EXAMPLE
    return "…" * (start > 0) + word[start:end] + "…" * (end < len(word))


def _apart(match: re.Match[str]) -> str:
    written = match.group()
    if unicodedata.normalize("NFKC", written) != "<n>":
        return written
    return f"{written[0]} {written[1:]}"
