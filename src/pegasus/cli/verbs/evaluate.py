"""Grade a model on documents with summaries, beside baselines on the same rows.

FILE has one pair a row: JSON lines, JSON, CSV, TSV, Parquet or Arrow, packed or not; - is stdin. Columns
are found by themselves:
`document` and `summary`, or what other data sets call them. Where a row has several references
(`summaries`), the best one counts. Scores are ROUGE F1 times 100 with 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from pegasus.cli.exits import OK, PARTLY, say, visible, visible_json
from pegasus.cli.model_options import (
    check_backend,
    check_threads,
    declare_backend,
    declare_batch_size,
    declare_device,
    declare_dtype,
    declare_name,
    declare_threads,
)
from pegasus.cli.reading_options import declare_reading

if TYPE_CHECKING:
    from pegasus.cli.progress import Bar
    from pegasus.evaluation.evaluate import Evaluation

_EXAMPLES = """\
examples:
  pegasus evaluate --data test.jsonl --limit 100
  pegasus evaluate --model runs/mine/model --data test.jsonl.xz --output report/
  pegasus evaluate --no-model --data test.jsonl --json
  pegasus evaluate --model google/pegasus-xsum --data hub:xsum@test --task xsum
"""


def declare(parser: argparse.ArgumentParser) -> None:
    """Declare this verb's options."""
    parser.epilog = _EXAMPLES
    rows = parser.add_argument_group("the rows")
    rows.add_argument(
        "--data", required=True, metavar="FILE", help="the pairs: a file, a folder, -, hub:NAME"
    )
    rows.add_argument("--document", metavar="COLUMN", help="the column of the document")
    rows.add_argument("--summary", metavar="COLUMN", help="the column of the summary")
    declare_reading(rows)
    rows.add_argument("--limit", type=int, metavar="N", help="grade the first N rows")
    rows.add_argument(
        "--words",
        choices=["ascii", "unicode"],
        default="ascii",
        help="what ROUGE takes for words: runs of a-z and 0-9 (the default, as published scores do), or "
        "words of any alphabet",
    )
    results = parser.add_argument_group("results")
    results.add_argument("--json", action="store_true", help="print one JSON object")
    results.add_argument(
        "-o", "--output", metavar="DIR", help="write scores, every row and a report with plots there"
    )
    results.add_argument("--task", metavar="NAME", help="print the paper's scores for its task beside")
    _declare_model(parser.add_argument_group("the model"))


def _declare_model(group: Any) -> None:
    declare_name(group)
    group.add_argument("--no-model", action="store_true", help="grade the baselines alone")
    group.add_argument("--num-beams", type=int, metavar="N", help="beams of the search")
    group.add_argument(
        "--long",
        choices=["truncate", "chunk", "extend"],
        default="truncate",
        help="a document longer than the model takes: only its beginning (the default, as published scores "
        "do), all of it in pieces, or all at once with untrained positions",
    )
    declare_backend(group)
    declare_device(group)
    declare_dtype(group)
    declare_batch_size(group)
    declare_threads(group)


def run(arguments: argparse.Namespace) -> int:
    """Grade everything and return the exit code."""
    from pegasus.cli.progress import Bar
    from pegasus.cli.replacement import make_folder
    from pegasus.data.tasks import find_task
    from pegasus.errors import BadSetting

    if arguments.limit is not None and arguments.limit < 1:
        raise BadSetting(f"--limit must be at least 1; found {arguments.limit}.")
    check_backend(arguments.backend)
    check_threads(arguments.threads)
    task = None if arguments.task is None else find_task(arguments.task)
    if arguments.output is not None:
        make_folder(arguments.output)
    evaluation = _evaluation(arguments, Bar.on_stderr(quiet=arguments.quiet))
    if arguments.json:
        print(visible_json(json.dumps(evaluation.to_dict(), ensure_ascii=False)))
    else:
        _print_tables(evaluation, task)
    if arguments.output is not None:
        from pegasus.cli.streams import naming
        from pegasus.evaluation.report import write_report

        with naming(arguments.output):
            write_report(evaluation, arguments.output, task)
    failed = sum(len(graded.failed) for graded in evaluation.systems.values())
    if failed:
        say(f"{failed} rows ended in an error and count as empty summaries")
    if evaluation.several and not arguments.quiet:
        say(f"{evaluation.several} rows have several references: the best one counts in each")
    return PARTLY if failed else OK


def _evaluation(arguments: argparse.Namespace, bar: Bar) -> Evaluation:
    from pegasus.data.columns import Columns
    from pegasus.data.read import read_pairs
    from pegasus.evaluation.evaluate import evaluate

    columns = Columns(arguments.document, arguments.summary)
    found = read_pairs(
        [arguments.data], columns=columns, format=arguments.input_format, encoding=arguments.encoding
    )
    pairs = list(_first(found, arguments.limit))
    settings: dict[str, Any] = {
        "long": arguments.long,
        "batch_size": arguments.batch_size,
        "num_beams": arguments.num_beams,
        "check": False,
        "unknown": "warn",  # every row counts, whatever the model makes of it
    }
    writer = None
    if not arguments.no_model:
        from pegasus.summarizer import Summarizer

        with bar.waiting(f"opening {arguments.model}"):
            writer = Summarizer.from_pretrained(
                arguments.model,
                backend=arguments.backend,
                device=arguments.device,
                dtype=arguments.dtype,
                threads=arguments.threads,
            )
    name = "" if arguments.no_model else arguments.model
    with bar:
        return evaluate(
            pairs,
            writer,
            model=name,
            data=arguments.data,
            words=arguments.words,
            report=lambda what, done, total: bar.show(done, total),
            **(settings if writer is not None else {}),
        )


def _first(rows: Any, limit: int | None) -> Any:
    from itertools import islice

    return islice(rows, limit)


def _print_tables(evaluation: Evaluation, task: Any) -> None:
    from pegasus.evaluation.report import notes, tables

    for title, table in tables(evaluation, task).items():
        widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
        print(f"{title}")
        for name, *cells in table:
            numbers = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:]))
            print(f"  {name:<{widths[0]}}  {'  '.join(numbers)}")
        print()
    for note in notes(evaluation, task):
        print(visible(note))
