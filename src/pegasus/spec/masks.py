"""Who may look at whom. Operators only, so that any array library can be passed in.

A mask is boolean, True where looking is allowed, and broadcasts to [B, H, T, S] (T queries, S keys).
"""

from __future__ import annotations

from typing import Any


def causal(queries_T: Any, keys_S: Any) -> Any:
    """A query may see the keys at its own position and before.

    Args:
        queries_T: integer positions of the queries [T].
        keys_S: integer positions of the keys [S].

    Returns:
        Booleans [1, 1, T, S].
    """
    return keys_S[None, None, None, :] <= queries_T[None, None, :, None]


def padding(attention_mask_BS: Any) -> Any:
    """Nobody may see padding.

    Args:
        attention_mask_BS: 1 (or True) for a token, 0 for padding [B, S].

    Returns:
        Booleans [B, 1, 1, S].
    """
    return attention_mask_BS[:, None, None, :] != 0


def both(one: Any, other: Any) -> Any:
    """Allowed where both allow it; either may be None, which allows everything."""
    if one is None:
        return other
    return one if other is None else one & other
