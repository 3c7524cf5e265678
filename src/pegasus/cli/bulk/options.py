"""The options of bulk jobs, and whether one is asked for."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from pegasus.errors import BadSetting

#: The file of a folder that says what job it holds.
JOB = "job.json"


def declare_bulk(group: Any) -> None:
    """Declare the options of bulk jobs."""
    group.add_argument(
        "--bulk",
        action="store_true",
        help="write the folder -o in parts, which all processes that are given the same command share, on "
        "any number of machines that see the folder",
    )
    group.add_argument(
        "--shard", metavar="I/N", help="do each Nth part alone, from the Ith (1 to N) on; implies --bulk"
    )
    group.add_argument(
        "--part-rows", type=int, metavar="N", help="rows of a part (default: 1000); implies --bulk"
    )
    declare_engine(group, "compute on a Ray cluster, whose actors hold the model; implies --bulk")


def declare_engine(group: Any, what: str) -> None:
    """Declare the options of a Ray cluster."""
    group.add_argument("--engine", choices=["ray"], help=what)
    group.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="of the cluster (default: $RAY_ADDRESS, else one is started on this machine)",
    )
    group.add_argument(
        "--ray-actors", type=int, metavar="N", help="how many (default: as many as there is room for)"
    )


def check_engine(arguments: argparse.Namespace) -> None:
    """Refuse options of a cluster where none is asked for.

    Raises:
        BadSetting: that is so, or there shall be no actor at all.
    """
    if arguments.engine is None and (arguments.ray_address or arguments.ray_actors is not None):
        raise BadSetting(
            "--ray-address and --ray-actors are for --engine ray: add that, or leave them out."
        )
    if arguments.ray_actors is not None and arguments.ray_actors < 1:
        raise BadSetting(f"--ray-actors must be at least 1; found {arguments.ray_actors}.")


def is_bulk(arguments: argparse.Namespace) -> bool:
    """Whether a bulk job is asked for, or the output is the folder of one."""
    if arguments.engine is None and (arguments.ray_address or arguments.ray_actors is not None):
        raise BadSetting(
            "--ray-address and --ray-actors are for --engine ray: add that, or leave them out."
        )
    asked = arguments.bulk or arguments.shard or arguments.engine or arguments.part_rows is not None
    return bool(asked) or _is_job(arguments.output)


def _is_job(target: str) -> bool:
    with suppress(OSError):  # a name may be too long to be looked for
        return target not in ("", "-") and (Path(target) / JOB).is_file()
    return False
