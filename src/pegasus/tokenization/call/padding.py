"""Filling up rows that are numbers already: what a data collator does with several encodings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pegasus.errors import BadSetting
from pegasus.spec.tensors import to_tensor
from pegasus.tokenization.call.encoding import BatchEncoding
from pegasus.tokenization.call.lengths import Limits, padded_length

Encoded = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def pad_columns(
    encoded: Encoded, limits: Limits, fillings: Mapping[str, int], attention: bool, tensors: str | None
) -> BatchEncoding:
    """Fill up every column that has one number per token.

    Args:
        encoded: one encoding, a batch, or a list of single encodings; lists, arrays or tensors.
        limits: to what length and on which side.
        fillings: column → the number it is filled with, that of the ids first; others stay as they are.
        attention: add an attention mask where there is none.
        tensors: the kind of tensor to make; None: the kind that came in.

    Raises:
        BadSetting: when there are no ids, or another number of rows than of something else.
    """
    table, main = _as_columns(encoded), next(iter(fillings))
    if main not in table:
        raise BadSetting(f"pad() needs {main!r}, found {', '.join(table) or 'nothing'}.")
    tensors = tensors or _kind(table[main])
    plain = {name: _plain(value) for name, value in table.items()}
    single = bool(plain[main]) and not isinstance(plain[main][0], list)
    rows = {name: [value] for name, value in plain.items()} if single else plain
    for name, value in rows.items():
        if not isinstance(value, list) or len(value) != len(rows[main]):
            raise BadSetting(
                f"{name!r} does not have {len(rows[main])} rows, as {main!r} has. Give it as many."
            )
    if attention and "attention_mask" not in rows:
        rows["attention_mask"] = [[1] * len(ids) for ids in rows[main]]
    filled = _fill(rows, main, limits, fillings)
    result = {name: value[0] for name, value in filled.items()} if single else filled
    return BatchEncoding({k: to_tensor(v, tensors, k) if tensors else v for k, v in result.items()})


def _fill(rows: dict[str, list], main: str, limits: Limits, fillings: Mapping[str, int]) -> dict[str, list]:
    lengths = [len(ids) for ids in rows[main]]
    width = padded_length(max(lengths, default=0), limits)
    missing = [width - length if limits.padding != "do_not_pad" else 0 for length in lengths]
    filled = dict(rows)
    for name in fillings.keys() & rows.keys():
        blanks = [[fillings[name]] * count for count in missing]
        right = limits.padding_side == "right"
        filled[name] = [own + blank if right else blank + own for own, blank in zip(rows[name], blanks)]
    return filled


def _as_columns(encoded: Encoded) -> dict[str, Any]:
    if isinstance(encoded, Mapping):
        return dict(encoded)
    if isinstance(encoded, BatchEncoding):
        return dict(encoded.data)
    return {name: [row[name] for row in encoded] for name in encoded[0]} if encoded else {}


def _plain(value: Any) -> Any:
    """Lists of numbers, whatever held them before."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "numpy") and not hasattr(value, "tolist"):  # TensorFlow
        value = value.numpy()
    return value.tolist() if hasattr(value, "tolist") else value


def _kind(value: Any) -> str | None:
    """Which framework's tensor this is, told without importing any."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    owner = type(value).__module__.partition(".")[0]
    return {"torch": "pt", "numpy": "np", "tensorflow": "tf", "jax": "jax", "jaxlib": "jax"}.get(owner)
