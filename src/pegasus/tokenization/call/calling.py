"""The calls that turn text into numbers, with every argument of transformers 4.34 by its name and place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from pegasus.errors import BadSetting
from pegasus.tokenization.call.encoding import BatchEncoding
from pegasus.tokenization.call.inputs import Text

#: A text, several, pairs of them, or any of these in words; also arrays and columns with ``tolist``.
Texts = str | Sequence[Any] | Any
Padding = bool | Literal["longest", "max_length", "do_not_pad"]
Truncation = bool | Literal["longest_first", "only_first", "only_second", "do_not_truncate"] | None
Tensors = Literal["pt", "np", "tf", "jax"] | None


class RareOptions(TypedDict, total=False):
    """Arguments of later versions, and old ones that warn."""

    padding_side: Literal["left", "right"] | None
    split_special_tokens: bool | None
    pad_to_max_length: bool
    truncation_strategy: str


class Calling:
    """Calling a tokenizer, mixed into both classes, which supply ``_encode``."""

    def _encode(self, text: Any, pair: Any, batched: bool | None = None, **options: Any) -> BatchEncoding:
        raise NotImplementedError

    def __call__(
        self,
        text: Texts | None = None,
        text_pair: Texts | None = None,
        text_target: Texts | None = None,
        text_pair_target: Texts | None = None,
        add_special_tokens: bool = True,
        padding: Padding = False,
        truncation: Truncation = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: Tensors = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **kwargs: Unpack[RareOptions],
    ) -> BatchEncoding:
        """Turn a text, or several, into numbers for the model.

        Args:
            text: a text, a list of texts, or a list of pairs of them; with ``is_split_into_words`` words
                instead of texts.
            text_pair: a second text for each; it follows the first before the one eos.
            text_target: what the model is to say; alone it is encoded like a text, beside ``text``
                its ids become ``labels``.
            text_pair_target: a second text for each target.
            add_special_tokens: end each row with eos.
            padding: False, True or "longest", "max_length".
            truncation: False, True or "longest_first", "only_first", "only_second".
            max_length: tokens in a row, eos included; None: ``model_max_length``.
            stride: how many tokens the rows of ``return_overflowing_tokens`` share.
            is_split_into_words: texts are given as lists of words.
            pad_to_multiple_of: padded rows are as long as a multiple of this.
            return_tensors: tensors of this framework in place of lists.
            return_token_type_ids: zeros, as many as ids.
            return_attention_mask: on unless False.
            return_overflowing_tokens: further rows of the fast class, ``overflowing_tokens`` and
                ``num_truncated_tokens`` beside the one row of the other.
            return_special_tokens_mask: 1 where a token is special.
            return_offsets_mapping: where each token stands in its text.
            return_length: how many tokens each row has.
            verbose: False says nothing of assumptions.
            **kwargs: ``padding_side``, ``split_special_tokens``; old names warn.

        Returns:
            ``input_ids`` and ``attention_mask`` and what was asked for: lists, rows of lists for several
            texts, or tensors [B, S].

        Raises:
            BadSetting: for lengths and strategies that cannot be kept.
            UnsupportedArgument: for an argument that is not listed here.
        """
        options = _options(locals(), "text", "text_pair", "text_target", "text_pair_target")
        if text is None:
            if text_target is None:
                raise BadSetting("There is nothing to encode: give `text` or `text_target`.")
            return self._encode(text_target, text_pair_target, **options)
        source = self._encode(text, text_pair, **options)
        if text_target is not None:
            source["labels"] = self._encode(text_target, text_pair_target, **options)["input_ids"]
        return source

    def encode(
        self,
        text: Text,
        text_pair: Text | None = None,
        add_special_tokens: bool = True,
        padding: Padding = False,
        truncation: Truncation = None,
        max_length: int | None = None,
        stride: int = 0,
        return_tensors: Tensors = None,
        **kwargs: Any,
    ) -> Any:
        """The ids of a text (or of its tokens, or of ids): ``encode_plus(...)["input_ids"]``."""
        options = _options(locals(), "text", "text_pair")
        return self._encode(text, text_pair, batched=False, **options)["input_ids"]

    def encode_plus(
        self,
        text: Text,
        text_pair: Text | None = None,
        add_special_tokens: bool = True,
        padding: Padding = False,
        truncation: Truncation = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: Tensors = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **kwargs: Unpack[RareOptions],
    ) -> BatchEncoding:
        """Like calling the tokenizer on one text; lists are tokens or ids, not several texts."""
        return self._encode(text, text_pair, batched=False, **_options(locals(), "text", "text_pair"))

    def batch_encode_plus(
        self,
        batch_text_or_text_pairs: Sequence[Any],
        add_special_tokens: bool = True,
        padding: Padding = False,
        truncation: Truncation = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: Tensors = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        **kwargs: Unpack[RareOptions],
    ) -> BatchEncoding:
        """Like calling the tokenizer on a list of texts, or of ``(text, second text)`` tuples."""
        options = _options(locals(), "batch_text_or_text_pairs")
        return self._encode(list(batch_text_or_text_pairs), None, batched=True, **options)


def _options(given: Mapping[str, Any], *texts: str) -> dict[str, Any]:
    """The arguments of a call that say how, and those without a name in its signature."""
    named = {name: value for name, value in given.items() if name not in ("self", "kwargs", *texts)}
    return {**named, **given["kwargs"]}
