"""Look into what the other verbs read and write.

THING is a checkpoint (a folder, a bundled name or a hub name), the output of a training run or one of its
checkpoints, the shards that `pegasus prepare` made, or a text file. For shards and texts an example is
shown before and after masking: gap sentences, sentence masks, hidden words.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pegasus.cli.exits import OK

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXAMPLES = """\
examples:
  pegasus inspect pegasus-mini
  pegasus inspect runs/mine
  pegasus inspect runs/student/model --against google/pegasus-xsum
  pegasus inspect shards/ --row 3 --mlm 0.15
  pegasus inspect article.txt --tokenizer google/pegasus-large --ratio 0.3
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("thing", metavar="THING", help="a checkpoint, a run, shards, or a text file")
    parser.add_argument(
        "--against",
        metavar="TEACHER",
        help="compare a checkpoint with another one: which layers were copied, how far others have moved",
    )
    group = parser.add_argument_group("examples")
    group.add_argument("--tokenizer", metavar="NAME", default="pegasus-mini", help="for a text file")
    group.add_argument(
        "--row", type=int, default=0, metavar="N", help="the document of the shards (default: 0)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="draws what is left to chance")
    group.add_argument(
        "--strategy", metavar="NAME", help="how gap sentences are chosen (default: ind-orig)"
    )
    group.add_argument("--ratio", type=float, default=0.3, metavar="SHARE", help="the gap-sentence ratio")
    group.add_argument("--mlm", type=float, default=0.15, metavar="SHARE", help="words hidden besides")


def run(arguments: argparse.Namespace) -> int:
    """Show the thing and return the exit code."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for line in _lines(arguments):
        console.print(line)
    return OK


def _lines(arguments: argparse.Namespace) -> Iterable[Any]:
    from pegasus.cli import showing

    place = Path(arguments.thing)
    if arguments.against is not None:
        return showing.comparison(arguments.thing, arguments.against)
    if place.is_file():
        return showing.text_example(place, arguments)
    if (place / "manifest.json").is_file():
        sealed = any(place.glob("rank-*.safetensors"))
        return showing.run_checkpoint(place) if sealed else showing.shards(place, arguments)
    if (place / "job.toml").is_file():
        return showing.training_run(place)
    return showing.checkpoint(arguments.thing)
