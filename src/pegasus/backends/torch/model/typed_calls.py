"""The type of calling a model: the arguments of its ``forward``, and the record that it gives as a rule.

``nn.Module`` says of a call only that it takes and gives anything, so a checker would find no mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def as_record(
    forward: Callable[Concatenate[Any, P], R | tuple[Any, ...]],
) -> Callable[[Callable[..., Any]], Callable[Concatenate[Any, P], R]]:
    """Gives ``__call__`` the type of ``forward``, without the tuple of ``return_dict=False``."""

    def typed(call: Callable[..., Any]) -> Callable[Concatenate[Any, P], R]:
        return call

    return typed
