from __future__ import annotations

import json
import os
import sys

import pytest

from pegasus.summarizer import Summarizer

TEXT = "Alpha beta gamma delta epsilon zeta."
LONG = " ".join(f"W{n} x{n} y{n} z{n} end{n}." for n in range(40))


@pytest.fixture
def notes(tmp_path):
    for name, text in (("a.txt", TEXT), ("b.txt", "One two three four."), ("long.txt", LONG)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_piped_text_gives_its_summary_and_nothing_else(run) -> None:
    ran = run("summarize", stdin=TEXT.encode())
    assert (ran.code, ran.out, ran.err) == (0, "Alpha beta gamma\n", "")
    assert run("summarize", "-", stdin=TEXT.encode()).out == ran.out


def test_one_file_gives_its_summary_several_give_headings(run, notes) -> None:
    assert run("summarize", "a.txt").out == "Alpha beta gamma\n"
    both = run("summarize", "a.txt", "b.txt")
    assert both.out == "==> a.txt <==\nAlpha beta gamma\n\n==> b.txt <==\nOne two\n\n"
    assert run.opened == 2


def test_help_where_there_is_nothing_to_read(run) -> None:
    ran = run("summarize", terminal=True)
    assert ran.code == 2
    assert ran.err.startswith("usage: pegasus summarize")
    assert run().out.startswith("usage: pegasus")
    assert run().code == 0


def test_json_of_one_text_is_an_object_and_of_several_a_list(run, notes) -> None:
    one = json.loads(run("summarize", "a.txt", "--format", "json").out)
    assert one["file"] == "a.txt"
    assert one["summary"] == "Alpha beta gamma"
    assert (one["input_tokens"], one["truncated"], one["finish_reason"], one["long"]) == (
        7,
        False,
        "eos",
        "whole",
    )
    assert one["model"] == "pegasus-mini"
    several = json.loads(run("summarize", "a.txt", "b.txt", "--format", "json").out)
    assert [each["file"] for each in several] == ["a.txt", "b.txt"]
    assert json.loads(run("summarize", "none.jsonl", "--format", "json").out)[0]["error"]


def test_rows_give_a_line_each_in_order_with_their_ids(run, notes) -> None:
    rows = [
        {"id": f"n{n}", "body": "Word " * (n % 7 + 3) + "end."}
        if n % 2
        else {"body": f"W{n} two three four."}
        for n in range(200)
    ]
    (notes / "news.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")
    ran = run("summarize", "news.jsonl", "--column", "body", "--batch-size", "4")
    told = lines(ran.out)
    assert ran.code == 0
    assert [each["line"] for each in told] == list(range(1, 400, 2))
    assert [each["id"] for each in told] == [f"n{n}" if n % 2 else 2 * n + 1 for n in range(200)]
    assert told[10]["summary"] == "W10 two"


def test_columns_are_found_by_name(run, notes) -> None:
    (notes / "x.jsonl").write_text('{"title": "T", "document": "One two three four."}\n', encoding="utf-8")
    assert lines(run("summarize", "x.jsonl").out)[0]["summary"] == "One two"
    stdin = b'{"title": "Five six seven eight."}\n'
    assert lines(run("summarize", "--column", "title", stdin=stdin).out)[0]["summary"] == "Five six"


def test_rows_as_text_are_one_line_each(run, notes, writer, standin) -> None:
    writer.says = lambda job: [job.tokens[0], standin.NEWLINE, job.tokens[1]]
    (notes / "x.jsonl").write_text('{"text": "one two and much more"}\n{}\n' * 2, encoding="utf-8")
    ran = run("summarize", "x.jsonl", "--format", "text")
    assert ran.out == "one two\n\n" * 2
    assert ran.code == 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b'{"text": "A b', "news.jsonl:2: This is no JSON (Unterminated string"),
        (b'{"text": 5}', "news.jsonl:2: Column 'text' is a number: a text is needed."),
        (b'{"text": null}', "news.jsonl:2: Column 'text' is missing: a text is needed."),
        (b'{"text": " "}', "news.jsonl:2: Column 'text' is empty: a text is needed."),
        (b'{"title": "A"}', "the columns are 'title'. Name the one that is: with --column"),
        (b"[1, 2]", 'news.jsonl:2: A row must be an object such as {"text": "..."}, this is a list.'),
        (
            b'{"text": "caf\xe9"}',
            "news.jsonl:2: This is not UTF-8 (byte 0xe9 at 13). It looks like Windows-1252",
        ),
        (b"[" * 100_000, "news.jsonl:2: This is no JSON"),
    ],
)
def test_a_bad_row_is_named_and_keeps_its_line(run, notes, row, said) -> None:
    good = json.dumps({"id": "g", "text": TEXT}).encode()
    (notes / "news.jsonl").write_bytes(b"\n".join([good, row, good]))
    ran = run("summarize", "news.jsonl")
    first, bad, last = lines(ran.out)
    assert ran.code == 3
    assert first["summary"] == last["summary"] == "Alpha beta gamma"
    assert bad["line"] == 2
    assert said in bad["error"]
    assert f"pegasus: {bad['error']}\n" == ran.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "x.txt: It holds no text: there is nothing to read."),
        (b" \n\t\n", "x.txt: It holds no text: there is nothing to read."),
        (bytes(range(256)) * 40, "x.txt: This looks like binary data, not text."),
        (b"A text with a zero\0 in it.", "x.txt: This looks like binary data, not text."),
        (b"%PDF-1.7 ...", "x.txt: It cannot be read as PDF"),
        (b"\x89PNG\r\n", "x.txt: This is a PNG image: only text is read."),
        (
            "Un café s'il vous plaît.".encode("latin1"),
            "x.txt: This is not UTF-8 (byte 0xe9 at 6). It looks like Windows-1252",
        ),
    ],
)
def test_files_that_are_no_text_are_told_without_opening_a_model(run, notes, content, said) -> None:
    (notes / "x.txt").write_bytes(content)
    ran = run("summarize", "x.txt")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"pegasus: {said}")
    assert ran.err.count("\n") == 1
    assert run.opened == 0


def test_one_bad_file_does_not_stop_the_others(run, notes) -> None:
    (notes / "empty").mkdir()
    ran = run("summarize", "a.txt", "none.txt", "empty", "b.txt")
    assert ran.code == 3
    assert ran.out.count("==>") == 2
    none, empty = ran.err.splitlines()
    assert none == "pegasus: none.txt: There is no such file or folder. Check the path."
    assert empty.startswith("pegasus: empty: The folder has no file that is read: .txt, ")


def test_marks_of_encodings_are_understood(run, notes) -> None:
    (notes / "bom.txt").write_text(TEXT, encoding="utf-8-sig")
    (notes / "wide.txt").write_text(TEXT, encoding="utf-16")
    assert run("summarize", "bom.txt").out == run("summarize", "wide.txt").out == "Alpha beta gamma\n"


def test_a_cut_is_told_even_when_quiet(run, notes) -> None:
    ran = run("summarize", "long.txt", "--long", "truncate", "--quiet")
    assert ran.code == 0
    assert ran.err == (
        "pegasus: long.txt: 169 of 201 tokens were left out (--long chunk reads all of them)\n"
    )


def test_reading_in_pieces_is_told_unless_quiet(run, notes) -> None:
    ran = run("summarize", "long.txt")
    told = "201 tokens read in 7 pieces, their summaries joined and summarized again, twice"
    assert ran.err == f"pegasus: long.txt: {told}\n"
    assert run("summarize", "long.txt", "-q").err == ""


def test_too_long_is_an_error_where_that_was_asked_for(run, notes) -> None:
    ran = run("summarize", "a.txt", "long.txt", "--long", "error")
    assert ran.code == 3
    assert ran.err.startswith("pegasus: long.txt: The text has 201 tokens and the model takes 32: set ")


def test_warnings_are_told_on_stderr(run, notes, writer) -> None:
    writer.says = lambda job: []
    ran = run("summarize", "a.txt", "--sentences", "2", "--format", "json")
    warnings = json.loads(ran.out)["warnings"]
    assert warnings == ["empty: the model wrote nothing", "sentences: 2 asked for, the model wrote 0"]
    assert ran.err == f"pegasus: a.txt: warning: {'; '.join(warnings)}\n"


def test_explanations_are_printed_below(run, notes) -> None:
    assert run("summarize", "a.txt", "--explain").out == (
        "Alpha beta gamma\n\n  1. Alpha beta gamma\n     100%  Alpha beta gamma delta epsilon zeta.\n\n"
    )
    told = json.loads(run("summarize", "a.txt", "--explain", "--format", "json").out)["explanation"]
    assert told[0]["support"][0]["text"] == TEXT


def test_options_reach_the_settings(run, notes, writer) -> None:
    run("summarize", "a.txt", "--num-beams", "3", "--length-penalty", "0.6", "--no-repeat-ngram-size", "2")
    assert writer.asked == [{"num_beams": 3, "length_penalty": 0.6, "no_repeat_ngram_size": 2}]
    run("summarize", "a.txt", "--length", "short")
    assert writer.batches[-1][0].budget.most == 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--length", "tiny"], "length='tiny' is no length"),
        (["--sentences", "0"], "sentences must be"),
        (["--batch-size", "0"], "batch_size must be"),
        (["--threads", "0"], "--threads must be"),
        (["-", "-"], "stdin can be read only once"),
        (["--beams", "3"], "unrecognized arguments: --beams"),
        (["--long", "cut"], "invalid choice: 'cut'"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_done(run, notes, options, said) -> None:
    ran = run("summarize", "a.txt", *options)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert run.opened == 0


def test_an_output_file_holds_what_stdout_would(run, notes) -> None:
    ran = run("summarize", "a.txt", "b.txt", "-o", "all.txt")
    assert (ran.code, ran.out) == (0, "")
    assert (notes / "all.txt").read_text() == run("summarize", "a.txt", "b.txt").out
    run("summarize", "a.txt", "-o", "a.json")
    assert json.loads((notes / "a.json").read_text())["summary"] == "Alpha beta gamma"
    run("summarize", "a.txt", "b.txt", "-o", "all.jsonl")
    assert [each["file"] for each in lines((notes / "all.jsonl").read_text())] == ["a.txt", "b.txt"]


def test_an_output_folder_holds_a_file_for_each_input(run, notes) -> None:
    (notes / "rows.jsonl").write_text('{"text": "One two three four."}\n' * 3)
    ran = run("summarize", "a.txt", "none.txt", "rows.jsonl", "-o", "out/", "--format", "json")
    assert ran.code == 3
    assert sorted(path.name for path in (notes / "out").iterdir()) == [
        "a.summary.json",
        "none.summary.json",
        "rows.summary.json",
    ]
    assert json.loads((notes / "out" / "a.summary.json").read_text())["summary"] == "Alpha beta gamma"
    assert len(json.loads((notes / "out" / "rows.summary.json").read_text())) == 3
    run("summarize", "a.txt", "none.txt", "-o", "text/")
    assert [path.name for path in (notes / "text").iterdir()] == ["a.summary.txt"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.txt", "-o", "b.txt"], "b.txt exists already: add --overwrite to replace it."),
        (["a.txt", "-o", "a.txt", "--overwrite"], "a.txt is one of the inputs: name another output."),
        (["a.txt", "-o", "none/x.txt"], "There is no folder none to write none/x.txt into: make it first."),
        (["a.txt", "sub/a.txt", "-o", "out/"], "would both be written to out/a.summary.txt"),
    ],
)
def test_outputs_that_would_lose_something_are_refused(run, notes, arguments, said) -> None:
    ran = run("summarize", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert run.opened == 0
    assert (notes / "a.txt").read_text() == TEXT


def test_outputs_are_replaced_when_asked(run, notes) -> None:
    assert run("summarize", "a.txt", "-o", "b.txt", "--overwrite").code == 0
    assert (notes / "b.txt").read_text() == "Alpha beta gamma\n"


def test_what_is_interrupted_leaves_no_file(run, notes, writer) -> None:
    def interrupted(job):
        raise KeyboardInterrupt

    writer.says = interrupted
    before = sorted(notes.iterdir())
    ran = run("summarize", "a.txt", "-o", "out.txt")
    assert (ran.code, ran.err) == (130, "pegasus: stopped\n")
    assert sorted(notes.iterdir()) == before


def test_an_unexpected_error_is_one_line_and_a_traceback_only_on_request(run, notes, writer) -> None:
    def broken(job):
        raise RuntimeError("CUDA out of memory.\nmore")

    writer.says = broken
    ran = run("summarize", "a.txt")
    assert ran.code == 1
    assert ran.err == "pegasus: unexpected RuntimeError: CUDA out of memory. (--debug shows where)\n"
    assert "Traceback" in run("summarize", "a.txt", "--debug").err


def test_a_closed_pipe_ends_quietly(run, notes, monkeypatch) -> None:
    (notes / "rows.jsonl").write_text('{"text": "One two three four."}\n')

    reader, end = os.pipe()
    os.close(reader)
    with os.fdopen(end, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        ran = run("summarize", "rows.jsonl")
    assert (ran.code, ran.err) == (141, "")


def test_lone_surrogates_do_not_stop_the_rest(run, notes) -> None:
    (notes / "rows.jsonl").write_text(
        '{"text": "\\ud800 two three four."}\n{"text": "One two three four."}\n'
    )
    ran = run("summarize", "rows.jsonl")
    assert ran.code == 0
    assert [each["summary"] for each in lines(ran.out)] == ["\ufffd two", "One two"]


def test_the_model_may_come_from_the_environment(run, notes, monkeypatch) -> None:
    monkeypatch.setenv("PEGASUS_MODEL", "mine")
    assert json.loads(run("summarize", "a.txt", "--format", "json").out)["model"] == "mine"
    assert json.loads(run("summarize", "a.txt", "--format", "json", "-m", "x").out)["model"] == "x"


def test_rows_are_held_a_window_at_a_time(run, notes, monkeypatch) -> None:
    held = []
    stream = Summarizer.stream

    def counted(self, texts, **settings):
        held.append(len(texts))
        return stream(self, texts, **settings)

    monkeypatch.setattr(Summarizer, "stream", counted)
    (notes / "rows.jsonl").write_text('{"text": "One two three four."}\n' * 50)
    ran = run("summarize", "rows.jsonl", "--batch-size", "4")
    assert len(lines(ran.out)) == 50
    assert held == [16, 16, 16, 2]
