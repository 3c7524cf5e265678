"""The frameworks PEGASUS runs in, one room each; a room is opened when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from pegasus.errors import BackendMissing, BadSetting

#: room → the framework it needs and how to get it
ROOMS: dict[str, tuple[str, str]] = {
    "torch": ("torch", "pip install torch"),
    "packed": ("numpy", "pip install numpy"),
}


def room(name: str, module: str = "model") -> ModuleType:
    """Open a room: import one of its modules.

    Args:
        name: ``"torch"``, or ``"packed"``, which needs no framework.
        module: the module within the room.

    Raises:
        BadSetting: there is no such room.
        BackendMissing: its framework is not installed; the message says what to install.
    """
    if name not in ROOMS:
        raise BadSetting(f"unknown backend {name!r}: choose one of {', '.join(ROOMS)}")
    framework, remedy = ROOMS[name]
    if importlib.util.find_spec(framework) is None:
        raise BackendMissing(f"the {name} backend needs {framework}, which is not installed: {remedy}")
    return importlib.import_module(f"pegasus.backends.{name}.{module}")
