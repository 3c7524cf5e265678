"""A vocabulary learnt anew for a pipeline that is there: the same reserved ids, other pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.trainers import UnigramTrainer

from pegasus.errors import BadSetting
from pegasus.tokenization.vocabulary.added_tokens import rules_of
from pegasus.tokenization.vocabulary.layout import Layout

if TYPE_CHECKING:
    from pegasus.tokenization.base import TokenizerBase

#: Settings of a tokenizer that belong to the vocabulary it was made with, and not to the next one.
FROM_VOCABULARY = ("vocab_file", "tokenizer_file", "added_tokens_decoder")


def learn_unigram(
    pipeline: Mapping[str, Any],
    layout: Layout,
    texts: Iterable[str] | Iterable[list[str]],
    vocab_size: int,
    options: Mapping[str, Any],
) -> Tokenizer:
    """Learn the pieces of a unigram model with the tokenizers library.

    Args:
        pipeline: the content of a ``tokenizer.json``, whose normalization and cutting into words stay.
        layout: the ids that come first.
        texts: texts, or lists of texts.
        vocab_size: how many ids are wanted, reserved ones included.
        options: more keywords of ``UnigramTrainer``.
    """
    unk = layout.unk_token
    model = {"type": "Unigram", "unk_id": 0, "vocab": [(unk, 0.0)]}
    bare = {**pipeline, "added_tokens": [], "post_processor": None, "model": model}
    tokenizer = Tokenizer.from_str(json.dumps(bare))
    reserved = [AddedToken(text, special=True, normalized=False) for text in layout.reserved.values()]
    settings = {"show_progress": False, "unk_token": unk, **options}
    trainer = UnigramTrainer(vocab_size=vocab_size, special_tokens=reserved, **settings)
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return tokenizer


def renamed_tokens(tokenizer: TokenizerBase, names: Mapping[str, str]) -> dict[str, Any]:
    """The special tokens of a tokenizer as arguments for another one, some under new names.

    Args:
        tokenizer: whose they are.
        names: special token → its new name.

    Raises:
        BadSetting: for a token that cannot have another name.
    """
    rules = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
    named = tokenizer._named
    reserved = set(tokenizer._layout.reserved.values())
    if odd := names.keys() & reserved - set(named.values()):
        raise BadSetting(
            f"{', '.join(sorted(odd))}: reserved ids keep their names. Rename only named tokens."
        )
    own = [text for text in tokenizer.additional_special_tokens or () if text not in reserved]
    return {
        **{name: _renamed(rules[text], names) for name, text in named.items()},
        "additional_special_tokens": [_renamed(rules[text], names) for text in own] or None,
    }


def _renamed(token: AddedToken, names: Mapping[str, str]) -> AddedToken:
    return AddedToken(**{**rules_of(token), "content": names.get(token.content, token.content)})
