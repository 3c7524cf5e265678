"""pegasus words: the list that faithful summaries hold to."""

from __future__ import annotations


def test_a_list_is_written(run, tmp_path):
    (tmp_path / "a.txt").write_text("The boats left and the boats came back to the town.")
    (tmp_path / "b.jsonl").write_text('{"text": "the boats sank"}\n')
    listed = tmp_path / "common_words.txt"
    ran = run(
        "words", str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl"), "--least", "3", "-o", str(listed)
    )
    assert ran.code == 0
    assert listed.read_text() == "boats\nthe\n"
    assert "2 words" in ran.err


def test_a_senseless_number_is_refused(run, tmp_path):
    (tmp_path / "a.txt").write_text("a b")
    ran = run("words", str(tmp_path / "a.txt"), "--least", "0", "-o", str(tmp_path / "w"))
    assert ran.code != 0
    assert "--least must be at least 1; found 0" in ran.err
