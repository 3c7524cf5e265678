"""LoRA in PyTorch: ``pegasus.backends.learning.lora`` by the ``peft`` package (extra ``lora``)."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pegasus.backends.learning import lora
from pegasus.errors import BackendMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pegasus.backends.contract.learning import LoraSettings


def insert(model: Any, settings: LoraSettings) -> None:
    """Put the small matrices beside the layers that the settings name; the product starts at zero.

    Raises:
        BackendMissing: ``peft`` is not installed.
        BadSetting: no layer has such a name.
    """
    if importlib.util.find_spec("peft") is None:
        raise BackendMissing(
            "LoRA needs peft, which is not installed: pip install 'pegasus-summarizer[lora]'"
        )
    lora.require_targets({name.rpartition(".")[2] for name, _ in model.named_modules()}, settings)
    peft = importlib.import_module("peft")
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
    )
    peft.inject_adapter_in_model(config, model, adapter_name=lora.ADAPTER)


def merged(state: Mapping[str, Tensor], settings: LoraSettings) -> dict[str, Tensor]:
    """The weights of the plain model."""
    return lora.merged(state, settings, _add)


def _add(weight: Tensor, down: Tensor, up: Tensor, factor: float) -> Tensor:
    return (weight.float() + factor * (up.float() @ down.float())).to(weight.dtype)
