"""LoRA: small matrices learned beside frozen ones, by the ``peft`` package (extra ``lora``)."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pegasus.errors import BackendMissing, BadSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pegasus.backends.contract import LoraSettings

ADAPTER = "summary"


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
    found = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    unknown = sorted(set(settings.targets) - found)
    if unknown:
        raise BadSetting(
            f"no layer is called {unknown}: LoRA can be put beside q_proj, v_proj, fc1 and so on"
        )
    peft = importlib.import_module("peft")
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
    )
    peft.inject_adapter_in_model(config, model, adapter_name=ADAPTER)


def merged(state: Mapping[str, Tensor], settings: LoraSettings) -> dict[str, Tensor]:
    """The weights of the plain model: each product added to the matrix it stood beside."""
    plain: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".lora_" in name:
            continue
        layer, base, leaf = name.rpartition(".base_layer.")
        if not base:
            plain[name] = tensor
        elif leaf == "weight":
            down, up = (state[f"{layer}.lora_{side}.{ADAPTER}.weight"].float() for side in "AB")
            plain[f"{layer}.weight"] = (tensor.float() + settings.alpha / settings.rank * (up @ down)).to(
                tensor.dtype
            )
        else:
            plain[f"{layer}.{leaf}"] = tensor
    return plain
