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


def test_a_list_without_words_is_not_written(run, tmp_path):
    (tmp_path / "a.txt").write_text("The boats left.")
    ran = run("words", str(tmp_path / "a.txt"), "-o", str(tmp_path / "w"))
    assert ran.code == 1
    assert "No word in small letters comes 4 times or more" in ran.err
    assert not (tmp_path / "w").exists()


def test_where_a_list_cannot_be_written_is_said(run, tmp_path):
    (tmp_path / "a.txt").write_text("the the the the")
    ran = run("words", str(tmp_path / "none.txt"), "-o", str(tmp_path / "nowhere" / "w"))
    assert ran.code == 2  # before the texts are read
    assert f"There is no folder {tmp_path / 'nowhere'} to write" in ran.err
    (tmp_path / "folder").mkdir()
    ran = run("words", str(tmp_path / "a.txt"), "-o", str(tmp_path / "folder"))
    assert ran.code == 1
    assert f"{tmp_path / 'folder'} cannot be written: is a directory." in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "folder"]
