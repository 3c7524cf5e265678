"""A folder for ``torch.export``: the encoder and one step of the decoder as archives (``.pt2``)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from pegasus.backends.torch.export.modules import parts

ENCODER, DECODER = "encoder.pt2", "decoder.pt2"


def write_archives(model: Any, folder: Path) -> None:
    """Writes both; ``torch.export.load(path).module()`` computes with them, for any sizes.

    Args:
        model: a ``PegasusForConditionalGeneration``.
        folder: an existing folder.

    Raises:
        NotOffered: a model of another kind.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of parts of PyTorch that grow old
        for part, name in zip(parts(model), (ENCODER, DECODER), strict=True):
            program = torch.export.export(part.module, part.inputs, dynamic_shapes=part.sizes, strict=False)
            torch.export.save(program, folder / name)
