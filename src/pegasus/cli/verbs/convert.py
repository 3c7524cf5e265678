"""Convert a checkpoint: the authors' own, PyTorch's, Flax's and Keras', each to each of the others.

SOURCE is a folder, a bundled name or a repository; or one of the authors' checkpoints: what stands before
.index of a TensorFlow checkpoint, its folder, or a file of their Flax code. No framework is needed. What
the authors' files do not say (lengths, the search) is taken from --task. Every tensor is accounted for: one
that is unknown, missing or of another shape is an error, and states of optimizers are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pegasus.cli.exits import OK, say

if TYPE_CHECKING:
    from pegasus.checkpoint.authors import Manner, Wishes
    from pegasus.checkpoint.conversion import Conversion

_EXAMPLES = """\
examples:
  pegasus convert ckpt/xsum/model.ckpt-30000 pegasus-xsum --task xsum --vocabulary c4.unigram.newline.model
  pegasus convert ckpt/xsum/model.ckpt-30000 as-transformers --as transformers --task xsum
  pegasus convert google/pegasus-xsum for-flax --to msgpack --dtype bfloat16
  pegasus convert runs/mine/best for-the-authors-code --to tf-checkpoint
  pegasus convert ckpt/xsum/model.ckpt-30000 nowhere --dry-run
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("source", metavar="SOURCE", help="what to convert")
    parser.add_argument("target", metavar="TARGET", help="a folder to write; it must hold no weights")
    parser.add_argument(
        "--to",
        default="safetensors",
        choices=["safetensors", "bin", "msgpack", "h5", "tf-checkpoint", "flax-checkpoint"],
        help="the format; the last two are read by the authors' code (default: safetensors)",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "float16", "float64"],
        help="how numbers are kept (default: as they are)",
    )
    parser.add_argument(
        "--max-shard-size", default="5GB", metavar="SIZE", help="of one file of weights (default: 5GB)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what becomes of each tensor, and write nothing"
    )
    _declare_authors(parser.add_argument_group("for the authors' checkpoints"))


def _declare_authors(group: Any) -> None:
    group.add_argument(
        "--as",
        dest="manner",
        choices=["authors", "transformers"],
        help="whose outputs the model gives: positions, layer norms, start and search (default: authors)",
    )
    group.add_argument("--task", metavar="NAME", help="lengths and search of a data set, such as xsum")
    group.add_argument(
        "--heads", type=int, metavar="N", help="heads (default: one for each 64 of the width)"
    )
    group.add_argument("--vocabulary", metavar="FILE", help="the SentencePiece model that belongs to it")


def run(arguments: argparse.Namespace) -> int:
    """Convert, and return the exit code."""
    from pegasus.checkpoint.conversion import Conversion, open_source

    wishes = _wishes(arguments)
    source = open_source(_place(arguments.source), wishes)
    conversion = Conversion(source, arguments.to, arguments.dtype, arguments.max_shard_size)
    for warning in conversion.warnings():
        say(f"warning: the authors' code computes otherwise: {warning}")
    if arguments.dry_run:
        for line in conversion.lines():
            print(line)
        return OK
    _write(conversion, arguments)
    return OK


def _place(name: str) -> Path:
    """The path of a checkpoint that lies here, else the folder of a name."""
    from pegasus.checkpoint.bundle.reading import find_bundle
    from pegasus.hub import locate

    place = Path(name).expanduser()
    here = place.exists() or (place.parent.is_dir() and find_bundle(place) is not None)
    return place if here else locate(name)


def _wishes(arguments: argparse.Namespace) -> Wishes | None:
    """What was said about the authors' checkpoint; None where nothing was."""
    from pegasus.checkpoint.authors import Wishes

    if arguments.heads is not None and arguments.heads < 1:
        from pegasus.errors import BadSetting

        raise BadSetting(f"--heads is {arguments.heads}: give at least 1.")
    if not any((arguments.manner, arguments.task, arguments.heads)):
        return None
    manner: Manner = arguments.manner or "authors"
    if arguments.task is None:
        return Wishes(manner, arguments.heads)
    from pegasus.data.tasks import find_task

    task = find_task(arguments.task)
    return Wishes(
        manner, arguments.heads, task.max_input, task.max_target, task.num_beams, task.length_penalty
    )


def _write(conversion: Conversion, arguments: argparse.Namespace) -> None:
    from pegasus.checkpoint.conversion import refuse_weights
    from pegasus.cli.progress import Bar
    from pegasus.cli.replacement import make_folder

    target = Path(arguments.target)
    refuse_weights(target)
    texts = _tokenizer(arguments.vocabulary, conversion)
    make_folder(arguments.target)
    bar = Bar.on_stderr(quiet=arguments.quiet)
    with bar.waiting(f"converting {arguments.source}"):
        conversion.write(target, texts)
    if not arguments.quiet:
        size = sum(path.stat().st_size for path in target.iterdir())
        say(f"{target}: {len(conversion.source.tensors)} tensors, {size / 1e6:,.0f} MB as {arguments.to}")


def _tokenizer(vocabulary: str | None, conversion: Conversion) -> dict[str, bytes]:
    """The files of a tokenizer out of a SentencePiece model that belongs to the weights."""
    if vocabulary is None:
        return {}
    import tempfile

    from pegasus.errors import BadSetting
    from pegasus.tokenization.slow import PegasusTokenizer

    config = conversion.source.config
    tokenizer = PegasusTokenizer(vocabulary, model_max_length=config.max_position_embeddings)
    if len(tokenizer) != config.vocab_size:
        raise BadSetting(
            f"{vocabulary} makes {len(tokenizer):,} tokens and the checkpoint has {config.vocab_size:,}: "
            "give the vocabulary that it was trained with."
        )
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
