from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pegasus.data.records import Pair
from pegasus.data.tasks import find_task
from pegasus.errors import BadData, PegasusError
from pegasus.evaluation.evaluate import Evaluation, evaluate
from pegasus.evaluation.plots import histogram
from pegasus.evaluation.report import examples, html, markdown, write_report
from pegasus.evaluation.rouge import KINDS
from pegasus.summarizer.characters import Unknown

pytest.importorskip("rouge_score")

PAIRS = [
    Pair(
        f"The {word} sat on the mat. A dog <ran> by. Nobody {word} saw it.",
        (f"The {word} sat.",),
        word,
        "f",
        row,
    )
    for row, word in enumerate(("cat", "cow", "hen", "fox", "owl"))
]


@dataclass
class Said:
    text: str


class Echo:
    """Repeats the first three words; fails on request."""

    def __init__(self, failing: str = "none") -> None:
        self.failing = failing
        self.settings: dict[str, Any] = {}

    def attempt(self, texts: Sequence[str], *, progress: Any = None, **settings: Any) -> list[Any]:
        self.settings = settings
        progress(len(texts), len(texts))
        return [
            PegasusError("no") if self.failing in text else Said(" ".join(text.split()[:3]) + ".")
            for text in texts
        ]


def graded(**options: Any) -> Evaluation:
    return evaluate(PAIRS, Echo(), model="echo", data="five.jsonl", baselines=("lead", "first"), **options)


def test_the_model_and_baselines_on_the_same_rows() -> None:
    found = graded().to_dict()
    assert set(found) == {"model", "data", "rows", "scores"}
    assert (found["model"], found["data"], found["rows"]) == ("echo", "five.jsonl", 5)
    assert list(found["scores"]) == ["model", "lead", "first"]
    assert set(found["scores"]["lead"]) == set(KINDS)
    assert found["scores"]["model"]["rouge1"] == {"mid": 100.0, "low": 100.0, "high": 100.0}
    assert found["scores"]["lead"]["rouge1"]["mid"] == 100  # cut to three words, the references' mean
    json.dumps(found)


def test_no_row_is_dropped_and_limits_are_kept() -> None:
    assert [len(graded(limit=limit).pairs) for limit in (1, 4, None, 9)] == [1, 4, 5, 5]
    with pytest.raises(BadData, match="no row"):
        evaluate([], None)


def test_settings_reach_the_model_and_progress_is_told() -> None:
    writer, told = Echo(), []
    evaluate(
        PAIRS, writer, baselines=(), report=lambda *what: told.append(what), num_beams=3, long="truncate"
    )
    assert writer.settings == {"num_beams": 3, "long": "truncate"}
    assert told == [("summarizing", 5, 5)]


def test_rows_that_fail_count_as_empty_texts() -> None:
    found = evaluate(PAIRS, Echo("cow"), baselines=())
    assert found.systems["model"].failed == {1: "no"}
    assert found.systems["model"].texts[1] == ""
    assert found.systems["model"].scores["rouge1"].mid == pytest.approx(80, abs=1)
    assert "1 rows of model ended in an error" in markdown(found)


def test_several_references_are_said_so() -> None:
    pairs = [Pair(pair.document, (*pair.summaries, "Something else.")) for pair in PAIRS[:2]] + PAIRS[2:]
    found = evaluate(pairs, Echo(), baselines=())
    assert found.several == 2
    assert found.systems["model"].scores["rougeL"].mid == 100
    assert "2 rows have several references" in markdown(found)


def test_baselines_alone() -> None:
    found = evaluate(PAIRS, None, baselines=("first",))
    assert list(found.systems) == ["first"]
    assert markdown(found).startswith("# Baselines on")


def test_a_report_in_four_files(tmp_path: Path) -> None:
    found = graded()
    files = write_report(found, tmp_path / "report", find_task("aeslc"))
    assert [file.name for file in files] == ["scores.json", "examples.jsonl", "report.md", "report.html"]
    rows = [json.loads(line) for line in files[1].read_text("utf-8").splitlines()]
    assert len(rows) == 5
    assert rows[1]["id"] == "cow"
    assert rows[1]["systems"]["first"]["text"] == "The cow sat"
    assert rows[1]["systems"]["model"]["scores"]["rouge1"] == 100
    stored = json.loads(files[0].read_text("utf-8"))
    assert stored["scores"] == found.to_dict()["scores"]
    assert stored["measures"]["model"]["words"] == 3
    text = files[2].read_text("utf-8")
    assert "| model | 100.00 (100.00–100.00) |" in text
    assert "| PEGASUS base | 34.85 | 18.94 | 34.10 |" in text


class Balanced(HTMLParser):
    """Checks that every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_texts_are_escaped() -> None:
    page = html(graded(), find_task("xsum"))
    checker = Balanced()
    checker.feed(page)
    assert checker.open == []
    assert "A dog &lt;ran&gt;" not in page.split("<style>")[0]
    assert "<ran>" not in page
    for picture in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + picture.split("</svg>")[0] + "</svg>")
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_a_histogram_of_equal_or_few_values() -> None:
    for values in ([5.0], [0.0, 0.0], [1.0, 100.0]):
        ElementTree.fromstring(histogram({"one": values, "none": []}, "words"))


def test_each_row_is_told_with_everything() -> None:
    row = next(examples(graded()))
    assert set(row) == {"id", "line", "summaries", "systems"}
    assert set(row["systems"]["lead"]) == {"text", "scores", "measures"}


def test_documents_in_characters_that_the_vocabulary_lacks_are_told_of() -> None:
    class Reads:
        def attempt(self, texts: Sequence[str], *, progress: Any = None, **settings: Any) -> list[Any]:
            found = [Unknown(2, 0.1, 0.1, ("Łódź",)) if "cow" in text else Unknown() for text in texts]
            return [SimpleNamespace(text="The cat sat.", unknown=each) for each in found]

    found = evaluate(PAIRS, Reads(), model="m", data="five.jsonl", baselines=("lead",))
    assert found.to_dict()["unknown"]["texts"] == 1
    assert found.to_dict()["unknown"]["examples"] == ["Łódź"]
    assert "1 of 5 documents hold characters that the vocabulary lacks: " in markdown(found)
    assert "unknown" not in graded().to_dict()  # a model that says nothing of it


def test_texts_are_text_in_the_report_not_markup(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)> **bold** [a](b) `c` | d & e"
    rows = [Pair(f"{evil} is the document.", (f"- {evil}\n# head",), id="<i>|1") for _ in range(3)]
    found = evaluate(rows, model="m|<b>", data="\x1b[2J*d*", baselines=["lead"])
    report = markdown(found)
    assert "<" not in report
    assert "\x1b" not in report
    assert "&lt;img src=x onerror=alert(1)&gt; \\*\\*bold\\*\\* \\[a\\](b) \\`c\\` \\| d &amp; e" in report
    assert "> \\- &lt;img" in report
    assert "> \\# head" in report
    assert report.startswith("# m\\|&lt;b&gt; on \\[2J\\*d\\*\n")
