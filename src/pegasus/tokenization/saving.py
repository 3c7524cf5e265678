"""What a tokenizer writes: every file that some reader of PEGASUS looks for, in the explicit form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pegasus.spec.files import write_whole
from pegasus.tokenization.folder import (
    ADDED,
    CONFIG,
    SPECIALS,
    SPIECE,
    TOKENIZER_JSON,
    write_json,
)
from pegasus.tokenization.model_file import UNIGRAM
from pegasus.tokenization.specials import rules_of
from pegasus.tokenization.tokenizer_json import write_tokenizer_json

if TYPE_CHECKING:
    from pegasus.tokenization.base import TokenizerBase

_SETTINGS = (
    "additional_special_tokens",
    "clean_up_tokenization_spaces",
    "mask_token_sent",
    "model_max_length",
    "newline",
    "offset",
    "padding_side",
    "sp_model_kwargs",
    "truncation_side",
)


def write_folder(tokenizer: TokenizerBase, folder: Path, prefix: str) -> tuple[str, ...]:
    """Write all files, each whole; returns their paths."""
    added = tokenizer.added_tokens_encoder
    later = {text: number for text, number in added.items() if number >= tokenizer.vocab_size}
    contents = {CONFIG: config_of(tokenizer), SPECIALS: tokenizer.special_tokens_map, ADDED: later}
    if not later:  # those of an earlier save are gone
        del contents[ADDED]
        (folder / (prefix + ADDED)).unlink(missing_ok=True)
    written = [write_vocabulary(tokenizer, folder, prefix)]
    for name, content in contents.items():
        write_json(folder / (prefix + name), content)
        written.append(str(folder / (prefix + name)))
    if tokenizer._vocabulary.table.model_type == UNIGRAM:
        write_json(folder / (prefix + TOKENIZER_JSON), tokenizer_json_of(tokenizer), indent=None)
        written.append(str(folder / (prefix + TOKENIZER_JSON)))
    return tuple(written)


def write_vocabulary(tokenizer: TokenizerBase, folder: Path, prefix: str) -> str:
    """Write the ``spiece.model`` as it was read, or as it was rebuilt; returns its path."""
    path = folder / (prefix + SPIECE)
    write_whole(path, tokenizer._vocabulary.model)
    return str(path)


def config_of(tokenizer: TokenizerBase) -> dict[str, Any]:
    """The content of ``tokenizer_config.json``: what was read and not understood stands first."""
    added = {str(number): rules_of(token) for number, token in tokenizer.added_tokens_decoder.items()}
    return {
        **tokenizer.init_kwargs,
        "added_tokens_decoder": added,
        **dict(sorted(tokenizer._named.items())),
        **{name: getattr(tokenizer, name) for name in _SETTINGS},
        "tokenizer_class": "PegasusTokenizer",
    }


def tokenizer_json_of(tokenizer: TokenizerBase) -> dict[str, Any]:
    """The content of ``tokenizer.json``."""
    return write_tokenizer_json(tokenizer._vocabulary, tokenizer._layout, tokenizer.added_tokens_decoder)
