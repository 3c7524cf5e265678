"""How files are read: the options that all verbs share which read any."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pegasus.data.read import Reading

_FORMATS = ("text", "jsonl", "json", "csv", "tsv", "parquet", "arrow", "html", "docx", "pdf")


def declare_reading(group: Any) -> None:
    """Declare them."""
    group.add_argument(
        "--input-format",
        choices=_FORMATS,
        help="what every file holds; otherwise its content and its name tell",
    )
    group.add_argument(
        "--encoding",
        metavar="NAME",
        help="what text is in, such as windows-1252; otherwise UTF-8, or UTF-16 and UTF-32 where they are",
    )


def make_reading(arguments: argparse.Namespace, **others: Any) -> Reading:
    """Return what was asked for.

    Args:
        arguments: of the command.
        others: fields of `Reading` that the verb has besides.

    Raises:
        BadSetting: there is no such encoding.
    """
    from pegasus.data.read import Reading

    return Reading(format=arguments.input_format, encoding=arguments.encoding, **others)
