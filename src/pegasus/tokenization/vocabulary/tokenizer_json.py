"""The file of the ``tokenizers`` library, written in the form in which PEGASUS was released."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken

from pegasus.errors import NotOffered
from pegasus.tokenization.vocabulary.added_tokens import rules_of
from pegasus.tokenization.vocabulary.layout import SPACE, Layout, Vocabulary
from pegasus.tokenization.vocabulary.model_file import UNIGRAM

#: The score under which the released file lists the reserved names: never chosen.
_NEVER = -100.0


def write_tokenizer_json(
    vocabulary: Vocabulary, layout: Layout, added: Mapping[int, AddedToken]
) -> dict[str, Any]:
    """The content of ``tokenizer.json``: no truncation, no padding, the model's own normalization.

    Raises:
        NotOffered: for models that are not unigram ones.
    """
    table = vocabulary.table
    if table.model_type != UNIGRAM:
        raise NotOffered(
            "tokenizer.json is written for unigram vocabularies only, and this sentencepiece model is of "
            f"kind {table.model_type}. Use PegasusTokenizer with its spiece.model."
        )
    # Both keys: `add_prefix_space` for the library before 0.19, `prepend_scheme` for later versions.
    metaspace = {
        "type": "Metaspace",
        "replacement": SPACE,
        "add_prefix_space": True,
        "prepend_scheme": "always",
    }
    eos = layout.eos_token
    closing = {"SpecialToken": {"id": eos, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, **rules_of(token)} for number, token in sorted(added.items())],
        "normalizer": _normalizer(table.charsmap),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, closing],
            "pair": [first, second, closing],
            "special_tokens": {eos: {"id": eos, "ids": [1], "tokens": [eos]}},
        },
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": layout.unk_id,
            "vocab": _rows(vocabulary, layout),
            "byte_fallback": table.byte_fallback,
        },
    }


def _normalizer(charsmap: bytes) -> dict[str, Any]:
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    if not charsmap:
        return {"type": "Sequence", "normalizers": [spaces]}
    text = base64.b64encode(charsmap).decode("ascii")
    precompiled = {"type": "Precompiled", "precompiled_charsmap": text}
    return {"type": "Sequence", "normalizers": [precompiled, spaces]}


def _rows(vocabulary: Vocabulary, layout: Layout) -> list[tuple[str, float]]:
    """Every id's token and score; the released file gives names nobody may choose a very low one."""
    table = vocabulary.table
    named = {
        layout.pad_token,
        layout.eos_token,
        layout.mask_token,
        layout.mask_token_sent,
        layout.unk_token,
    }
    reserved = [(text, 0.0 if text in named else _NEVER) for text in layout.reserved.values()]
    return [*reserved, *zip(table.pieces[3:], table.scores[3:])]
