"""What both tokenizers do alike: call, cut, pad, load, save. They differ only in who cuts ordinary text."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pegasus.errors import BadSetting, CheckpointNotFound
from pegasus.hub import TOKENIZER_FILES, HubOptions, locate, push
from pegasus.tokenization import inputs, lengths
from pegasus.tokenization.bulk import BulkCutter, BulkEncoding
from pegasus.tokenization.cutting import Engine, StretchCutter, TextEncoder
from pegasus.tokenization.encoding import BatchEncoding, EncodedText
from pegasus.tokenization.folder import read_settings
from pegasus.tokenization.inputs import Text
from pegasus.tokenization.lengths import Limits
from pegasus.tokenization.newline import Newline, check_newline
from pegasus.tokenization.padding import Encoded, pad_columns
from pegasus.tokenization.request import Wanted, refuse_unknown, settle
from pegasus.tokenization.rows import Row, columns, rows_of
from pegasus.tokenization.saving import write_folder, write_vocabulary
from pegasus.tokenization.specials import AddedTokens, SpecialTokens, as_token
from pegasus.tokenization.table import TokenTable
from pegasus.tokenization.vocabulary import NEWLINE_PIECE, Layout, Vocabulary

logger = logging.getLogger(__name__)
_SHIFTED = re.compile(r"<unk_\d+>")
_MADE = ("_engine", "_cutter", "_bulk")  # what cannot be copied


class TokenizerBase(TokenTable, SpecialTokens, BulkEncoding):
    """Text ↔ ids of PEGASUS; the classes to use are PegasusTokenizer and PegasusTokenizerFast.

    Args:
        vocabulary: the pieces.
        layout: the ids that are not pieces, by name.
        additional_special_tokens: more of them; those that are not reserved get ids after the pieces.
        sp_model_kwargs: passed to ``sentencepiece.SentencePieceProcessor``.
        settings: ``model_max_length``, ``padding_side``, ``truncation_side``, ``newline``,
            ``clean_up_tokenization_spaces``, ``added_tokens_decoder``, ``bos_token``, ``sep_token``,
            ``cls_token``; anything else is kept and written back on save.
    """

    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]
    is_fast: ClassVar[bool] = False

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        additional_special_tokens: Sequence[Any] | None,
        sp_model_kwargs: dict[str, Any] | None,
        settings: dict[str, Any],
    ) -> None:
        self._vocabulary, self._layout, self.offset = vocabulary, layout, layout.offset
        self.sp_model_kwargs = dict(sp_model_kwargs or {})
        self._said: set[str] = set()
        self._open()
        self._take_settings(settings)
        self._name_tokens(settings, additional_special_tokens)
        self.newline = settings.pop("newline", None) or "drop"
        self.init_kwargs = settings

    def _take_settings(self, settings: dict[str, Any]) -> None:
        limit = settings.pop("model_max_length", None)
        self.model_max_length = lengths.UNLIMITED if limit is None else int(limit)
        self.padding_side = lengths.settle_side(settings.pop("padding_side", "right"), "padding_side")
        self.truncation_side = lengths.settle_side(
            settings.pop("truncation_side", "right"), "truncation_side"
        )
        tidy = settings.pop("clean_up_tokenization_spaces", None)
        self.clean_up_tokenization_spaces = True if tidy is None else bool(tidy)
        self.name_or_path = str(settings.pop("name_or_path", "") or "")

    def _name_tokens(self, settings: dict[str, Any], additional: Sequence[Any] | None) -> None:
        layout = self._layout
        self._added = AddedTokens.reserved(layout)
        names = ("unk_token", "pad_token", "eos_token", "mask_token", "mask_token_sent")
        self._named = {name: text for name in names if (text := getattr(layout, name)) is not None}
        named = set(self._named.values()) - {layout.mask_token_sent}
        self._additional = [text for text in layout.reserved.values() if text not in named]
        for number, token in sorted((settings.pop("added_tokens_decoder", None) or {}).items()):
            self._restore(int(number), token)
        if layout.mask_token is not None and layout.mask_token not in self._added.ids:
            self._name("mask_token", layout.mask_token)
        for name in ("bos_token", "sep_token", "cls_token"):
            if (token := settings.pop(name, None)) is not None:
                self._name(name, token)
        if additional is not None:
            self._set_additional(
                [token for token in additional if not self._is_misplaced(token)], replace=False
            )

    def _restore(self, number: int, token: Any) -> None:
        """Take over a token that a file lists, unless it says nothing new about the vocabulary."""
        token = as_token(token, special=False)
        known = self._added.ids.get(token.content)
        if number < self._layout.unk_id + 1 or known is not None or self._is_misplaced(token):
            return
        if number < self.vocab_size and (
            self._piece_id(token.content) != number or not self._is_learnt(number)
        ):
            return
        self._added = self._added.with_token(number, token)
        if token.special:
            self._additional.append(token.content)

    def _is_misplaced(self, token: Any) -> bool:
        """Whether this is a reserved name that a faulty version of transformers shifted or wrote twice."""
        text = token["content"] if isinstance(token, Mapping) else str(getattr(token, "content", token))
        if _SHIFTED.fullmatch(text) is None or text in self._added.ids:
            return False
        logger.warning(
            "%s stands among the added tokens of %s and is no token here: left out.",
            text,
            self.name_or_path,
        )
        return True

    # -- files ------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Load a tokenizer from a folder, a bundled name or the hub.

        Args:
            pretrained_model_name_or_path: the folder or name.
            kwargs: how to look it up (``revision``, ``token``, ``cache_dir``, ``local_files_only``,
                ``subfolder``), and constructor arguments that override the files.

        Raises:
            CheckpointNotFound: when there is no such thing, or no vocabulary in it.
            CheckpointCorrupt: when a file cannot be read.
        """
        name = os.fspath(pretrained_model_name_or_path)
        place = locate(name, HubOptions.take(kwargs), patterns=TOKENIZER_FILES)
        return cls(**{**read_settings(place), "name_or_path": name, **kwargs})

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None, **kwargs: Any
    ) -> tuple[str, ...]:
        """Write every file that readers of PEGASUS look for, in the explicit form.

        ``spiece.model``, ``tokenizer.json`` (for unigram vocabularies), ``tokenizer_config.json``,
        ``special_tokens_map.json`` and, where tokens were added, ``added_tokens.json``.

        Args:
            save_directory: the folder, made when it is not there.
            filename_prefix: put before every file name, with a hyphen.
            kwargs: ``legacy_format`` changes nothing, all files are written; anything else is refused.

        Returns:
            The paths of the files.
        """
        kwargs.pop("legacy_format", None)
        refuse_unknown({name: value for name, value in kwargs.items() if value}, "save_pretrained")
        target = Path(save_directory)
        target.mkdir(parents=True, exist_ok=True)
        return write_folder(self, target, f"{filename_prefix}-" if filename_prefix else "")

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write ``spiece.model`` alone into a folder that is there.

        Raises:
            CheckpointNotFound: when there is no such folder.
        """
        target = Path(save_directory)
        if not target.is_dir():
            raise CheckpointNotFound(f"{target} is no folder. Make it first, or use save_pretrained.")
        return (write_vocabulary(self, target, f"{filename_prefix}-" if filename_prefix else ""),)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Save into a temporary folder and upload it; takes the keywords of :func:`pegasus.hub.push`.

        Returns:
            Where it can be seen.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return push(Path(folder), repo_id, **kwargs)

    # -- text → numbers ---------------------------------------------------------------------------

    @property
    def newline(self) -> Newline:
        """What becomes of line breaks: "drop", "authors" or "flax"."""
        return self._newline

    @newline.setter
    def newline(self, option: str) -> None:
        self._newline = check_newline(option)
        if self._newline != "drop" and self._piece_id(NEWLINE_PIECE) is None:
            raise BadSetting(
                f"newline={option!r} writes line breaks as {NEWLINE_PIECE}, which this vocabulary does not "
                "have. Use newline='drop', or a vocabulary trained with it."
            )

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Turn a text, or several, into numbers for the model.

        Args:
            text: a text, a list of texts; with ``is_split_into_words`` words instead of texts.
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
            kwargs: ``pad_to_multiple_of``, ``padding_side``, ``return_tensors`` ("pt", "np", "tf", "jax"),
                ``return_attention_mask`` (on unless False), ``return_token_type_ids``,
                ``return_overflowing_tokens``, ``return_special_tokens_mask``, ``return_offsets_mapping``,
                ``return_length``, ``verbose``.

        Returns:
            ``input_ids`` and ``attention_mask`` and what was asked for: lists, rows of lists for several
            texts, or tensors [B, S].

        Raises:
            BadSetting: for lengths and strategies that cannot be kept.
            UnsupportedArgument: for an argument that is not listed here.
        """
        shared: dict[str, Any] = {
            **kwargs, "add_special_tokens": add_special_tokens, "padding": padding, "stride": stride,
            "truncation": truncation, "max_length": max_length, "is_split_into_words": is_split_into_words,
        }  # fmt: skip
        if text is None:
            if text_target is None:
                raise BadSetting("There is nothing to encode: give `text` or `text_target`.")
            return self._encode(text_target, text_pair_target, **shared)
        source = self._encode(text, text_pair, **shared)
        if text_target is not None:
            source["labels"] = self._encode(text_target, text_pair_target, **shared)["input_ids"]
        return source

    def encode(self, text: Text, text_pair: Text | None = None, **kwargs: Any) -> Any:
        """The ids of a text (or of its tokens, or of ids): ``encode_plus(...)["input_ids"]``."""
        return self.encode_plus(text, text_pair, **kwargs)["input_ids"]

    def encode_plus(self, text: Text, text_pair: Text | None = None, **kwargs: Any) -> BatchEncoding:
        """Like calling the tokenizer on one text; lists are tokens or ids, not several texts."""
        return self._encode(text, text_pair, batched=False, **kwargs)

    def batch_encode_plus(self, batch_text_or_text_pairs: Sequence[Any], **kwargs: Any) -> BatchEncoding:
        """Like calling the tokenizer on a list of texts, or of ``(text, second text)`` tuples."""
        in_words = kwargs.get("is_split_into_words", False)
        if not any(inputs.is_pair(item, in_words) for item in batch_text_or_text_pairs):
            return self._encode(list(batch_text_or_text_pairs), None, batched=True, **kwargs)
        firsts, seconds = zip(*batch_text_or_text_pairs)
        return self._encode(list(firsts), list(seconds), batched=True, **kwargs)

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """Cut a text into tokens, spelled as they stand in the normalized text."""
        refuse_unknown(kwargs, "tokenize")
        texts = [text] if pair is None else [text, pair]
        tokens = [token for part in self._encoder.encode(texts, False) for token in part.details.tokens]
        return [*tokens, self._named["eos_token"]] if add_special_tokens else tokens

    def prepare_for_model(
        self, ids: list[int], pair_ids: list[int] | None = None, **kwargs: Any
    ) -> BatchEncoding:
        """Cut, close and pad ids that have no special tokens yet.

        Takes the keywords of a call. ``return_overflowing_tokens`` gives ``overflowing_tokens`` and
        ``num_truncated_tokens`` here, not further rows.
        """
        overflow = kwargs.pop("return_overflowing_tokens", False)
        tensors, prepend = kwargs.pop("return_tensors", None), kwargs.pop("prepend_batch_axis", False)
        limits, wanted = self._settle(kwargs)
        closing = self._closing(wanted.specials)
        given = [self._encoder.given(part) for part in (ids, pair_ids) if part is not None]
        rows = rows_of(0, given[0], given[1] if pair_ids is not None else None, limits, closing, False)
        self._warn_if_long(rows, limits, wanted)
        table, encodings = columns(rows, limits, closing, wanted)
        found: dict[str, Any] = {name: value[0] for name, value in table.items()}
        if overflow:
            total = len(ids) + len(pair_ids or ()) + self.num_special_tokens_to_add() * wanted.specials
            found["num_truncated_tokens"] = total - (limits.max_length or total)
            found["overflowing_tokens"] = _cut_away(given, rows[0], limits)
        return BatchEncoding(found, encodings, tensors, prepend_batch_axis=prepend)

    def pad(
        self,
        encoded_inputs: Encoded,
        padding: bool | str = True,
        max_length: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Fill up encodings to one length: a batch, or a list of single encodings.

        ``input_ids``, ``attention_mask``, ``token_type_ids`` and ``special_tokens_mask`` are filled;
        other entries stay as they are. Tensors come back as tensors of their kind. Takes
        ``pad_to_multiple_of``, ``padding_side`` and ``verbose`` too.
        """
        limits, _ = self._settle(
            {"padding": padding, "truncation": False, "max_length": max_length, **kwargs}
        )
        fillings = {"input_ids": self._id_of("pad_token"), "token_type_ids": self.pad_token_type_id}
        fillings |= {"attention_mask": 0, "special_tokens_mask": 1}
        return pad_columns(
            encoded_inputs, limits, fillings, return_attention_mask is not False, return_tensors
        )

    def _encode(
        self,
        text: Any,
        pair: Any,
        batched: bool | None = None,
        is_split_into_words: bool = False,
        **kwargs: Any,
    ) -> BatchEncoding:
        limits, wanted = self._settle(kwargs)
        batched = inputs.is_batch(text, is_split_into_words) if batched is None else batched
        firsts, seconds = inputs.aligned(text, pair, batched)
        encoded = self._encoder.encode([*firsts, *(seconds or ())], is_split_into_words)
        closing = self._closing(wanted.specials)
        rows: list[Row] = []
        for sample, first in enumerate(encoded[: len(firsts)]):
            second = None if seconds is None else encoded[len(firsts) + sample]
            rows += rows_of(sample, first, second, limits, closing, wanted.overflow)
        self._warn_if_long(rows, limits, wanted)
        table, encodings = columns(rows, limits, closing, wanted)
        if not batched and not wanted.overflow and wanted.tensors is None:
            return BatchEncoding({name: value[0] for name, value in table.items()}, encodings)
        return BatchEncoding(table, encodings, wanted.tensors)

    @property
    def _encoder(self) -> TextEncoder:
        return TextEncoder(self._added, self.newline, self._cutter, self._token_id, self._tokens_of)

    def _settle(self, options: dict[str, Any]) -> tuple[Limits, Wanted]:
        defaults = Limits(padding_side=self.padding_side, truncation_side=self.truncation_side)
        return settle(options, defaults, self.model_max_length, self._say_once)

    def _warn_if_long(self, rows: Sequence[Row], limits: Limits, wanted: Wanted) -> None:
        longest = max((len(row.ids) for row in rows), default=0)
        if limits.max_length is None and wanted.verbose and longest > self.model_max_length > 0:
            self._say_once(
                f"Token indices sequence length is longer than the specified maximum sequence length for "
                f"this model ({longest} > {self.model_max_length}). Cut it with truncation=True.",
                "long",
            )

    def _say_once(self, message: str, key: str = "") -> None:
        if (key or message) not in self._said:
            self._said.add(key or message)
            logger.warning(message)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _MADE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._engine = self._make_engine()
        self._cutter = StretchCutter(self._vocabulary, self._layout, self._engine)
        self._bulk = BulkCutter(self._cutter)

    def _make_engine(self) -> Engine:
        """The library that cuts, over this vocabulary."""
        raise NotImplementedError


def _cut_away(given: Sequence[EncodedText | None], kept: Row, limits: Limits) -> list[int]:
    """The ids that were cut from one text, with the stride before them; nothing when both texts gave."""
    for text, part in zip(given, kept.parts):
        removed = 0 if text is None or part.text is None else len(text.ids) - len(part.ids)
        if text is not None and removed and (len(given) == 1 or limits.truncation != "longest_first"):
            window = removed + limits.stride
            return text.ids[-window:] if limits.truncation_side == "right" else text.ids[:window]
    return []
