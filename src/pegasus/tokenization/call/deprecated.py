"""Old names that code written for transformers calls: each works and warns of what replaced it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tokenizers import AddedToken

from pegasus.errors import BadSetting
from pegasus.tokenization.call.encoding import BatchEncoding

logger = logging.getLogger(__name__)


class DeprecatedCalls:
    """What transformers 4.34 offers with a warning, on both tokenizers."""

    model_max_length: int
    deprecation_warnings: dict[str, bool]
    num_special_tokens_to_add: Callable[[bool], int]
    add_tokens: Callable[..., int]
    __call__: Callable[..., BatchEncoding]

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """Every special token with its rules."""
        raise NotImplementedError

    def prepare_seq2seq_batch(
        self,
        src_texts: Sequence[str],
        tgt_texts: Sequence[str] | None = None,
        max_length: int | None = None,
        max_target_length: int | None = None,
        padding: bool | str = "longest",
        return_tensors: str | None = None,
        truncation: bool | str = True,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Source texts and target texts in one call; ``tokenizer(texts, text_target=...)`` does it today.

        Args:
            src_texts: the documents.
            tgt_texts: what the model is to say; its ids become ``labels``.
            max_length: tokens of a document; None: ``model_max_length``.
            max_target_length: tokens of a target; None: the same as ``max_length``.
            padding: as in a call.
            return_tensors: as in a call.
            truncation: as in a call.
            kwargs: as in a call; ``src_lang`` and ``tgt_lang`` change nothing.
        """
        _warn("prepare_seq2seq_batch", "tokenizer(texts, text_target=summaries)")
        for name in ("src_lang", "tgt_lang"):
            kwargs.pop(name, None)
        limit = self.model_max_length if max_length is None else max_length
        shared = {"padding": padding, "truncation": truncation, "return_tensors": return_tensors, **kwargs}
        found = self(list(src_texts), max_length=limit, **shared)
        if tgt_texts is not None:
            most = limit if max_target_length is None else max_target_length
            found["labels"] = self(text_target=list(tgt_texts), max_length=most, **shared)["input_ids"]
        return found

    @contextmanager
    def as_target_tokenizer(self) -> Iterator[None]:
        """A block in which targets are encoded; PEGASUS encodes them like any text."""
        _warn("as_target_tokenizer", "tokenizer(text_target=summaries)", frames=4)
        yield

    def sanitize_special_tokens(self) -> int:
        """Add every special token that the vocabulary lacks; they always are in it.

        Returns:
            How many were added: none.
        """
        _warn("sanitize_special_tokens", "nothing: special tokens are added when they are named")
        return self.add_tokens(self.all_special_tokens_extended, special_tokens=True)

    @property
    def max_len_single_sentence(self) -> int:
        """Tokens of a text that fit into ``model_max_length`` beside the one eos."""
        return self.model_max_length - self.num_special_tokens_to_add(False)

    @max_len_single_sentence.setter
    def max_len_single_sentence(self, value: int) -> None:
        self._take_old_length("max_len_single_sentence", value)

    @property
    def max_len_sentences_pair(self) -> int:
        """Tokens of a text and a second one together that fit beside the one eos."""
        return self.model_max_length - self.num_special_tokens_to_add(True)

    @max_len_sentences_pair.setter
    def max_len_sentences_pair(self, value: int) -> None:
        self._take_old_length("max_len_sentences_pair", value)

    def _take_old_length(self, name: str, value: int) -> None:
        """These lengths follow from another one: only what they are already can be set."""
        if value != getattr(self, name):
            raise BadSetting(f"{name} follows from model_max_length, and {value} does not. Set that.")
        if not self.deprecation_warnings.get(name):
            self.deprecation_warnings[name] = True
            logger.warning("Setting %s has no effect: it follows from model_max_length.", name)


def _warn(name: str, remedy: str, frames: int = 3) -> None:
    warnings.warn(f"{name} is an old name. Use {remedy}.", FutureWarning, stacklevel=frames)
