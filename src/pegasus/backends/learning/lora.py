"""LoRA without a framework: which leaves get small matrices, of what shape, and how they are merged.

Beside a matrix W [out, in] that stays as it is two small ones learn, A [rank, in] and B [out, rank]; the
layer computes with ``W + alpha / rank · B A``. Their names, in an engine's state as in its files, are those
that the package ``peft`` gives them; LAYER is what stands before ``.weight`` in the canonical name of W::

    LAYER.base_layer.weight        W                LAYER.lora_A.summary.weight        A
    LAYER.base_layer.bias          its bias         LAYER.lora_B.summary.weight        B

A is drawn evenly from [-b, b] with ``b = 1 / sqrt(in)`` and B is zero, so that nothing changes at first.
What a run exports is the plain model, merged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from pegasus.backends.contract.learning import LoraSettings
    from pegasus.spec.parameters import Parameter

#: What the pair of matrices is called in names: peft wants a name for each pair that a layer has.
ADAPTER = "summary"
_BASE = ".base_layer."
Array = TypeVar("Array")


def side_name(layer: str, side: str) -> str:
    """The name of one of the small matrices.

    Args:
        layer: a canonical name without ``.weight``.
        side: "A" or "B".
    """
    return f"{layer}.lora_{side}.{ADAPTER}.weight"


def base_name(name: str, adapted: Iterable[str]) -> str:
    """The name that a leaf of the plain model has in a state: another where its layer is adapted."""
    layer, _, leaf = name.rpartition(".")
    return f"{layer}{_BASE}{leaf}" if layer in adapted else name


def adapted_layers(leaves: Iterable[Parameter], settings: LoraSettings) -> dict[str, tuple[int, int]]:
    """The layers that get small matrices, each with the shape (out, in) of its own.

    Args:
        leaves: of the plain model.
        settings: name the layers by the last word of their name.

    Raises:
        BadSetting: no layer has such a name.
    """
    kernels = {leaf.name.removesuffix(".weight"): leaf.shape for leaf in leaves if leaf.kind == "kernel"}
    require_targets({layer.rpartition(".")[2] for layer in kernels}, settings)
    return {
        layer: (shape[0], shape[1])
        for layer, shape in kernels.items()
        if layer.rpartition(".")[2] in settings.targets
    }


def require_targets(known: Iterable[str], settings: LoraSettings) -> None:
    """Refuse targets that are the last word of no layer's name.

    Raises:
        BadSetting: names them.
    """
    if unknown := sorted(set(settings.targets) - set(known)):
        raise BadSetting(
            f"no layer is called {unknown}: LoRA can be put beside q_proj, v_proj, fc1 and so on"
        )


def side_shapes(shape: tuple[int, int], settings: LoraSettings) -> dict[str, tuple[int, int]]:
    """The shapes of "A" and "B" beside a matrix of shape (out, in)."""
    out, into = shape
    return {"A": (settings.rank, into), "B": (out, settings.rank)}


def first_bound(into: int) -> float:
    """The bound b of A's first numbers; B's are zero."""
    return 1 / math.sqrt(into)


def merged(
    state: Mapping[str, Array], settings: LoraSettings, add: Callable[[Array, Array, Array, float], Array]
) -> dict[str, Array]:
    """The weights of the plain model: each product added to the matrix it stood beside.

    Args:
        state: weights by the names above.
        settings: say what the product is multiplied by.
        add: computes ``W + factor · B A`` from W, A, B and the factor, in the type of W's numbers.
    """
    plain: dict[str, Any] = {}
    for name, array in state.items():
        if ".lora_" in name:
            continue
        layer, base, leaf = name.rpartition(_BASE)
        if base and leaf == "weight":
            down, up = (state[side_name(layer, side)] for side in "AB")
            array = add(array, down, up, settings.alpha / settings.rank)
        plain[f"{layer}.{leaf}" if base else name] = array
    return plain
