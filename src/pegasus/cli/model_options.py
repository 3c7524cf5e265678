"""The options of every verb that opens a model to summarize with."""

from __future__ import annotations

import os
from typing import Any


def declare_name(group: Any) -> None:
    """Declare which model."""
    group.add_argument(
        "-m",
        "--model",
        metavar="NAME",
        default=os.environ.get("PEGASUS_MODEL") or "pegasus-mini",
        help="a folder, a bundled checkpoint, or a Hugging Face repository (default: $PEGASUS_MODEL, "
        "else pegasus-mini)",
    )


def declare_backend(group: Any) -> None:
    """Declare what computes."""
    from pegasus.backends import BACKENDS

    group.add_argument(
        "--backend",
        metavar="NAME",
        help=f"what computes: {', '.join(BACKENDS)}, or one that another package adds (default: packed "
        "on a CPU, torch elsewhere)",
    )


def declare_device(group: Any) -> None:
    """Declare where it runs."""
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def declare_dtype(group: Any) -> None:
    """Declare how numbers are kept."""
    group.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16", "float16", "int8"],
        help="how numbers are kept; int8 is the fastest on a CPU, and approximate (default: auto, which "
        "loses nothing on a CPU)",
    )


def declare_threads(group: Any) -> None:
    """Declare how many threads compute."""
    group.add_argument(
        "--threads", type=int, metavar="N", help="threads of the CPU (default: one for each core)"
    )


def check_backend(name: str | None) -> None:
    """Raise ``BadSetting`` for a backend that there is not."""
    from pegasus.backends import require_backend

    require_backend(name)


def check_threads(count: int | None) -> None:
    """Raise ``BadSetting`` for fewer than one thread, or more than there are processors."""
    from pegasus.backends.threads import threads_for

    if count is not None:
        threads_for(count, "--threads")


def declare_batch_size(group: Any) -> None:
    """Declare how many texts it reads at a time."""
    group.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help="most texts at a time (default: 16)"
    )
