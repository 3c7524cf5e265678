"""Export a model for another runtime.

onnx         encoder.onnx and decoder.onnx for ONNX Runtime, opened by every verb with --model as well;
             with --int8 by its own quantizer: a quarter of the size, and approximate
ctranslate2  a folder that CTranslate2's converter takes (ct2-transformers-converter --model DIR)
torch        encoder.pt2 and decoder.pt2, archives of torch.export
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pegasus.cli.exits import OK, say

if TYPE_CHECKING:
    from pegasus.backends.contract.exporting import ExportingBackend

_EXAMPLES = """\
examples:
  pegasus export google/pegasus-xsum --to onnx --output xsum-onnx
  pegasus summarize --model xsum-onnx report.txt
  pegasus export runs/mine/best --to ctranslate2 --output for-ctranslate2
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("model", metavar="MODEL", help="a folder, a bundled checkpoint, or a repository")
    parser.add_argument("--to", required=True, choices=["onnx", "ctranslate2", "torch"], help="the runtime")
    parser.add_argument(
        "-o", "--output", metavar="DIR", required=True, help="where to write; it must hold no weights"
    )
    parser.add_argument("--int8", action="store_true", help="for onnx: matrices in 8 bits")


def run(arguments: argparse.Namespace) -> int:
    """Export the model and return the exit code."""
    from pegasus.checkpoint.conversion import refuse_weights
    from pegasus.cli.progress import Bar
    from pegasus.cli.replacement import make_folder
    from pegasus.errors import BadSetting
    from pegasus.hub import locate

    if arguments.int8 and arguments.to != "onnx":
        other = {"ctranslate2": "give --quantization int8 to its converter", "torch": "use `pegasus pack`"}
        raise BadSetting(f"--int8 is for --to onnx, and --to is {arguments.to}: {other[arguments.to]}.")
    folder, output = locate(arguments.model), Path(arguments.output)
    refuse_weights(output)
    make_folder(arguments.output)
    bar = Bar.on_stderr(quiet=arguments.quiet)
    with bar.waiting(f"exporting {arguments.model}"):
        if arguments.to == "ctranslate2":
            from pegasus.checkpoint.ctranslate2 import write_for_ctranslate2

            write_for_ctranslate2(folder, output)
        else:
            _export(folder, output, arguments)
    if not arguments.quiet:
        size = sum(path.stat().st_size for path in output.iterdir())
        say(f"{output}: {size / 1e6:,.0f} MB for {arguments.to}")
    return OK


def _export(folder: Path, output: Path, arguments: argparse.Namespace) -> None:
    """Writes aside first, so that a failure leaves nothing that opens; the configuration comes last."""
    from pegasus.backends import load_backend
    from pegasus.checkpoint.conversion import TEXTS
    from pegasus.spec.files import write_whole

    backend = cast("ExportingBackend", load_backend("torch"))
    with tempfile.TemporaryDirectory(prefix=".pegasus-", dir=output) as draft:
        backend.export(folder, Path(draft), arguments.to, arguments.int8)
        for path in sorted(Path(draft).iterdir()):
            path.replace(output / path.name)
    for name in TEXTS:
        if (folder / name).is_file():
            write_whole(output / name, (folder / name).read_bytes())
