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


def declare_device(group: Any) -> None:
    """Declare where it runs."""
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def declare_batch_size(group: Any) -> None:
    """Declare how many texts it reads at a time."""
    group.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help="most texts at a time (default: 16)"
    )
