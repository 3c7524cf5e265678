"""Compiled layers: PyTorch's compiler makes a few kernels of a layer's many, once for all of a kind.

Layers are compiled, not the whole model: those of one kind share one compilation, and lengths are symbols
in it, so that a batch of another length needs none. How many there were is counted.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from pegasus.backends.torch.model.layers import Layer
from pegasus.errors import NotOffered

#: What makes kernels of graphs: the name of one of ``torch.compile``'s backends.
MAKER = "inductor"
#: Encoder or decoder, learning or measuring, with a mask or without, one text or several: all may differ.
MOST = 32


class Compiler:
    """A backend of ``torch.compile`` that hands graphs on and counts them.

    Attributes:
        graphs: how many were compiled.
    """

    def __init__(self, name: str) -> None:
        self._inner: Callable[..., Any] = torch._dynamo.lookup_backend(name)
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Sequence[Any], **options: Any) -> Any:
        """Compile one graph."""
        made = self._inner(graph, inputs, **options)
        self.graphs += 1  # an attempt that PyTorch gives up, to begin anew with a number as it is, is none
        return made


def compile_layers(model: nn.Module, device: torch.device) -> Compiler:
    """Let the layers of a model be compiled when they are first called.

    Raises:
        NotOffered: there is no compiler for this device.
    """
    if MAKER == "inductor" and (missing := _missing(device)) is not None:
        raise NotOffered(f"placement.compile needs {missing}: install it, or leave compile out")
    compiler = Compiler(MAKER)
    # Before 2.13 there is a limit for the whole process alone, of eight.
    known = inspect.signature(torch.compile).parameters
    limit: dict[str, int] = {"recompile_limit": MOST} if "recompile_limit" in known else {}
    for module in model.modules():
        if isinstance(module, Layer):
            module.compile(backend=compiler, dynamic=True, **limit)
    return compiler


def _missing(device: torch.device) -> str | None:
    """What the compiler lacks to make kernels for a device."""
    if device.type == "cuda":
        return None if find_spec("triton") is not None else "Triton, which comes with PyTorch's CUDA builds"
    if any(shutil.which(name) for name in ("g++", "c++", "clang++")):
        return None
    return "a C++ compiler"
