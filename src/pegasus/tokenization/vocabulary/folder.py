"""A tokenizer's files: what is in a folder, in either of the hub's forms, and how one is written."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pegasus.errors import CheckpointNotFound
from pegasus.spec.files import read_object, write_whole
from pegasus.tokenization.vocabulary import fields
from pegasus.tokenization.vocabulary.fields import check_fields

logger = logging.getLogger(__name__)

SPIECE, TOKENIZER_JSON = "spiece.model", "tokenizer.json"
CONFIG, SPECIALS, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"

#: Written by others about where a file came from; of no use elsewhere.
_ABOUT_FILES = (
    "special_tokens_map_file",
    "full_tokenizer_file",
    "vocab_file",
    "tokenizer_file",
    "tokenizer_class",
    "from_slow",
    "backend",
    "is_local",
    "local_files_only",
    "extra_special_tokens",
    "added_tokens_map",
)

#: Keywords that callers of transformers give to find a class or a file; here both are found.
_NOTES = ("config", "use_fast", "tokenizer_type", "trust_remote_code", "_from_auto", "_commit_hash")


def read_settings(folder: Path) -> dict[str, Any]:
    """The constructor arguments that a folder's files state.

    Both forms of the hub are read: the short one (a maximum length and two empty file names) and the
    explicit one with every special token. A truncation length inside ``tokenizer.json`` belongs to the
    run that saved it and is left out.

    Raises:
        CheckpointNotFound: when there is neither spiece.model nor tokenizer.json.
        CheckpointCorrupt: when a file is no JSON.
    """
    settings, specials = read_json(folder / CONFIG), read_json(folder / SPECIALS)
    check_fields(folder / CONFIG, settings)
    check_fields(folder / SPECIALS, specials)
    settings = {**specials, **settings}
    settings = {name: _plain(name, value) for name, value in settings.items() if name not in _ABOUT_FILES}
    settings["added_tokens_decoder"] = _added_tokens(folder, settings)
    files = {"vocab_file": folder / SPIECE, "tokenizer_file": folder / TOKENIZER_JSON}
    present = {name: str(path) for name, path in files.items() if path.is_file()}
    if not present:
        raise CheckpointNotFound(
            f"{folder} holds neither {SPIECE} nor {TOKENIZER_JSON}. "
            "Copy one of them there; either suffices for both tokenizers."
        )
    return {**settings, **present}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no such file.

    Raises:
        CheckpointCorrupt: when it is no JSON object.
    """
    if not path.is_file():
        return {}
    return read_object(path)


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Write a JSON file whole: beside its place first, then renamed into it."""
    write_whole(path, (json.dumps(content, ensure_ascii=False, indent=indent) + "\n").encode("utf-8"))


def _plain(name: str, value: Any) -> Any:
    """Named special tokens as text, unless a file states a rule that a text does not have."""
    if (name.endswith("_token") or name == "mask_token_sent") and isinstance(value, Mapping):
        swallows = bool(value.get("lstrip")), bool(value.get("rstrip"))
        ruled = (any(swallows) and not all(swallows)) or value.get("single_word")
        return {key: item for key, item in value.items() if key != "__type"} if ruled else value["content"]
    return value


def settings_of_file(name: str) -> dict[str, Any]:
    """The constructor argument for a single vocabulary file."""
    warnings.warn(
        f"A tokenizer is loaded from a folder; of {name} nothing but the vocabulary is known. "
        "Give the folder it is in.", FutureWarning, stacklevel=4,
    )  # fmt: skip
    return {"tokenizer_file" if name.endswith(".json") else "vocab_file": name}


def without_notes(options: dict[str, Any]) -> dict[str, Any]:
    """The keywords of ``from_pretrained`` without those that say nothing to a tokenizer."""
    return {name: value for name, value in options.items() if name not in _NOTES}


def _added_tokens(folder: Path, settings: dict[str, Any]) -> dict[int, Any]:
    """Tokens added after training, from the newest of the three places that may list them."""
    if listed := settings.pop("added_tokens_decoder", None):
        return {int(number): token for number, token in listed.items()}
    if listed := read_json(folder / ADDED):
        check_fields(folder / ADDED, {"it": listed}, {"it": fields.ADDED})
        special = {_text(token) for token in settings.get("additional_special_tokens") or ()}
        return {
            int(number): {"content": text, "special": text in special, "normalized": text not in special}
            for text, number in listed.items()
        }
    listed = _listed(folder / TOKENIZER_JSON)
    check_fields(folder / TOKENIZER_JSON, {"added_tokens": listed}, {"added_tokens": fields.LISTED})
    return {int(token["id"]): token for token in listed}


def _listed(path: Path) -> Any:
    """The added tokens in a ``tokenizer.json``, without reading the much longer vocabulary in it."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    places = [*re.finditer(r'"added_tokens"\s*:\s*(?=\[)', text)]
    if len(places) == 1 and text.rstrip().endswith("}"):
        try:
            return json.JSONDecoder().raw_decode(text, places[0].end())[0]
        except (ValueError, RecursionError):
            pass  # told by who reads all of it
    return read_json(path).get("added_tokens") or []


def _text(token: Any) -> str:
    return str(token["content"] if isinstance(token, Mapping) else token)
