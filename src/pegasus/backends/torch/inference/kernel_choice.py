"""Which step a static decoder takes: PyTorch's operations, or kernels of Triton.

``model.static_kernels`` is "torch", "triton" or None, which means ``AUTO``: what has been measured to be
right and faster.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from pegasus.backends.torch.inference import static_step
from pegasus.backends.torch.inference.static_weights import Weights
from pegasus.errors import BackendMissing, BadSetting, NotOffered

#: What None means. No GPU has run the kernels yet (decision 14).
AUTO = "torch"
#: Where it means that; elsewhere None is "torch", also where Triton's interpreter could compute.
AUTO_DEVICE = "cuda"
NAMES = ("torch", "triton")
#: The widest head whose keys a program holds.
WIDEST = 256

#: (weights, memory, span, count) → what a step found.
Take = Callable[..., static_step.Found]


@dataclass
class Choice:
    """What was chosen for a model, until it turns out that it does not run.

    Attributes:
        wanted: what ``model.static_kernels`` said.
        name: the step that is taken.
        tuning: sizes of blocks, for kernels; None: theirs.
    """

    wanted: str | None
    name: str
    tuning: Any = None

    def take(self) -> Take:
        """The function that takes a step."""
        if self.name == "torch":
            return static_step.take
        from pegasus.backends.torch.inference.kernels import step

        return step.take if self.tuning is None else partial(step.take, tuning=self.tuning)

    def failed(self, error: Exception) -> None:
        """Goes on with PyTorch's operations where nobody asked for kernels.

        Raises:
            NotOffered: somebody did.
        """
        first = str(error).strip().splitlines()[:1]
        found = f"{type(error).__name__}: {''.join(first)}"
        if self.wanted is not None:
            raise NotOffered(
                f"static_kernels: Triton's kernels do not compile or start here ({found}). "
                "Set it to 'torch'."
            ) from error
        self.name = "torch"
        message = f"Triton's kernels do not compile or start here ({found}): PyTorch's operations compute."
        warnings.warn(message, stacklevel=2)


def choose(model: Any, weights: Weights) -> Choice:
    """Which step is taken for a model.

    Raises:
        BadSetting: ``model.static_kernels`` is no such name.
        BackendMissing: Triton is asked for and not installed.
        NotOffered: Triton is asked for and cannot compute this.
    """
    wanted = getattr(model, "static_kernels", None)
    if wanted is not None and wanted not in NAMES:
        raise BadSetting(f"static_kernels: {wanted!r} is not known: say {' or '.join(NAMES)}, or None.")
    if (wanted or AUTO) == "torch":
        return Choice(wanted, "torch")
    why = _lacking(weights)
    if wanted is None:
        elsewhere = weights.table_VD.device.type != AUTO_DEVICE
        return Choice(None, "torch" if why or elsewhere else "triton")
    if find_spec("triton") is None:
        raise BackendMissing(
            "static_kernels: Triton is not installed: pip install triton (PyTorch for CUDA brings it), or "
            "set static_kernels to 'torch'."
        )
    if why:
        raise NotOffered(f"static_kernels: Triton's kernels cannot compute this: {why}. Say 'torch'.")
    return Choice(wanted, "triton")


def _lacking(weights: Weights) -> str | None:
    """Why Triton cannot take a step with these weights, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    device, width = weights.table_VD.device.type, weights.width // weights.heads
    if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return (
            f"the model is on {device}, and only Triton's interpreter (TRITON_INTERPRET=1) computes there"
        )
    if weights.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"the weights are {weights.dtype}"
    if width > WIDEST:
        return f"its heads have {width} numbers, more than {WIDEST}"
    layers = [matrix for layer in weights.layers for matrix, *_ in vars(layer).values()]
    if not all(one.is_contiguous() for one in (weights.table_VD, weights.head_VD, *layers)):
        return "a weight does not lie in one piece, row after row"
    return None
