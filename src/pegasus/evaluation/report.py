"""An evaluation on paper: every row as JSON lines, and a short report in Markdown and in HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pegasus.data.tasks import Task
from pegasus.evaluation.evaluate import Evaluation
from pegasus.evaluation.measures import measure
from pegasus.evaluation.plots import bars, histogram
from pegasus.evaluation.rouge import KINDS, Interval
from pegasus.tokenization.segmentation.surrogates import mend_surrogates

#: Measures that a report shows, with their headings.
_SHOWN = {
    "words": "words",
    "compression": "compression",
    "new1": "new words",
    "new2": "new pairs",
    "regs2": "repeated pairs",
    "tcr": "stutter",
    "coverage": "coverage",
    "density": "density",
}
_EXAMPLES = 3
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What Markdown takes for emphasis, code, links, tables and headings, and for lists at the start of a line.
_MARKUP = re.compile(r"[\\`*\[\]|~#]|(?<!\w)_|_(?!\w)")
_STARTS = re.compile(r"^(\d{0,9})([-+=.)])(?=\s|$|[-=])")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2321}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;border-bottom:1px solid #ddd;"
    "text-align:right}td:first-child,th:first-child{text-align:left}"
    "blockquote{border-left:3px solid #0b6e4f;margin:.5rem 0;padding-left:1rem;"
    "white-space:pre-wrap}small{color:#666}svg{max-width:100%;height:auto}"
)


def write_report(evaluation: Evaluation, folder: str | Path, task: Task | None = None) -> list[Path]:
    """Write `scores.json`, `examples.jsonl`, `report.md` and `report.html` into a folder.

    Args:
        evaluation: what was found.
        folder: made where it is not there.
        task: whose published scores stand beside.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "scores.json": json.dumps(_scores(evaluation), indent=2, ensure_ascii=False) + "\n",
        "examples.jsonl": "".join(
            json.dumps(row, ensure_ascii=False) + "\n" for row in examples(evaluation)
        ),
        "report.md": markdown(evaluation, task),
        "report.html": html(evaluation, task),
    }
    for name, content in files.items():
        (folder / name).write_text(mend_surrogates(content), "utf-8")
    return [folder / name for name in files]


def examples(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield every row with all texts, their scores (F1 times 100) and measures."""
    for number, pair in enumerate(evaluation.pairs):
        systems = {}
        for name, graded in evaluation.systems.items():
            systems[name] = {
                "text": graded.texts[number],
                "scores": {kind: round(100 * graded.rows[number][kind], 2) for kind in KINDS},
                "measures": measure(pair.document, graded.texts[number]),
            }
            if number in graded.failed:
                systems[name]["error"] = graded.failed[number]
        yield {"id": pair.id, "line": pair.line, "summaries": list(pair.summaries), "systems": systems}


def tables(evaluation: Evaluation, task: Task | None) -> dict[str, list[list[str]]]:
    """Return the tables of a report by title; the first row of each is its heading."""
    scores = [["system", *KINDS]]
    for name, graded in evaluation.systems.items():
        scores.append([name, *(_interval(graded.scores[kind]) for kind in KINDS)])
    measures = [["system", *_SHOWN.values()]]
    rows = {**{name: graded.measures for name, graded in evaluation.systems.items()}}
    for name, found in {**rows, "references": evaluation.references}.items():
        measures.append([name, *(_number(found[key]) for key in _SHOWN)])
    found_tables = {"Scores": scores, "Texts": measures}
    if task is not None:
        found_tables[f"Published for {task.name}"] = published(task)
    return found_tables


def published(task: Task) -> list[list[str]]:
    """Return the published scores of a task as a table."""
    last = "rougeLsum" if task.name == "cnn_dailymail" else "rougeL"
    named = {
        "PEGASUS large, C4": task.published.c4,
        "PEGASUS large, HugeNews": task.published.huge_news,
        "PEGASUS large, mixed, stochastic": task.published.mixed,
        "PEGASUS base": task.published.base,
        "Transformer base": task.published.transformer,
    }
    rows = [[name, *(f"{value:.2f}" for value in triple)] for name, triple in named.items()]
    return [["system", "rouge1", "rouge2", last], *rows]


def notes(evaluation: Evaluation, task: Task | None) -> list[str]:
    """Return what a reader has to know about the numbers."""
    found = [
        f"{len(evaluation.pairs)} rows of {evaluation.data}; F1 × 100 with 95 % bootstrap intervals "
        "(1,000 resamples, fixed seed), rouge-score with stemming. ROUGE-Lsum takes lines for sentences.",
        f"Baselines are cut to {evaluation.reference_words:.0f} words, the mean of the references.",
    ]
    if evaluation.several:
        found.append(f"{evaluation.several} rows have several references: the best one counts in each.")
    if evaluation.unknown.holding:
        found.append(f"{evaluation.unknown.line('documents')}.")
    for name, graded in evaluation.systems.items():
        if graded.failed:
            found.append(f"{len(graded.failed)} rows of {name} ended in an error and count as empty texts.")
    if task is not None:
        found.append(
            "Published scores are on the whole test split, with references cut to the target length."
            + (f" Note: {task.note}." if task.note else "")
        )
    return found


def markdown(evaluation: Evaluation, task: Task | None = None) -> str:
    """Return the report as Markdown."""
    lines = [f"# {_plain(evaluation.model or 'Baselines')} on {_plain(evaluation.data)}", ""]
    lines += [f"- {_plain(note)}" for note in notes(evaluation, task)]
    for title, table in tables(evaluation, task).items():
        head, *rows = table
        lines += [
            "",
            f"## {title}",
            "",
            _cells(map(_plain, head)),
            _cells(["---"] + ["---:"] * (len(head) - 1)),
        ]
        lines += [_cells(map(_plain, row)) for row in rows]
    for title, number in _picked(evaluation):
        lines += ["", f"## {title}: row {_plain(evaluation.pairs[number].id)}", ""]
        for name, text in _texts(evaluation, number).items():
            quoted = (f"> {_plain(line)}" for line in text.splitlines() or [""])
            lines += [f"**{_plain(name)}**", "", *quoted, ""]
    return "\n".join(lines).rstrip() + "\n"


def html(evaluation: Evaluation, task: Task | None = None) -> str:
    """Return the report as one HTML page that needs nothing else."""
    title = escape(f"{evaluation.model or 'Baselines'} on {evaluation.data}")
    parts = [
        f"<h1>{title}</h1>",
        *(f"<p><small>{escape(note)}</small></p>" for note in notes(evaluation, task)),
    ]
    scores = {name: graded.scores for name, graded in evaluation.systems.items()}
    lengths = {
        name: [len(text.split()) for text in graded.texts] for name, graded in evaluation.systems.items()
    }
    lengths["references"] = [len(pair.summary.split()) for pair in evaluation.pairs]
    drawn = {
        "Scores": bars(scores, "ROUGE by system"),
        "Texts": "<p>Words of a text:</p>" + histogram(lengths, "lengths in words"),
    }
    for heading, table in tables(evaluation, task).items():
        parts += [f"<h2>{escape(heading)}</h2>", _html_table(table), drawn.get(heading, "")]
    for heading, number in _picked(evaluation):
        parts.append(f"<h2>{escape(heading)}: row {escape(evaluation.pairs[number].id)}</h2>")
        for name, text in _texts(evaluation, number).items():
            parts.append(f"<p><b>{escape(name)}</b></p><blockquote>{escape(text)}</blockquote>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    return {
        **evaluation.to_dict(),
        "measures": {name: dict(graded.measures) for name, graded in evaluation.systems.items()},
        "references": dict(evaluation.references),
        "reference_words": evaluation.reference_words,
        "rows_with_several_references": evaluation.several,
        "failed": {name: len(graded.failed) for name, graded in evaluation.systems.items()},
    }


def _picked(evaluation: Evaluation) -> list[tuple[str, int]]:
    """A good row, a middling one and a poor one, by ROUGE-1 of the first system."""
    system = next(iter(evaluation.systems.values()))
    order = sorted(range(len(system.rows)), key=lambda number: system.rows[number]["rouge1"])
    places = {"A good one": -1, "A middling one": len(order) // 2, "A poor one": 0}
    if len(order) < _EXAMPLES:
        return [("The row", number) for number in order]
    return [(title, order[place]) for title, place in places.items()]


def _texts(evaluation: Evaluation, number: int) -> Mapping[str, str]:
    name, system = next(iter(evaluation.systems.items()))
    return {name: system.texts[number], "reference": evaluation.pairs[number].summary}


def _interval(interval: Interval) -> str:
    return f"{interval.mid:.2f} ({interval.low:.2f}–{interval.high:.2f})"


def _number(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _plain(text: str) -> str:
    """A text in Markdown as it is: no HTML, no markup, no control characters, one line."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    line = _MARKUP.sub(r"\\\g<0>", line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return _STARTS.sub(r"\1\\\2", line)


def _cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _html_table(table: Sequence[Sequence[str]]) -> str:
    head, *rows = table
    first = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    rest = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{first}</tr>{rest}</table>"
