"""PegasusTokenizerFast: the tokenizers library cuts the text.

The pipeline that ``tokenizer.json`` describes differs from sentencepiece in corners: clusters of
combining characters, white space other than the blank, characters it does not know next to rare
pieces. Here sentencepiece's own normalization comes first and the unigram model is given
sentencepiece's scores, so that both tokenizers give the same ids for every text.
``backend_tokenizer`` and the saved file are the released pipeline all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import Unigram

from pegasus.errors import NotOffered
from pegasus.tokenization.base import TokenizerBase
from pegasus.tokenization.slow import PegasusTokenizer, layout_of, open_vocabulary
from pegasus.tokenization.vocabulary.layout import OFFSET, SPACE, Layout, Vocabulary
from pegasus.tokenization.vocabulary.model_file import UNIGRAM
from pegasus.tokenization.vocabulary.retraining import FROM_VOCABULARY, learn_unigram, renamed_tokens
from pegasus.tokenization.vocabulary.saving import tokenizer_json_of

#: Before names that no text may match: normalized text has never two space markers in a row.
_NOBODY = f"\U0010ffff{SPACE}{SPACE}"


class TokenizersEngine:
    """Cuts with the ``tokenizers`` library.

    Args:
        vocabulary: the pieces.
        layout: the ids that are not pieces.

    Raises:
        NotOffered: when the vocabulary is no unigram model.
    """

    samples = False

    def __init__(self, vocabulary: Vocabulary, layout: Layout) -> None:
        table = vocabulary.table
        if table.model_type != UNIGRAM:
            raise NotOffered(
                "PegasusTokenizerFast reads unigram vocabularies, and this sentencepiece model is of kind "
                f"{table.model_type}. Use PegasusTokenizer."
            )
        self._vocabulary = vocabulary
        self._layout = layout

    @property
    def is_open(self) -> bool:
        """Whether a word was given to the library already."""
        return "_tokenizer" in self.__dict__

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        table, layout = self._vocabulary.table, self._layout
        # What sentencepiece never chooses gets a name that no text has.
        rows = [(f"{_NOBODY}{number}", 0.0) for number in range(len(table.pieces) + layout.offset)]
        for text, (number, score) in self._vocabulary.scored(layout.offset).items():
            rows[number] = (text, score)
        return Tokenizer(Unigram(rows, layout.unk_id, table.byte_fallback))

    def cut_words(self, words: list[str]) -> list[list[int]]:
        """The ids of normalized words."""
        return [found.ids for found in self._tokenizer.encode_batch(words, add_special_tokens=False)]

    def cut_texts(self, texts: list[str]) -> list[list[int]]:
        """The ids of whole texts."""
        return self.cut_words(self._vocabulary.normalizer.Normalize(texts))


class PegasusTokenizerFast(TokenizerBase):
    """The PEGASUS tokenizer, cut by the ``tokenizers`` library.

    Its ids equal those of :class:`PegasusTokenizer` for every text.

    Args:
        vocab_file: a ``spiece.model``; None: the vocabulary is read from ``tokenizer_file``.
        tokenizer_file: a ``tokenizer.json``; where both are given the ``spiece.model`` counts.
        pad_token: the token with id 0.
        eos_token: the token with id 1, put after every text.
        unk_token: the token for characters that the vocabulary does not know.
        mask_token: hides a word; id 3.
        mask_token_sent: hides a sentence; id 2. None: no ids are reserved for masks.
        additional_special_tokens: tokens to leave whole, beside ``<unk_2>`` … ``<unk_102>``.
        offset: what is added to sentencepiece ids; 103 leaves room for 102 reserved tokens.
        kwargs: see :class:`pegasus.tokenization.base.TokenizerBase`.
    """

    is_fast: ClassVar[bool] = True
    slow_tokenizer_class: ClassVar[type[PegasusTokenizer]] = PegasusTokenizer

    def __init__(
        self,
        vocab_file: str | None = None,
        tokenizer_file: str | None = None,
        pad_token: str = "<pad>",
        eos_token: str = "</s>",
        unk_token: str = "<unk>",
        mask_token: str | None = "<mask_2>",
        mask_token_sent: str | None = "<mask_1>",
        additional_special_tokens: Sequence[Any] | None = None,
        offset: int = OFFSET,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("from_slow", None)  # both files say the same
        stated: dict[str, Any] = {
            "vocab_file": vocab_file, "tokenizer_file": tokenizer_file, "pad_token": pad_token,
            "eos_token": eos_token, "unk_token": unk_token, "mask_token": mask_token,
            "mask_token_sent": mask_token_sent, "additional_special_tokens": additional_special_tokens,
            "offset": offset, "sp_model_kwargs": kwargs.pop("sp_model_kwargs", None) or {},
        }  # fmt: skip
        if stated["sp_model_kwargs"].get("enable_sampling"):
            raise NotOffered("The tokenizers library does not cut at random here. Use PegasusTokenizer.")
        layout = layout_of(stated)
        pipeline = kwargs.pop("tokenizer_object", None)
        if pipeline is not None:
            vocabulary = Vocabulary.from_tokenizer_json(json.loads(pipeline.to_str()), layout)
        else:
            vocabulary = open_vocabulary(vocab_file, tokenizer_file, layout)
        super().__init__(vocabulary, layout, stated, kwargs)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The released pipeline of this vocabulary as a ``tokenizers.Tokenizer``, a fresh one each time."""
        return Tokenizer.from_str(json.dumps(tokenizer_json_of(self)))

    @property
    def decoder(self) -> Any:
        """The part of :attr:`backend_tokenizer` that turns tokens into text."""
        return self.backend_tokenizer.decoder

    @property
    def can_save_slow_tokenizer(self) -> bool:
        """Always: a ``spiece.model`` is rebuilt where there was none."""
        return True

    def set_truncation_and_padding(self, *args: Any, **kwargs: Any) -> None:
        """Refused: lengths belong to a call here, and no call changes what the next one does.

        Raises:
            NotOffered: always.
        """
        raise NotOffered("A tokenizer keeps no lengths. Give truncation, padding and max_length to a call.")

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[str] | Iterable[list[str]],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Sequence[str | AddedToken] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> PegasusTokenizerFast:
        """Learn another vocabulary for a tokenizer like this one, with the tokenizers library.

        :func:`pegasus.tokenization.train.train_vocabulary` learns one with
        sentencepiece, which is what PEGASUS was made with.

        Args:
            text_iterator: texts, or lists of texts.
            vocab_size: how many ids are wanted; the reserved ones and every letter are there in any case.
            length: how many items the iterator has; it changes nothing.
            new_special_tokens: more special tokens, with ids after the pieces.
            special_tokens_map: special token → its new name.
            kwargs: keywords of ``tokenizers.trainers.UnigramTrainer``.
        """
        stated = {name: value for name, value in self.init_kwargs.items() if name not in FROM_VOCABULARY}
        stated |= renamed_tokens(self, special_tokens_map or {})
        learnt = learn_unigram(
            tokenizer_json_of(self), layout_of(stated), text_iterator, vocab_size, kwargs
        )
        fresh = type(self)(**stated, tokenizer_object=learnt)
        fresh.add_tokens(list(new_special_tokens or ()), special_tokens=True)
        return fresh

    def _make_engine(self) -> TokenizersEngine:
        return TokenizersEngine(self._vocabulary, self._layout)
