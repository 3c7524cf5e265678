"""What both tokenizers do alike: call, cut, pad, load, save. They differ only in who cuts ordinary text."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pegasus.errors import BadSetting, CheckpointNotFound
from pegasus.hub import TOKENIZER_FILES, HubOptions, locate, push
from pegasus.tokenization.call import inputs, lengths
from pegasus.tokenization.call.calling import Calling
from pegasus.tokenization.call.chat import ChatTemplates
from pegasus.tokenization.call.deprecated import DeprecatedCalls
from pegasus.tokenization.call.encoding import BatchEncoding, EncodedText, Encoding
from pegasus.tokenization.call.lengths import Limits, Side
from pegasus.tokenization.call.preparing import LOST, IdPreparation, cut_away, refuse_pairs
from pegasus.tokenization.call.request import Defaults, Wanted, refuse_unknown, settle
from pegasus.tokenization.call.rows import Row, columns, rows_of
from pegasus.tokenization.released import MODEL_COLUMNS, Released
from pegasus.tokenization.segmentation.bulk import BulkCutter, BulkEncoding
from pegasus.tokenization.segmentation.cutting import Engine, StretchCutter, TextEncoder
from pegasus.tokenization.segmentation.newline import Newline, check_newline
from pegasus.tokenization.vocabulary.folder import read_settings, settings_of_file, without_notes
from pegasus.tokenization.vocabulary.layout import NEWLINE_PIECE, Layout, Vocabulary
from pegasus.tokenization.vocabulary.naming import TokenNames
from pegasus.tokenization.vocabulary.saving import write_folder, write_vocabulary
from pegasus.tokenization.vocabulary.table import TokenTable

logger = logging.getLogger(__name__)
_MADE = ("_engine", "_cutter", "_bulk")  # what cannot be copied


class TokenizerBase(
    Calling, TokenTable, TokenNames, BulkEncoding, IdPreparation, DeprecatedCalls, ChatTemplates, Released
):
    """Text ↔ ids of PEGASUS; the classes to use are PegasusTokenizer and PegasusTokenizerFast.

    Args:
        vocabulary: the pieces.
        layout: the ids that are not pieces, by name.
        stated: the named arguments of the constructor, as they were given: the vocabulary's files, the
            tokens that the layout names, with their rules if they have some,
            ``additional_special_tokens`` (those that are not reserved get ids after the pieces) and
            ``sp_model_kwargs``, which are passed to ``sentencepiece.SentencePieceProcessor``.
        settings: ``model_max_length``, ``padding_side``, ``truncation_side``, ``newline``,
            ``clean_up_tokenization_spaces``, ``split_special_tokens``, ``model_input_names``,
            ``chat_template``, ``added_tokens_decoder``, ``bos_token``, ``sep_token``, ``cls_token``;
            anything else is kept in ``init_kwargs`` and written back on save.
    """

    model_input_names: list[str] = [*MODEL_COLUMNS]  # noqa: RUF012
    padding_side: Side = "right"
    truncation_side: Side = "right"
    is_fast: ClassVar[bool] = False
    slow_tokenizer_class: ClassVar[type[TokenizerBase] | None] = None

    def __init__(
        self, vocabulary: Vocabulary, layout: Layout, stated: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        self.init_inputs: tuple[Any, ...] = ()
        self.init_kwargs: dict[str, Any] = copy.deepcopy({**settings, **stated})
        self._vocabulary, self._layout, self.offset = vocabulary, layout, layout.offset
        self.vocab_file: str | None = stated["vocab_file"]
        self.sp_model_kwargs: dict[str, Any] = dict(stated["sp_model_kwargs"] or {})
        self.deprecation_warnings: dict[str, bool] = {}
        self._open()
        self._take_settings(settings)
        self._name_tokens(stated, settings, stated["additional_special_tokens"])
        self.init_kwargs["additional_special_tokens"] = self.additional_special_tokens
        self.newline = settings.pop("newline", None) or "drop"

    def _take_settings(self, settings: dict[str, Any]) -> None:
        limit = settings.pop("model_max_length", settings.pop("max_len", None))
        self.model_max_length = lengths.UNLIMITED if limit is None else int(limit)
        for name in ("padding_side", "truncation_side"):
            setattr(self, name, lengths.settle_side(settings.pop(name, getattr(self, name)), name))
        tidy = settings.pop("clean_up_tokenization_spaces", None)
        self.clean_up_tokenization_spaces = True if tidy is None else bool(tidy)
        self.name_or_path = str(settings.pop("name_or_path", "") or "")
        self.split_special_tokens = bool(settings.pop("split_special_tokens", False))
        self.model_input_names = list(settings.pop("model_input_names", None) or self.model_input_names)
        self.chat_template = settings.pop("chat_template", None)
        self.verbose = bool(settings.pop("verbose", True))

    def __repr__(self) -> str:
        shown = {
            "name_or_path": self.name_or_path,
            "vocab_size": self.vocab_size,
            "model_max_length": self.model_max_length,
            "is_fast": self.is_fast,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            "special_tokens": self.special_tokens_map,
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
        }
        values = ", ".join(f"{name}={value!r}" for name, value in shown.items())
        added = "".join(f"\n\t{number}: {token!r}," for number, token in self.added_tokens_decoder.items())
        return f"{type(self).__name__}({values}),  added_tokens_decoder={{{added}\n}}"

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
        options, kwargs = HubOptions.take(kwargs), without_notes(kwargs)
        if os.path.isfile(name):
            return cls(**{**settings_of_file(name), "name_or_path": name, **kwargs})
        place = locate(name, options, patterns=TOKENIZER_FILES)
        return cls(**{**read_settings(place), "name_or_path": name, **kwargs})

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Write every file that readers of PEGASUS look for, in the explicit form.

        ``tokenizer_config.json``, ``special_tokens_map.json``, ``spiece.model``, where tokens were added
        ``added_tokens.json``, and ``tokenizer.json`` (for unigram vocabularies).

        Args:
            save_directory: the folder, made when it is not there.
            legacy_format: True leaves ``tokenizer.json`` out, False writes of the vocabulary nothing else.
            filename_prefix: put before every file name, with a hyphen.
            push_to_hub: whether to upload the folder then, to ``repo_id`` or under its own name.
            kwargs: keywords of :func:`pegasus.hub.push`.

        Returns:
            The paths of the files.

        Raises:
            BadSetting: when the folder is a file.
        """
        target = Path(save_directory)
        if target.is_file():
            raise BadSetting(f"{target} is a file, and a tokenizer is saved as a folder. Give another.")
        repository = kwargs.pop("repo_id", None) or target.name
        if not push_to_hub:
            refuse_unknown({name: value for name, value in kwargs.items() if value}, "save_pretrained")
        target.mkdir(parents=True, exist_ok=True)
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        written = write_folder(self, target, prefix, legacy_format)
        if push_to_hub:
            push(target, repository, **kwargs)
        return written

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

    def tokenize(
        self,
        text: str,
        pair: str | None = None,
        add_special_tokens: bool = False,
        split_special_tokens: bool | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Cut a text into tokens, spelled as they stand in the normalized text.

        Args:
            text: the text.
            pair: a second text, whose tokens follow.
            add_special_tokens: whether eos ends them.
            split_special_tokens: whether special tokens in the text are cut like any other text; None: as
                the attribute of that name says.
            kwargs: nothing else is taken.
        """
        refuse_unknown(kwargs, "tokenize")
        texts = [text] if pair is None else [text, pair]
        for given in texts:
            if not isinstance(given, str):
                raise TypeError(f"tokenize cuts a string, got {type(given).__name__}.")
        encoded = self._encoder(split_special_tokens).encode(texts, False)
        tokens = [token for part in encoded for token in part.details.tokens]
        return [*tokens, self._named["eos_token"]] if add_special_tokens else tokens

    def _encode(
        self,
        text: Any,
        pair: Any,
        batched: bool | None = None,
        is_split_into_words: bool = False,
        **kwargs: Any,
    ) -> BatchEncoding:
        limits, wanted = self._settle(kwargs)
        text, pair = inputs.as_lists(text), inputs.as_lists(pair)
        batched = inputs.is_batch(text, is_split_into_words) if batched is None else batched
        firsts, seconds = inputs.aligned(text, pair, batched, is_split_into_words)
        encoder = self._encoder(wanted.split_specials)
        encoded = encoder.encode([*firsts, *(seconds or ())], is_split_into_words)
        samples = [[first] for first in encoded[: len(firsts)]]
        for sample, second in zip(samples, encoded[len(firsts) :]):
            sample.append(second)
        table, encodings = self._columns(samples, limits, wanted)
        further_rows = wanted.overflow and self.is_fast
        if not batched and not further_rows and wanted.tensors is None:
            return BatchEncoding({name: value[0] for name, value in table.items()}, encodings)
        return BatchEncoding(table, encodings, wanted.tensors)

    def _columns(
        self, samples: list[list[EncodedText]], limits: Limits, wanted: Wanted
    ) -> tuple[dict[str, list], list[Encoding]]:
        """The columns of texts or pairs; of what was cut away the one class makes rows, the other lists."""
        closing = self._closing(wanted.specials)
        further_rows = wanted.overflow and self.is_fast
        rows: list[Row] = []
        for number, sample in enumerate(samples):
            second = sample[1] if len(sample) == 2 else None
            rows += rows_of(number, sample[0], second, limits, closing, further_rows)
        self._warn_if_long(rows, limits, wanted)
        table, encodings = columns(rows, limits, closing, replace(wanted, overflow=further_rows))
        if wanted.overflow and not further_rows:
            refuse_pairs(any(len(sample) == 2 for sample in samples), limits)
            lost = [cut_away(sample, row, limits, closing) for sample, row in zip(samples, rows)]
            table |= {name: [one[name] for one in lost] for name in LOST}
        return table, encodings

    def _encoder(self, split_special_tokens: bool | None = None) -> TextEncoder:
        splits = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        added = self._added.without_special if splits else self._added
        return TextEncoder(added, self.newline, self._cutter, self._token_id, self._tokens_of)

    def _settle(self, options: dict[str, Any]) -> tuple[Limits, Wanted]:
        sides = Limits(padding_side=self.padding_side, truncation_side=self.truncation_side)
        defaults = Defaults(sides, self.model_max_length, self.model_input_names)
        limits, wanted = settle(options, defaults, self._say_once)
        if limits.padding != "do_not_pad":
            self._id_of("pad_token")  # refused even where no row needs it
        return limits, wanted

    def _warn_if_long(self, rows: Sequence[Row], limits: Limits, wanted: Wanted) -> None:
        longest = max((len(row.ids) for row in rows), default=0)
        if limits.max_length is None and wanted.verbose and longest > self.model_max_length > 0:
            self._say_once(
                f"Token indices sequence length is longer than the specified maximum sequence length for "
                f"this model ({longest} > {self.model_max_length}). Cut it with truncation=True.",
                "long",
            )

    def _say_once(self, message: str, key: str) -> None:
        if self.verbose and not self.deprecation_warnings.get(key):
            self.deprecation_warnings[key] = True
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
