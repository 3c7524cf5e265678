"""PegasusTokenizer: sentencepiece cuts the text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pegasus.errors import BadSetting, CheckpointNotFound
from pegasus.tokenization.base import TokenizerBase
from pegasus.tokenization.folder import read_json
from pegasus.tokenization.tokenizer_json import write_tokenizer_json
from pegasus.tokenization.vocabulary import OFFSET, UNK, Layout, Vocabulary


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
        named = (pad_token, eos_token, unk_token, mask_token, mask_token_sent)
        layout = Layout(offset, *(None if token is None else str(token) for token in named))  # type: ignore[arg-type]
        vocabulary = open_vocabulary(vocab_file, tokenizer_file, layout)
        super().__init__(vocabulary, layout, additional_special_tokens, sp_model_kwargs, kwargs)
        self.vocab_file = vocab_file

    @property
    def sp_model(self) -> Any:
        """The ``sentencepiece.SentencePieceProcessor``."""
        return self._processor

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_processor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._processor = self._vocabulary.processor(**self.sp_model_kwargs)

    def _cut(self, stretches: list[str]) -> list[list[int]]:
        offset = self.offset
        return [[number + offset for number in ids] for ids in self._processor.encode(stretches, out_type=int)]

    def _surfaces(self, text: str) -> list[str]:
        if self.sp_model_kwargs.get("enable_sampling"):
            raise BadSetting(
                "Text that is cut at random has no tokens or offsets to look up afterwards. "
                "Use convert_ids_to_tokens on the ids, or a tokenizer without enable_sampling."
            )
        pieces: list[str] = self._processor.encode(text, out_type=str)
        return pieces

    def _normalize(self, text: str) -> tuple[str, list[int]]:
        normalized, origins = self._processor.Normalize(text, with_offsets=True)
        return normalized, origins

    def _piece_count(self) -> int:
        return len(self._processor)

    def _piece_id(self, text: str) -> int | None:
        number = self._processor.PieceToId(text)
        return number + self.offset if number > UNK else None

    def _piece_texts(self, numbers: Iterable[int]) -> list[str]:
        places = [max(number - self.offset, 0) for number in numbers]
        texts: list[str] = self._processor.IdToPiece(places)
        return texts

    def _is_symbol(self, number: int) -> bool:
        return bool(self._processor.GetScore(number - self.offset) == 0.0)

    def _has_bytes(self) -> bool:
        return bool(self._processor.IsByte(self._processor.PieceToId("<0x41>")))

    def _tokenizer_json(self) -> dict[str, Any]:
        return write_tokenizer_json(self._vocabulary, self._layout, self.added_tokens_decoder)


def open_vocabulary(vocab_file: str | None, tokenizer_file: str | None, layout: Layout) -> Vocabulary:
    """The vocabulary from whichever file is given, the ``spiece.model`` first.

    Raises:
        BadSetting: when neither is given.
        CheckpointNotFound: when a file is not there.
    """
    if vocab_file is not None:
        return Vocabulary(model=_existing(vocab_file).read_bytes())
    if tokenizer_file is None:
        raise BadSetting("A tokenizer needs a vocabulary: give vocab_file (spiece.model) or tokenizer_file.")
    return Vocabulary.from_tokenizer_json(read_json(_existing(tokenizer_file)), layout)


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise CheckpointNotFound(f"There is no vocabulary file {name!r}. Check the path.")
    return path
