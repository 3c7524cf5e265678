"""What every text of one call shares, and the records that pass over the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pegasus.data.sentences import Splitter, find_splitter
from pegasus.errors import BadSetting
from pegasus.summarizer.repair import Repairer, common_words_of
from pegasus.summarizer.settings import Settings
from pegasus.summarizer.text_codec import TextCodec
from pegasus.summarizer.writer import Draft, Writer


@dataclass(frozen=True)
class Context:
    """A reader, a writer and how to use them."""

    reader: TextCodec
    writer: Writer
    settings: Settings
    name: str = ""

    @cached_property
    def limit(self) -> int:
        """How many tokens may be read at once, the end token included."""
        stated = min(self.writer.limit, self.reader.limit)
        if stated < 2:
            raise BadSetting(
                f"The model says that it takes {stated} tokens at once, too few for any text: "
                "mend max_position_embeddings in its config.json, or model_max_length in "
                "its tokenizer_config.json."
            )
        return min(stated, self.settings.max_input_tokens or stated)

    @cached_property
    def common_words(self) -> frozenset[str]:
        """The common words of the checkpoint's language, where it has a list."""
        folder = getattr(self.writer, "folder", None)
        return frozenset() if folder is None else common_words_of(folder)

    def repairer(self, text: str) -> Repairer:
        """What puts right near-copies of a text's words."""
        return Repairer(text, self.common_words)

    @cached_property
    def split(self) -> Splitter:
        """The sentence rule."""
        return find_splitter(self.settings.splitter)


@dataclass(frozen=True)
class Piece:
    """What one job reads: neighbouring sentences of a round.

    Attributes:
        units: their numbers in the round.
        sizes: how many tokens each of them has; empty where nobody will ask.
        tokens: what is read, the end token included.
        broken_off: whether the rest was left out, perhaps within a word.
    """

    units: range
    sizes: Sequence[int]
    tokens: tuple[int, ...]
    broken_off: bool = False


@dataclass(frozen=True)
class Written:
    """One piece's summary.

    Attributes:
        sentences: its sentences, whose concatenation is the summary.
        draft: the tokens they came from, which may go on after the last of them.
        seconds: time spent on it, discarded drafts included.
        retried: whether it was written again because it was repetitive.
        cut: whether its last sentence is broken off.
        shares: [sentences, sentences of the piece], how much each leans on what was read; None unless
            that was asked for.
    """

    sentences: tuple[str, ...]
    draft: Draft
    seconds: float
    retried: bool = False
    cut: bool = False
    shares: np.ndarray | None = None

    @property
    def text(self) -> str:
        """The summary."""
        return "".join(self.sentences).strip()
