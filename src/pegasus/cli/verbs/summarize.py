"""Summarize texts: files of any kind, folders of them, or what is piped in.

A FILE of text, HTML, DOCX or PDF is one text; JSON lines, JSON, CSV, TSV, Parquet and Arrow hold one a row,
in the column document, text, article, body or content, or the one that --column names. Each may be
packed (.gz .xz .bz2 .zst). A folder is all such files in it; `-` is stdin, whose kind its content tells.
Nothing is ever cut without being told: a text that is too long for the model is read in pieces.
Each result is written when it is done. With -o, what an interrupted run has finished waits in FILE.part:
the same command goes on from there, and other settings are refused.
"""

from __future__ import annotations

import argparse
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from pegasus.cli.bulk.options import declare_bulk, is_bulk
from pegasus.cli.exits import FAILED, OK, PARTLY, USAGE, say
from pegasus.cli.model_options import (
    declare_backend,
    declare_batch_size,
    declare_device,
    declare_dtype,
    declare_name,
    declare_threads,
)
from pegasus.cli.reading_options import declare_reading, make_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pegasus.cli.inputs import Item
    from pegasus.cli.outputs import Output
    from pegasus.cli.progress import Bar
    from pegasus.errors import PegasusError
    from pegasus.summarizer import Summarizer, Summary

_EXAMPLES = """\
examples:
  pegasus summarize report.txt
  curl -s https://example.org/report.txt | pegasus summarize --length short
  pegasus summarize *.txt -o summaries/ --format json
  pegasus summarize papers/ -o summaries/ --format json
  pegasus summarize news.csv.gz --column body -o news.summaries.jsonl
  pegasus summarize big.jsonl -o summaries/ --bulk
  pegasus summarize book.txt --long chunk --length 300 --explain
"""
_SETTINGS = (
    *("long", "length", "sentences", "num_beams", "length_penalty", "no_repeat_ngram_size"),
    *("retry_repetition", "repair", "explain", "attribution", "unknown", "faithful", "batch_size"),
)
# Texts that are held and computed together; more rows make better batches, fewer make results come sooner.
_WINDOW_BATCHES = 4
_LARGEST_WINDOW = 1024


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("files", nargs="*", metavar="FILE", help="files or folders; - or nothing: stdin")
    _declare_files(parser.add_argument_group("input and output"))
    declare_bulk(parser.add_argument_group("many rows, many machines"))
    _declare_summary(parser.add_argument_group("the summary"))
    _declare_model(parser.add_argument_group("the model"))


def _declare_files(group: Any) -> None:
    group.add_argument(
        "--column",
        metavar="NAME",
        help="take the text from this column; a file that looks like plain text is then JSON lines",
    )
    declare_reading(group)
    group.add_argument(
        "-o",
        "--output",
        metavar="FILE|DIR",
        default="-",
        help="one file for all, or a folder (ends in /) of one each",
    )
    group.add_argument(
        "--format",
        choices=["text", "json", "jsonl"],
        help="default: by the name of the output, then of the input",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace outputs that exist, also unfinished ones (.part) of another run",
    )


def _declare_summary(group: Any) -> None:
    group.add_argument(
        "--length",
        metavar="LENGTH",
        help="short, medium, long, a number of words (80) or a share of the text (10%%)",
    )
    group.add_argument("--sentences", type=int, metavar="N", help="write N sentences")
    group.add_argument(
        "--long",
        choices=["chunk", "truncate", "extend", "error"],
        default="chunk",
        help="a text longer than the model takes: read all of it in pieces (chunk, the default), only its "
        "beginning (truncate), all at once with untrained positions (extend), or refuse it (error)",
    )
    group.add_argument("--num-beams", type=int, metavar="N", help="beams of the search, at most 64")
    group.add_argument(
        "--length-penalty", type=float, metavar="X", help="above 1: longer; below 1: shorter"
    )
    group.add_argument(
        "--no-repeat-ngram-size", type=int, metavar="N", help="no N tokens in a row come twice"
    )
    group.add_argument("--retry-repetition", action="store_true", help="write a repetitive summary again")
    group.add_argument(
        "--unknown",
        choices=["warn", "error", "ignore"],
        help="characters that the vocabulary lacks: warn, refuse a text that holds one (error), or say "
        "nothing (ignore); default: warn, and refuse a text of whose letters a fifth are unknown",
    )
    group.add_argument(
        "--faithful",
        choices=["off", "words", "names"],
        help="hold every word of the summary to its text or to common words (words), or names and numbers "
        "alone (names); default: words where a list of common words lies beside the model, as beside "
        "pegasus-mini, else off",
    )
    group.add_argument(
        "--repair",
        action="store_true",
        help="put the text's own word in the place of a near-copy that is no word (Perley2 for Person2)",
    )
    group.add_argument(
        "--attribution",
        action="store_true",
        help="warn of sentences whose subject and number the text has nowhere together",
    )
    group.add_argument(
        "--explain", action="store_true", help="show the source sentences each sentence leans on"
    )


def _declare_model(group: Any) -> None:
    declare_name(group)
    declare_backend(group)
    declare_device(group)
    declare_dtype(group)
    declare_batch_size(group)
    declare_threads(group)


def run(arguments: argparse.Namespace) -> int:
    """Summarize everything and return the exit code."""
    from pegasus.cli.arriving import windows
    from pegasus.cli.inputs import find_inputs, read_items
    from pegasus.cli.outputs import open_output
    from pegasus.cli.progress import Bar

    if not arguments.files and _nothing_is_piped_in():
        arguments.parser.print_help(sys.stderr)
        return USAGE
    settings = _settings(arguments)
    reading = make_reading(arguments, column=arguments.column)
    inputs = find_inputs(arguments.files or ["-"], reading)
    identity = _identity(arguments, settings)
    if is_bulk(arguments):
        from pegasus.cli.bulk.summarize import run_bulk

        return run_bulk(arguments, inputs, identity, settings)
    bar = Bar.on_stderr(quiet=arguments.quiet)
    most = min(_WINDOW_BATCHES * settings["batch_size"], _LARGEST_WINDOW)
    opened = open_output(
        inputs,
        arguments.output,
        arguments.format,
        identity,
        overwrite=arguments.overwrite,
        report=_silence if arguments.quiet else say,
    )
    with opened as output:
        items = output.fresh(read_items(inputs))
        ends = _ends(windows(items, most, inputs), _opener(arguments, bar), settings, bar)
        single = len(inputs) == 1 and not inputs[0].rows
        done, failed = _write_all(ends, output, arguments, single)
    return OK if not failed else FAILED if failed == done else PARTLY


def _nothing_is_piped_in() -> bool:
    return sys.stdin is None or sys.stdin.isatty()


def _silence(message: str) -> None:
    """Takes the place of `say` for those who want quiet."""


def _write_all(
    ends: Iterator[tuple[Item, Summary | PegasusError]],
    output: Output,
    arguments: argparse.Namespace,
    single: bool,
) -> tuple[int, int]:
    """Write each result when it comes, and return how many there are in all and how many are errors."""
    from pegasus.cli.formats import to_record
    from pegasus.cli.notes import Tally, note

    tally = Tally()
    for item, end in ends:
        said = note(item, end, quiet=arguments.quiet, detailed=single or arguments.verbose)
        if said:
            say(said)
        output.write(item, to_record(item, end))
        tally.count(end)
    if not (arguments.quiet or arguments.verbose or single) and (line := tally.line()):
        say(line)
    return tally.texts + output.kept, tally.failed + output.failed


def _ends(
    windows: Iterator[list[Item]],
    summarizer: Callable[[], Summarizer],
    settings: dict[str, Any],
    bar: Bar,
) -> Iterator[tuple[Item, Summary | PegasusError]]:
    """Yield each item with its summary or error, in order, each as soon as it is there."""
    for window in windows:
        texts = [item.text for item in window if isinstance(item.text, str)]
        ends: Iterator[Summary | PegasusError] = iter(())
        if texts:
            ends = summarizer().stream(texts, window=len(texts), progress=bar.show, **settings)
        for item in window:
            if isinstance(item.text, str):
                with bar:
                    end = next(ends)
                yield item, end
            else:
                yield item, item.text


def _identity(arguments: argparse.Namespace, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what results depend on, by the names of the options."""
    from pegasus.cli.weights import name_weights

    named = {name: value for name, value in settings.items() if name != "batch_size"}
    reading = {name: getattr(arguments, name) for name in ("column", "input_format", "encoding")}
    options = {**reading, "dtype": arguments.dtype, **named}
    return {
        "model": arguments.model,
        "its weights": name_weights(arguments.model),
        **{f"--{name.replace('_', '-')}": value for name, value in options.items()},
    }


def _opener(arguments: argparse.Namespace, bar: Bar) -> Callable[[], Summarizer]:
    """Return a function that opens the model when it is first needed: a missing file is told without it."""

    @cache
    def summarizer() -> Summarizer:
        from pegasus.summarizer import Summarizer

        with bar.waiting(f"opening {arguments.model}"):
            return Summarizer.from_pretrained(
                arguments.model,
                backend=arguments.backend,
                device=arguments.device,
                dtype=arguments.dtype,
                threads=arguments.threads,
            )

    return summarizer


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were named, checked before a model is opened or an output begun."""
    from pegasus.cli.model_options import check_backend, check_threads
    from pegasus.summarizer.settings import Settings

    check_backend(arguments.backend)
    check_threads(arguments.threads)
    settings = {name: getattr(arguments, name) for name in _SETTINGS}
    Settings(**settings)
    return settings
