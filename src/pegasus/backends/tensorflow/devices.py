"""Which device a word means, and how many threads compute."""

from __future__ import annotations

import tensorflow as tf

from pegasus.backends.threads import usual_threads
from pegasus.errors import BadSetting


def device_named(device: str) -> str:
    """One of TensorFlow's devices by its full name: "gpu:1" is the second of its kind.

    Raises:
        BadSetting: there is no such device here.
    """
    kind, _, number = device.partition(":")
    names: list[str] = [one.name for one in tf.config.list_logical_devices(kind.upper())]
    if (number or "0").isdigit() and int(number or 0) < len(names):
        return names[int(number or 0)]
    here = ", ".join(sorted({one.device_type.lower() for one in tf.config.list_logical_devices()}))
    raise BadSetting(
        f"TensorFlow has no device {device!r} here: use 'auto', or one of these kinds: {here}."
    )


def set_threads(threads: int | None) -> None:
    """Compute with so many threads; None: as many as there are cores, where nothing was settled yet.

    Raises:
        BadSetting: TensorFlow has begun to compute with another number.
    """
    wanted = usual_threads() if threads is None else threads
    settled = tf.config.threading.get_intra_op_parallelism_threads()
    if settled == wanted:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as problem:  # it is settled once, before the first computation
        if threads is not None:
            raise BadSetting(
                f"TensorFlow computes with {settled or 'all'} threads since it was first used, and "
                f"{threads} are asked for: leave threads out, or start a new process."
            ) from problem
