"""Text to tokens and back, as a summarizer needs it: counted, and with line breaks kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pegasus.errors import BadData
from pegasus.summarizer.characters import Characters

_NEWLINE = re.compile(r" ?<n> ?")
_BLANKS = re.compile(r"(?<=\S) {2,}")
_MANY_PIECES = 4
_FAR = 4
_UNSAID = 10**9


@dataclass(frozen=True)
class TextCodec:
    """A tokenizer, seen from the summarizer.

    Attributes:
        tokenizer: any of this package's tokenizers.
        rows: how many ids the model has a row for; None: all.
    """

    tokenizer: Any
    rows: int | None = None

    @cached_property
    def characters(self) -> Characters:
        """Which characters the tokenizer can represent."""
        return Characters(self.tokenizer)

    @property
    def limit(self) -> int:
        """How many tokens the checkpoint was made to read; a huge number where that is not said."""
        return int(getattr(self.tokenizer, "model_max_length", None) or _UNSAID)

    def encode(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the tokens of each text, the end token included; what it says is text, `</s>` too.

        Raises:
            BadData: a text needs an id that the model has no row for.
        """
        encoded = [tuple(ids.tolist()) for ids in self._ids(texts)]
        highest = max(map(max, encoded), default=0)
        if self.rows is not None and highest >= self.rows:
            token = self.tokenizer.convert_ids_to_tokens(highest)
            raise BadData(
                f"The text needs the token {token!r} with id {highest:,}, and the model has {self.rows:,} "
                "rows only: use the tokenizer that belongs to it."
            )
        return encoded

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, without the end token."""
        return [len(ids) for ids in self._ids(texts, add_special_tokens=False)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, `<n>` turned into the line break that it stands for.

        What the vocabulary lacks leaves one blank: "Helmholz & Sons" is "Helmholz Sons".
        """
        text = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return _NEWLINE.sub("\n", _BLANKS.sub(" ", text)).strip()

    def looks_like_name(self, word: str) -> bool:
        """Whether the vocabulary knows a word with a capital far better than without, or hardly at all.

        A word that opens a sentence has a capital either way. A unigram vocabulary is sorted by frequency:
        "Washington" stands far before "washington", "However" only a little before "however", "Plans" after
        "plans". A form that it does not have takes several pieces, and many pieces are no everyday word.
        """
        capital, small = self._ids([word, word.lower()], add_special_tokens=False)
        if len(capital) == len(small) == 1:
            return bool(small[0] > _FAR * capital[0])
        return len(capital) < len(small) or len(small) >= _MANY_PIECES

    def _ids(self, texts: Sequence[str], add_special_tokens: bool = True) -> Any:
        legible = [self.characters.make_legible(text) for text in texts]
        return self.tokenizer.encode_ids(
            legible, add_special_tokens=add_special_tokens, split_special_tokens=True
        )
