"""How a pass is made beside the numbers: what is drawn and returned, and who may look where."""

from __future__ import annotations

from dataclasses import dataclass

import jax


@dataclass(frozen=True)
class Mode:
    """What is done beside the plain pass; fixed when it is compiled.

    Attributes:
        train: whether dropout and layerdrop are drawn, from the random numbers named "dropout".
        attentions: whether probabilities are returned.
        hidden: whether the states of every layer are returned.
        shared_dropout: one dropout mask for all positions of a text, as the authors.
    """

    train: bool = False
    attentions: bool = False
    hidden: bool = False
    shared_dropout: bool = False


PLAIN = Mode()


@dataclass(frozen=True)
class Looks:
    """Who may look where in an attention; a pytree.

    Attributes:
        allowed: booleans that broadcast to [B, 1, T, S]. A query that may look nowhere looks everywhere.
        there: booleans [S]: places that hold something at all; None: all. Others do not exist.
    """

    allowed: jax.Array | None = None
    there: jax.Array | None = None


jax.tree_util.register_dataclass(Looks, data_fields=["allowed", "there"], meta_fields=[])
