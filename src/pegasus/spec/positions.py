"""The sinusoid table that tells the model where a token stands.

Two tables are in use and they differ. transformers divides the exponent by N = D / 2; the authors divide
by N - 1. Every checkpoint that was trained with transformers (the distilled ones, most fine-tunes) has
seen the first, the authors' own have seen the second, so the choice is a switch of the configuration
(``position_table``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from jaxtyping import Float

TABLES = ("transformers", "authors")


def sinusoid_table(
    count: int, width: int, table: str = "transformers", start: int = 0
) -> Float[np.ndarray, "count width"]:
    """Positions ``start .. start + count - 1``: the sines in the first half of a row, then the cosines.

    Args:
        count: rows, one a position. There is no largest position.
        width: D, the width of the model.
        table: ``"transformers"`` (exponent n / N) or ``"authors"`` (n / (N - 1)).
        start: the first position.

    Returns:
        A float32 array [count, width], computed in float64.

    Raises:
        BadSetting: the table has another name.
    """
    angles = np.arange(start, start + count, dtype=np.float64)[:, None] / divisors(width, table)
    return np.concatenate([np.sin(angles), np.cos(angles[:, : width // 2])], axis=1).astype(np.float32)


def divisors(width: int, table: str = "transformers") -> Float[np.ndarray, "half"]:
    """By what a position is divided to become the angle of each sine, float64.

    An odd width has one more sine than cosines, as in transformers; each cosine has the angle of its sine.

    Raises:
        BadSetting: the table has another name.
    """
    n = np.arange((width + 1) // 2, dtype=np.float64)
    if table == "transformers":
        found: np.ndarray = np.power(10000.0, 2 * n / width)
    elif table == "authors":
        found = np.exp(n * (np.log(10000.0) / max(width // 2 - 1, 1)))
    else:
        raise BadSetting(f"unknown position table {table!r}: choose one of {', '.join(TABLES)}")
    return found
