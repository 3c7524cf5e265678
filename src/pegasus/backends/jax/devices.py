"""Which device a word means."""

from __future__ import annotations

from typing import Any

import jax

from pegasus.errors import BadSetting


def device_named(device: str) -> Any:
    """One of JAX's devices: "auto" is the first, "gpu:1" the second of its platform.

    Raises:
        BadSetting: there is no such device here.
    """
    if device == "auto":
        return jax.devices()[0]
    platform, _, number = device.partition(":")
    try:
        return jax.devices(platform)[int(number or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        here = ", ".join(sorted({one.platform for one in jax.devices()}))
        raise BadSetting(
            f"JAX has no device {device!r} here: use 'auto', or one of these platforms: {here}."
        ) from error
