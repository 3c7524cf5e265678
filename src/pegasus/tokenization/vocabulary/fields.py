"""What the fields of a tokenizer's files may be: types and bounds, name by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pegasus.errors import CheckpointCorrupt
from pegasus.spec.kinds import FLAG, OBJECT, TEXT, Kind, listing, maybe, number, refusals, whole

_MOST_IDS = 2**24
_TOKEN = Kind(
    "a token", lambda value: TEXT.fits(value) or (OBJECT.fits(value) and TEXT.fits(value.get("content")))
)
_NAMED = (
    "pad_token",
    "eos_token",
    "unk_token",
    "mask_token",
    "mask_token_sent",
    "bos_token",
    "sep_token",
    "cls_token",
)

#: What sentencepiece itself may be told; not where its model lies.
SENTENCEPIECE: Mapping[str, Kind] = {
    **dict.fromkeys(("enable_sampling", "add_bos", "add_eos", "reverse", "emit_unk_piece"), FLAG),
    "nbest_size": whole(-1, 10**6),
    "alpha": number(0, 1e6),
    "num_threads": whole(-1, 1024),
}


def _is_told(value: Any) -> bool:
    known = OBJECT.fits(value) and value.keys() <= SENTENCEPIECE.keys()
    return known and not list(refusals(value, SENTENCEPIECE))


def _is_added(value: Any) -> bool:
    return OBJECT.fits(value) and all(
        _is_id(number) and _TOKEN.fits(token) for number, token in value.items()
    )


def _is_id(value: Any) -> bool:
    text = str(value)
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) < _MOST_IDS


SETTINGS: Mapping[str, Kind] = {
    # Files write 1e30 for "no limit". A text and its end are two tokens.
    "model_max_length": maybe(number(2, 1e31)),
    "offset": whole(0, 10**5),
    **dict.fromkeys(_NAMED, maybe(_TOKEN)),
    "additional_special_tokens": maybe(listing(_TOKEN)),
    **dict.fromkeys(("padding_side", "truncation_side"), maybe(TEXT)),
    **dict.fromkeys(("clean_up_tokenization_spaces", "split_special_tokens"), FLAG),
    "newline": maybe(TEXT),
    "sp_model_kwargs": maybe(Kind(f"an object of {', '.join(SENTENCEPIECE)}", _is_told)),
    "added_tokens_decoder": maybe(Kind("an object of ids and tokens", _is_added)),
}
ADDED = Kind(
    "an object of tokens and ids", lambda value: OBJECT.fits(value) and all(map(_is_id, value.values()))
)
LISTED = listing(
    Kind("an object with id and content", lambda value: _TOKEN.fits(value) and _is_id(value.get("id")))
)


def check_fields(path: Path, values: Mapping[str, Any], kinds: Mapping[str, Kind] = SETTINGS) -> None:
    """Refuse a file whose fields are of another kind.

    Raises:
        CheckpointCorrupt: names the first, and the file.
    """
    for problem in refusals(values, kinds):
        raise CheckpointCorrupt(f"{path}: {problem}. Put it right, or fetch the file again.")
