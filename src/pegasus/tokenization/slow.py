"""PegasusTokenizer: sentencepiece cuts the text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pegasus.errors import BadSetting, CheckpointNotFound
from pegasus.tokenization.base import TokenizerBase
from pegasus.tokenization.call.lengths import whole_number
from pegasus.tokenization.vocabulary.added_tokens import text_of
from pegasus.tokenization.vocabulary.folder import read_json
from pegasus.tokenization.vocabulary.layout import OFFSET, Layout, Vocabulary


class SentencePieceEngine:
    """Cuts with the sentencepiece library.

    Args:
        vocabulary: the pieces.
        offset: what is added to their ids.
        sp_model_kwargs: passed to ``sentencepiece.SentencePieceProcessor``.
    """

    def __init__(self, vocabulary: Vocabulary, offset: int, sp_model_kwargs: dict[str, Any]) -> None:
        self._vocabulary = vocabulary
        self._offset = offset
        self.samples = bool(sp_model_kwargs.get("enable_sampling"))
        self.processor = vocabulary.processor(**sp_model_kwargs)

    @property
    def is_open(self) -> bool:
        """Always."""
        return True

    def cut_words(self, words: list[str]) -> list[list[int]]:
        """The ids of normalized words."""
        return self._vocabulary.cut_words(words, self._offset)

    def cut_texts(self, texts: list[str]) -> list[list[int]]:
        """The ids of whole texts."""
        rows = self.processor.encode(texts, out_type=int)
        return [[number + self._offset for number in row] for row in rows]


class PegasusTokenizer(TokenizerBase):
    """The PEGASUS tokenizer, cut by the sentencepiece library.

    Its ids equal those of :class:`PegasusTokenizerFast` for every text; it is the faster of the two.

    Args:
        vocab_file: a ``spiece.model``; None: it is rebuilt from ``tokenizer_file``.
        pad_token: the token with id 0.
        eos_token: the token with id 1, put after every text.
        unk_token: the token for characters that the vocabulary does not know.
        mask_token: hides a word; id 3.
        mask_token_sent: hides a sentence; id 2. None: no ids are reserved for masks.
        additional_special_tokens: tokens to leave whole, beside ``<unk_2>`` … ``<unk_102>``.
        offset: what is added to sentencepiece ids; 103 leaves room for 102 reserved tokens.
        sp_model_kwargs: passed to ``sentencepiece.SentencePieceProcessor``, for example
            ``{"enable_sampling": True, "nbest_size": -1, "alpha": 0.1}`` to cut differently each time.
        tokenizer_file: a ``tokenizer.json``, read where there is no ``vocab_file``.
        kwargs: see :class:`pegasus.tokenization.base.TokenizerBase`.
    """

    def __init__(
        self,
        vocab_file: str | None = None,
        pad_token: str = "<pad>",
        eos_token: str = "</s>",
        unk_token: str = "<unk>",
        mask_token: str | None = "<mask_2>",
        mask_token_sent: str | None = "<mask_1>",
        additional_special_tokens: Sequence[Any] | None = None,
        offset: int = OFFSET,
        sp_model_kwargs: dict[str, Any] | None = None,
        tokenizer_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        stated: dict[str, Any] = {
            "vocab_file": vocab_file, "tokenizer_file": tokenizer_file, "pad_token": pad_token,
            "eos_token": eos_token, "unk_token": unk_token, "mask_token": mask_token,
            "mask_token_sent": mask_token_sent, "additional_special_tokens": additional_special_tokens,
            "offset": offset, "sp_model_kwargs": sp_model_kwargs or {},
        }  # fmt: skip
        layout = layout_of(stated)
        super().__init__(open_vocabulary(vocab_file, tokenizer_file, layout), layout, stated, kwargs)

    _engine: SentencePieceEngine

    @property
    def sp_model(self) -> Any:
        """The ``sentencepiece.SentencePieceProcessor``."""
        return self._engine.processor

    def prepare_for_tokenization(
        self, text: str, is_split_into_words: bool = False, **kwargs: Any
    ) -> tuple[str, dict[str, Any]]:
        """The text as it is, and the keywords: nothing happens to a text before it is cut."""
        return text, kwargs

    def _make_engine(self) -> SentencePieceEngine:
        return SentencePieceEngine(self._vocabulary, self.offset, self.sp_model_kwargs)


def layout_of(stated: dict[str, Any]) -> Layout:
    """The layout that the arguments of a constructor describe; a mask may be missing.

    Raises:
        BadSetting: when the offset is no number of ids, or a token that must be there is missing.
    """
    offset = whole_number(stated["offset"], "offset")
    if offset is None or offset < 0:
        raise BadSetting(f"offset={offset} is no number of reserved ids. Use 103, or 0 for none.")
    names = ("pad_token", "eos_token", "unk_token", "mask_token", "mask_token_sent")
    texts = {name: None if stated[name] is None else text_of(stated[name]) for name in names}
    for name in names[:3]:
        if texts[name] is None:
            raise BadSetting(f"{name}=None leaves an id without a name. Leave it out for the usual one.")
    return Layout(offset, **texts)  # type: ignore[arg-type]


def open_vocabulary(vocab_file: str | None, tokenizer_file: str | None, layout: Layout) -> Vocabulary:
    """The vocabulary from whichever file is given, the ``spiece.model`` first.

    Raises:
        BadSetting: when neither is given.
        CheckpointNotFound: when a file is not there.
    """
    if vocab_file is not None:
        return Vocabulary.from_model(_existing(vocab_file).read_bytes())
    if tokenizer_file is None:
        raise BadSetting(
            "A tokenizer needs a vocabulary: give vocab_file (spiece.model) or tokenizer_file."
        )
    return Vocabulary.from_tokenizer_json(read_json(_existing(tokenizer_file)), layout)


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise CheckpointNotFound(f"There is no vocabulary file {name!r}. Check the path.")
    return path
