"""The optimizers by name: Adafactor, AdamW, Muon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from pegasus.backends.torch.learning.adafactor import AuthorsAdafactor
from pegasus.backends.torch.learning.muon import Muon
from pegasus.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pegasus.backends.contract.learning import OptimSettings


def make_optimizer(
    parameters: Iterable[nn.Parameter], settings: OptimSettings, tables: Collection[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The optimizer that the settings name.

    Args:
        parameters: the weights; those that are frozen are left out.
        settings: which optimizer, and how fast.
        tables: those of the weights whose rows are looked up, the embeddings. Muon is not for them.

    Raises:
        BadSetting: there is none of that name, or the settings contradict each other.
    """
    chosen = [parameter for parameter in parameters if parameter.requires_grad]
    if not chosen:
        raise BadSetting("nothing is left to learn: every parameter is frozen, thaw a part of the model")
    if settings.name == "adafactor":
        if settings.weight_decay:
            raise BadSetting(
                f"weight_decay is {settings.weight_decay}, and the authors' Adafactor has none: set it to "
                "0, or take adamw or adafactor-absolute"
            )
        return AuthorsAdafactor(chosen, settings.rate)
    if settings.name == "adafactor-absolute":
        return AuthorsAdafactor(chosen, settings.rate, relative=False, weight_decay=settings.weight_decay)
    if settings.name == "adamw":
        decayed = {"params": [p for p in chosen if p.dim() > 1], "weight_decay": settings.weight_decay}
        plain = {"params": [p for p in chosen if p.dim() <= 1], "weight_decay": 0.0}
        groups = [group for group in (decayed, plain) if group["params"]]
        return torch.optim.AdamW(
            groups,
            lr=settings.rate,
            betas=settings.betas or (0.9, 0.999),
            eps=settings.eps,
            fused=chosen[0].device.type == "cuda" or None,  # one kernel; None: as PyTorch thinks best
        )
    if settings.name == "muon":
        return _muon(chosen, settings, {id(table) for table in tables})
    raise BadSetting(
        f"unknown optimizer {settings.name!r}: use adafactor, adafactor-absolute, adamw or muon"
    )


def _muon(chosen: list[nn.Parameter], settings: OptimSettings, tables: Collection[int]) -> Muon:
    inner = [parameter.dim() == 2 and id(parameter) not in tables for parameter in chosen]
    return Muon(
        [parameter for parameter, matrix in zip(chosen, inner) if matrix],
        [parameter for parameter, matrix in zip(chosen, inner) if not matrix],
        settings.rate,
        0.15 * settings.rate if settings.others_rate is None else settings.others_rate,
        settings.weight_decay,
        settings.betas or (0.9, 0.98),
        settings.eps,
    )
