"""Turn a corpus into shards for pre-training: sentences, tokens and scores, made once.

CORPUS is a file or folder of JSON lines, JSON, CSV, TSV, Parquet, Arrow, plain text, HTML, DOCX or PDF,
packed or not; - is stdin; hub:NAME is a hub data set. A run that was stopped or killed goes on where it was
when the same command is given again.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from pegasus.cli.bulk.options import check_engine, declare_engine
from pegasus.cli.exits import OK, say
from pegasus.cli.reading_options import declare_reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from pegasus.data.prepare import Engine, PrepareSettings, Progress
    from pegasus.data.shards import Manifest
    from pegasus.errors import BadData

_EXAMPLES = """\
examples:
  pegasus prepare corpus/ --tokenizer google/pegasus-large --output shards/
  pegasus prepare news.jsonl.xz books/*.txt.gz --tokenizer vocabulary/ --output shards/ --processes 8
  pegasus prepare corpus/ --tokenizer vocabulary/ --output shards/ --engine ray --ray-address auto
  pegasus prepare wiki.txt --unit block --sentences careful --tokenizer vocabulary/ --output shards/
"""
_NAMED_BAD_ROWS = 20


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("corpus", nargs="+", metavar="CORPUS", help="files, folders, -, hub:NAME")
    parser.add_argument("--tokenizer", required=True, metavar="NAME", help="a folder, or a hub repository")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder of the shards")
    reading = parser.add_argument_group("reading")
    reading.add_argument("--column", metavar="NAME", help="the column of the text; otherwise it is found")
    reading.add_argument(
        "--unit",
        choices=["file", "line", "block"],
        default="file",
        help="what a document is in plain text: the file (default), a line, a block between blank lines",
    )
    declare_reading(reading)
    reading.add_argument("--max-words", type=int, default=0, metavar="N", help="read N words of a document")
    reading.add_argument("--keep-duplicates", action="store_true", help="keep documents that come again")
    reading.add_argument("--strict", action="store_true", help="stop at the first row that cannot be used")
    _declare_making(parser.add_argument_group("making"))
    declare_engine(parser.add_argument_group("many machines"), "make shards on a Ray cluster")


def _declare_making(group: Any) -> None:
    group.add_argument(
        "--strategy",
        default="ind-orig",
        metavar="NAME",
        help="what sentences are scored by: ind-orig (default), ind-uniq, seq-orig, ..., random",
    )
    group.add_argument(
        "--sentences",
        choices=["authors", "careful"],
        default="authors",
        help="the sentence rule: the authors' (default), or one that knows abbreviations",
    )
    group.add_argument(
        "--words",
        choices=["ascii", "unicode"],
        default="ascii",
        help="the words that are counted: English (default), or any language, without stop words",
    )
    group.add_argument(
        "--passage-tokens",
        type=int,
        default=0,
        metavar="N",
        help="cut documents into passages of N tokens at most (default: documents stay whole)",
    )
    group.add_argument(
        "--passage-sentences",
        type=int,
        default=1,
        metavar="N",
        help="leave out passages of fewer sentences (default: 1)",
    )
    group.add_argument(
        "--shard-mb", type=float, default=16, metavar="MB", help="text in a shard (default: 16 MB)"
    )
    group.add_argument(
        "--processes", type=int, metavar="N", help="processes that make shards (default: one a core)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prepare the corpus, print its statistics and return the exit code."""
    from pegasus.data.prepare import prepare
    from pegasus.errors import BadSetting

    check_engine(arguments)
    processes = _cores() if arguments.processes is None else arguments.processes
    if processes < 1:
        raise BadSetting(f"--processes must be at least 1; found {processes}.")
    settings = _settings(arguments)
    from pegasus.cli.replacement import make_folder
    from pegasus.tokenization.auto import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    make_folder(arguments.output)
    manifest, progress = prepare(
        arguments.corpus,
        tokenizer,
        arguments.output,
        settings,
        processes=processes,
        engine=_engine(arguments),
        bad=None if arguments.strict else _namer(),
        report=_teller(quiet=arguments.quiet),
    )
    workers = "Ray" if arguments.engine else f"{processes} processes"
    _print_statistics(manifest, progress, workers)
    return OK


def _engine(arguments: argparse.Namespace) -> Engine | None:
    if arguments.engine is None:
        return None
    from pegasus.data.cluster import Actors, RayPool

    report = None if arguments.quiet else say
    return lambda make: RayPool(make, Actors(arguments.ray_actors), arguments.ray_address, report)


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def _settings(arguments: argparse.Namespace) -> PrepareSettings:
    from pegasus.data.gap import GapSettings
    from pegasus.data.prepare import PrepareSettings

    return PrepareSettings(
        gap=GapSettings(arguments.strategy, words=arguments.words),
        splitter=arguments.sentences,
        max_words=arguments.max_words,
        shard_bytes=int(arguments.shard_mb * 1e6),
        passage_tokens=arguments.passage_tokens,
        passage_sentences=arguments.passage_sentences,
        deduplicate=not arguments.keep_duplicates,
        column=arguments.column,
        unit=arguments.unit,
        format=arguments.input_format,
        encoding=arguments.encoding,
    )


def _namer() -> Callable[[BadData], None]:
    """Return what names the first rows that cannot be used; the statistics count all."""
    named = 0

    def name(fault: BadData) -> None:
        nonlocal named
        named += 1
        if named <= _NAMED_BAD_ROWS:
            say(f"left out: {fault}")
        elif named == _NAMED_BAD_ROWS + 1:
            say("more rows are left out; they are counted at the end")

    return name


def _teller(*, quiet: bool) -> Callable[[Progress], None] | None:
    if quiet:
        return None
    end = "\r" if sys.stderr.isatty() else "\n"

    def report(progress: Progress) -> None:
        speed = progress.text_bytes / 1e6 / max(progress.seconds, 1e-9)
        print(
            f"pegasus: {progress.shards:,} shards  {progress.documents:,} documents  "
            f"{progress.tokens:,} tokens  {speed:.1f} MB/s ",
            end=end,
            file=sys.stderr,
            flush=True,
        )

    return report


def _print_statistics(manifest: Manifest, progress: Progress, workers: str) -> None:
    found = manifest.statistics
    documents, tokens, megabytes = found["documents"], found["tokens"], found["text_bytes"] / 1e6
    lines = {
        "documents read": f"{found['documents_read']:,}",
        "bad rows left out": f"{found['bad_rows']:,}",
        "duplicates left out": f"{found['duplicates']:,}",
        "documents": f"{documents:,} ({found['one_sentence']:,} of one sentence)",
        "sentences": f"{found['sentences']:,} ({found['sentences'] / documents:.1f} a document)",
        "tokens": f"{tokens:,} ({tokens / documents:.0f} a document, {found['longest']:,} at most)",
        "text": f"{megabytes:.1f} MB ({found['text_bytes'] / max(tokens, 1):.2f} bytes a token)",
        "shards": f"{len(manifest.shards):,} ({progress.found:,} were there)",
        "time": f"{progress.seconds:.1f} s, {workers}",
    }
    if progress.scoring and progress.encoding and not progress.found:
        alone, tokens_alone = megabytes / progress.scoring, megabytes / progress.encoding
        work = progress.scoring + progress.encoding
        lines["speed of a core"] = (
            f"{documents / work:,.0f} documents/s, {megabytes / work:.1f} MB/s "
            f"(sentences and scores alone {alone:.1f} MB/s, tokens alone {tokens_alone:.1f} MB/s)"
        )
    for name, value in lines.items():
        print(f"{name:<20} {value}")
