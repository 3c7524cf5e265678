"""The `pegasus` command: which verbs there are, and what every one of them may count on."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import pegasus
from pegasus.cli.exits import FAILED, OK, STOPPED, UNREAD, USAGE, say, visible
from pegasus.cli.streams import prepare_streams, silence_stdout, write_out

if TYPE_CHECKING:
    from types import FrameType

#: Each verb is a module of this package with `declare(parser)` and `run(arguments) -> exit code`.
VERBS = {
    "summarize": "summarize texts: files, JSON lines, or what is piped in",
    "join": "join the parts of a bulk job into one file",
    "finetune": "fine-tune a model on pairs of texts, as a job file says",
    "prepare": "turn a corpus into shards for pre-training",
    "inspect": "look into a checkpoint, a training run, shards, or an example of pre-training",
    "pretrain": "pre-train a model by gap sentences, as a job file says",
    "convert": "convert a checkpoint: the authors' own, PyTorch's, Flax's, Keras'",
    "distill": "distil a model into a smaller one, as a job file says",
    "export": "export a model for ONNX Runtime, CTranslate2 or torch.export",
    "pack": "pack a model for fast inference on a CPU",
    "words": "list the common words of a corpus, for faithful summaries",
    "serve": "serve summaries over HTTP",
    "evaluate": "grade a model on documents with summaries, beside baselines",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: what follows `pegasus`; None takes the process's own.
    """
    prepare_streams()
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    if parsed.verb is None:
        parser.print_help()
        return OK
    _set_up_logging(parsed)
    with contextlib.suppress(ValueError):  # only the main thread may say what a signal does
        signal.signal(signal.SIGTERM, _terminated)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, _terminated)
    try:
        code: int = parsed.run(parsed)
        write_out("", expected=False)
    except BrokenPipeError:
        silence_stdout()
        return UNREAD
    except KeyboardInterrupt:
        say("stopped")
        return STOPPED
    except Exception as error:
        return _report(error, debug=parsed.debug)
    return code


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command and all its verbs."""
    parser = _Parser(
        prog="pegasus",
        description="Abstractive summarization with PEGASUS.",
        epilog="`pegasus VERB --help` tells more about a verb.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb, summary in VERBS.items():
        module = importlib.import_module(f"pegasus.cli.verbs.{verb}")
        own = verbs.add_parser(
            verb,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.declare(own)
        _declare_shared(own)
        own.set_defaults(run=module.run, parser=own)
    return parser


def _declare_shared(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is said on stderr")
    group.add_argument(
        "-q", "--quiet", action="store_true", help="only errors, and what was left out of a text"
    )
    group.add_argument(
        "-v", "--verbose", action="store_true", help="also what is done, and how long it takes"
    )
    group.add_argument("--debug", action="store_true", help="everything, and where an error came from")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with options as everything is said: nothing in them moves a terminal's cursor."""

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(visible(message), file)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print("pegasus", pegasus.__version__)
        parser.exit()


def _set_up_logging(parsed: argparse.Namespace) -> None:
    import logging

    level = logging.WARNING
    if parsed.verbose:
        level = logging.INFO
    if parsed.quiet:
        level = logging.ERROR
    if parsed.debug:
        level = logging.DEBUG
    logging.basicConfig(level=level, stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_visible_formatter())
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.WARNING if parsed.debug else logging.CRITICAL)
    logging.getLogger().setLevel(logging.WARNING)  # other libraries speak up only when something is wrong
    logging.getLogger("pegasus").setLevel(level)
    if parsed.quiet or not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _visible_formatter() -> Any:
    import logging

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return visible(super().format(record))

    return Formatter("pegasus: %(message)s")


def _report(error: Exception, *, debug: bool) -> int:
    from pegasus.errors import BadSetting, PegasusError

    if debug:
        import traceback

        print(visible(traceback.format_exc()), end="", file=sys.stderr)
    if isinstance(error, PegasusError):
        say(str(error))
        return USAGE if isinstance(error, BadSetting) else FAILED
    first = (str(error).strip() or "no message").splitlines()[0]
    if isinstance(error, OSError):
        say(first)
    else:
        say(f"unexpected {type(error).__name__}: {first} (--debug shows where)")
    return FAILED


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # so that files that are half written are taken away
