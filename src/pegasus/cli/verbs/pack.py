"""Pack a model for fast inference on a CPU, into a folder that every verb with --model opens at once.

Weights are rounded as --dtype says and laid out for the processor. float32 says the same words as the
checkpoint. int8 takes a quarter of its memory and is the fastest, and approximate: some words differ.
A packed folder cannot be trained; keep the checkpoint.
"""

from __future__ import annotations

import argparse

from pegasus.cli.exits import OK, say
from pegasus.cli.model_options import check_threads, declare_threads

_EXAMPLES = """\
examples:
  pegasus pack google/pegasus-xsum --dtype int8 --output pegasus-xsum-int8
  pegasus summarize --model pegasus-xsum-int8 report.txt
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("model", metavar="MODEL", help="a folder, a bundled checkpoint, or a repository")
    parser.add_argument(
        "-o", "--output", metavar="DIR", required=True, help="where to write; made when it does not exist"
    )
    parser.add_argument(
        "--dtype",
        default="int8",
        choices=["float32", "bfloat16", "float16", "int8"],
        help="how numbers are kept (default: int8)",
    )
    declare_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Pack the model and return the exit code."""
    from pegasus.backends.packed.model import PackedModel
    from pegasus.cli.progress import Bar
    from pegasus.cli.replacement import make_folder
    from pegasus.errors import BadSetting
    from pegasus.hub import locate

    check_threads(arguments.threads)
    folder, output = locate(arguments.model), make_folder(arguments.output)
    if (output / "model.safetensors").exists():
        raise BadSetting(
            f"{output} holds a checkpoint, and a packed model has a folder of its own: give another."
        )
    bar = Bar.on_stderr(quiet=arguments.quiet)
    with bar.waiting(f"packing {arguments.model}"):
        model = PackedModel.from_folder(folder, dtype=arguments.dtype, threads=arguments.threads)
        model.save_packed(output)
    if not arguments.quiet:
        say(f"{output}: {model.weights.nbytes / 1e6:,.0f} MB in {arguments.dtype}")
    return OK
