"""Text to tokens and back, as a summarizer needs it: counted, cut, and with line breaks kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_NEWLINE = re.compile(r" ?<n> ?")
_COUNTED_AT_ONCE = 1024


@dataclass(frozen=True)
class Reader:
    """A tokenizer, seen from the summarizer.

    Attributes:
        tokenizer: any of this package's tokenizers.
    """

    tokenizer: Any

    @property
    def eos(self) -> int:
        """The token that ends every input."""
        return int(self.tokenizer.eos_token_id)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, the end token included."""
        return [*self._ids([text])[0], self.eos]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens each text has, without the end token."""
        sizes: list[int] = []
        for start in range(0, len(texts), _COUNTED_AT_ONCE):
            sizes += map(len, self._ids(list(texts[start : start + _COUNTED_AT_ONCE])))
        return sizes

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, `<n>` turned into the line break that it stands for."""
        text = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return _NEWLINE.sub("\n", text).strip()

    def looks_like_name(self, word: str) -> bool:
        """Whether the vocabulary knows a word better with its capital than without.

        A word that opens a sentence has a capital either way; "Obama" takes fewer pieces than "obama",
        "Plans" does not take fewer than "plans".
        """
        capital, small = self.count([word, word.lower()])
        return capital < small

    def _ids(self, texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return found
