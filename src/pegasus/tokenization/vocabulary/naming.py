"""The names and rules of tokens when a tokenizer is made: from layout, files and caller."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken

from pegasus.tokenization.vocabulary.added_tokens import AddedTokens, as_token, has_own_rules, rules_of
from pegasus.tokenization.vocabulary.layout import Layout
from pegasus.tokenization.vocabulary.specials import SpecialTokens

logger = logging.getLogger(__name__)
_SHIFTED = re.compile(r"<unk_\d+>")
_LAID_OUT = ("unk_token", "pad_token", "eos_token", "mask_token", "mask_token_sent")


class TokenNames(SpecialTokens):
    """Special tokens as a new tokenizer gets them."""

    name_or_path: str
    _layout: Layout

    @property
    def vocab_size(self) -> int:
        """Ids of the vocabulary proper."""
        raise NotImplementedError

    def _name_tokens(
        self, names: Mapping[str, Any], settings: dict[str, Any], additional: Sequence[Any] | None
    ) -> None:
        layout = self._layout
        self._added = AddedTokens.reserved(layout)
        self._named = {name: text for name in _LAID_OUT if (text := getattr(layout, name)) is not None}
        named = set(self._named.values()) - {layout.mask_token_sent}
        self._additional = [text for text in layout.reserved.values() if text not in named]
        for number, token in sorted((settings.pop("added_tokens_decoder", None) or {}).items()):
            self._restore(int(number), token)
        if layout.mask_token is not None and layout.mask_token not in self._added.ids:
            self._name("mask_token", layout.mask_token)  # the vocabulary may have a piece for it
        for name in _LAID_OUT:
            if has_own_rules(names[name]):
                self._add(names[name], special=True)
        for name in ("bos_token", "sep_token", "cls_token"):
            if (token := settings.pop(name, None)) is not None:
                self._name(name, token)
        if additional is not None:
            if isinstance(additional, list | tuple):  # else refused below
                additional = [token for token in additional if not self._is_misplaced(token)]
            self._set_additional(additional, replace=False)

    def _restore(self, number: int, token: Any) -> None:
        """Take over a token that a file lists, unless it says nothing new about the vocabulary."""
        token = as_token(token, special=False)
        if number < self._layout.unk_id + 1:
            self._restore_rules(number, token)
            return
        if token.content in self._added.ids or self._is_misplaced(token):
            return
        if number < self.vocab_size and (
            self._piece_id(token.content) != number or not self._is_learnt(number)
        ):
            return
        self._added = self._added.with_token(number, token)
        if token.special and token.content not in self._named.values():
            self._additional = [*(self._additional or ()), token.content]

    def _restore_rules(self, number: int, token: AddedToken) -> None:
        """How a reserved token is looked for, where its file says more than "as it is written".

        Version 4.34 of transformers wrote that some of them swallow the blanks on both sides, which
        nobody had asked for.
        """
        if self._layout.reserved[number] != token.content or (token.lstrip and token.rstrip):
            return
        if token.lstrip or token.rstrip or token.single_word:
            rules = {**rules_of(token), "special": True, "normalized": False}
            self._added = self._added.with_token(number, AddedToken(**rules))

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
