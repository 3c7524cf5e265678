"""What a tokenizer writes: every file that some reader of PEGASUS looks for, in the explicit form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pegasus.spec.files import write_whole
from pegasus.tokenization.released import MODEL_COLUMNS
from pegasus.tokenization.vocabulary.added_tokens import rules_of
from pegasus.tokenization.vocabulary.folder import (
    ADDED,
    CONFIG,
    SPECIALS,
    SPIECE,
    TOKENIZER_JSON,
    write_json,
)
from pegasus.tokenization.vocabulary.model_file import UNIGRAM
from pegasus.tokenization.vocabulary.specials import NAMED
from pegasus.tokenization.vocabulary.tokenizer_json import write_tokenizer_json

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
#: Written only where they are not what every tokenizer of PEGASUS has.
_RARE = {"chat_template": None, "split_special_tokens": False, "model_input_names": [*MODEL_COLUMNS]}
#: Arguments of the constructor that are no setting of the file, or that it has under another name.
_NOT_WRITTEN = {*NAMED, *_SETTINGS, *_RARE, "vocab_file", "tokenizer_file", "added_tokens_decoder"}
_NOT_WRITTEN |= {"max_len", "name_or_path", "verbose", "special_tokens_map_file"}


def write_folder(
    tokenizer: TokenizerBase, folder: Path, prefix: str, legacy: bool | None
) -> tuple[str, ...]:
    """Write all files, each whole, or (``legacy``) only one of the two forms of the vocabulary.

    Returns:
        Their paths; that of ``tokenizer.json`` only where the class is named after its library.
    """
    written: list[str] = []

    def note(name: str, content: Any, indent: int | None = 2) -> None:
        write_json(folder / (prefix + name), content, indent)
        written.append(str(folder / (prefix + name)))

    note(CONFIG, config_of(tokenizer))
    note(SPECIALS, tokenizer.special_tokens_map)
    if legacy is not False:
        written.append(write_vocabulary(tokenizer, folder, prefix))
    later = {text: n for text, n in tokenizer.added_tokens_encoder.items() if n >= tokenizer.vocab_size}
    if later and legacy is not False:
        note(ADDED, later)
    else:  # those of an earlier save are gone
        (folder / (prefix + ADDED)).unlink(missing_ok=True)
    if not legacy and tokenizer._vocabulary.table.model_type == UNIGRAM:
        note(TOKENIZER_JSON, tokenizer_json_of(tokenizer), indent=None)
        if not tokenizer.is_fast and legacy is None:
            written.pop()  # callers compare the list with transformers', whose slow class lacks that file
    return tuple(written)


def write_vocabulary(tokenizer: TokenizerBase, folder: Path, prefix: str) -> str:
    """Write the ``spiece.model`` as it was read, or as it was rebuilt; returns its path."""
    path = folder / (prefix + SPIECE)
    write_whole(path, tokenizer._vocabulary.model)
    return str(path)


def config_of(tokenizer: TokenizerBase) -> dict[str, Any]:
    """The content of ``tokenizer_config.json``: what was given and not understood stands first."""
    added = {str(number): rules_of(token) for number, token in tokenizer.added_tokens_decoder.items()}
    others = {name: value for name, value in tokenizer.init_kwargs.items() if name not in _NOT_WRITTEN}
    rare = {name: getattr(tokenizer, name) for name in _RARE}
    return {
        **tokenizer.convert_added_tokens(others),
        "added_tokens_decoder": added,
        **dict(sorted(tokenizer._named.items())),
        **{name: getattr(tokenizer, name) for name in _SETTINGS},
        **{name: value for name, value in rare.items() if value != _RARE[name]},
        "tokenizer_class": "PegasusTokenizer",
    }


def tokenizer_json_of(tokenizer: TokenizerBase) -> dict[str, Any]:
    """The content of ``tokenizer.json``."""
    return write_tokenizer_json(tokenizer._vocabulary, tokenizer._layout, tokenizer.added_tokens_decoder)
