"""A model spread over devices, the CPU and the disk, by the ``accelerate`` package (``device_map``)."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pegasus.errors import BackendMissing, BadSetting

_CHOSEN = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass(frozen=True)
class Spread:
    """Where the parts of a model are to lie.

    Attributes:
        device_map: a device for all of it; or names of modules and the device of each, "disk" too; or how
            to choose: "auto", "balanced", "balanced_low_0", "sequential".
        max_memory: what may be used of each device when it is chosen, ``{0: "10GiB", "cpu": "30GiB"}``.
        offload_folder: where weights lie that are on the disk.
        offload_buffers: whether buffers are moved away with the weights beside them.
    """

    device_map: Any
    max_memory: dict[Any, Any] | None = None
    offload_folder: Any = None
    offload_buffers: bool = False


def spread(model: Any, how: Spread) -> Any:
    """Move the parts of a model to their places, and let inputs travel to them.

    Raises:
        BackendMissing: ``accelerate`` is not installed, and more than one place was asked for.
        BadSetting: a place that does not exist, or weights for the disk without a folder.
    """
    plan = how.device_map
    if isinstance(plan, str) and plan in _CHOSEN:
        plan = _choose(model, how)
    elif not isinstance(plan, dict):
        plan = {"": plan}
    places = set(map(str, plan.values()))
    if len(places) == 1 and places.isdisjoint(("disk",)):
        _move(model, next(iter(plan.values())))
    else:
        if "disk" in places and how.offload_folder is None:
            raise BadSetting("parts of the model go to the disk: give the folder, as offload_folder=...")
        _accelerate().dispatch_model(
            model,
            device_map=plan,
            offload_dir=how.offload_folder,
            offload_buffers=how.offload_buffers,
            skip_keys="past_key_values",
        )
    model.hf_device_map = plan
    return model


def _move(model: nn.Module, device: Any) -> None:
    try:
        model.to(torch.device("cuda", device) if isinstance(device, int) else torch.device(device))
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise BadSetting(f"device_map={device!r}: {reason}. Use 'auto', 'cpu' or 'cuda:0'.") from error


def _choose(model: Any, how: Spread) -> dict[str, Any]:
    accelerate = _accelerate()
    memory = how.max_memory
    if how.device_map != "sequential":
        memory = accelerate.utils.get_balanced_memory(
            model,
            max_memory=memory,
            no_split_module_classes=model._no_split_modules,
            low_zero=how.device_map == "balanced_low_0",
        )
    plan: dict[str, Any] = accelerate.infer_auto_device_map(
        model, max_memory=memory, no_split_module_classes=model._no_split_modules
    )
    return plan


def _accelerate() -> Any:
    if importlib.util.find_spec("accelerate") is None:
        raise BackendMissing(
            "device_map spreads a model over several places by accelerate, which is not installed: "
            "pip install accelerate, or name one device"
        )
    return importlib.import_module("accelerate")
