"""What can be wrong with a file or a row is one sentence with its place, and ends nothing else."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pegasus.data.columns import Columns
from pegasus.data.read import Reading, find_sources, read_documents, read_pairs, read_texts
from pegasus.data.reading import json_rows, lines, plain, streams, tables
from pegasus.data.reading.cleaning import clean_id, clean_text
from pegasus.data.reading.encodings import check_encoding, find_encoding
from pegasus.errors import BadData, BadSetting

ORDINARY = "The orchard was sold in June; the buyer, a baker, kept every tree."


def found(file: Path | str, **reading: Any) -> list[Any]:
    (source,) = find_sources([file], Reading(**reading))
    return list(read_texts(source))


def texts(file: Path | str, **reading: Any) -> list[Any]:
    return [each.text for each in found(file, **reading)]


def zst(data: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(data))


# -- encodings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("kind", ["text", "jsonl", "csv"])
def test_wide_encodings_are_recognized_marked_or_not(tmp_path: Path, encoding: str, kind: str) -> None:
    content = {
        "text": ORDINARY + " Café.",
        "jsonl": json.dumps({"text": ORDINARY + " Café."}, ensure_ascii=False) + "\n",
        "csv": f'n,text\n1,"{ORDINARY} Café."\n',
    }[kind]
    file = tmp_path / f"x.{kind if kind != 'text' else 'txt'}"
    file.write_bytes(content.encode(encoding))
    assert texts(file) == [ORDINARY + " Café."]


@pytest.mark.parametrize("kind", ["text", "jsonl", "csv", "json"])
def test_windows_1252_is_advised_and_read(tmp_path: Path, kind: str) -> None:
    said = "It’s “open” – daily, says Zoë."
    content = {
        "text": said,
        "jsonl": json.dumps({"text": said}, ensure_ascii=False),
        "json": json.dumps([{"text": said}], ensure_ascii=False),
        "csv": f'n,text\n1,"{said}"\n',
    }[kind]
    file = tmp_path / f"x.{kind if kind != 'text' else 'txt'}"
    file.write_bytes(content.encode("cp1252"))
    (fault,) = texts(file)
    assert "--encoding windows-1252" in str(fault)
    assert "LATIN" not in str(fault).upper()
    assert texts(file, encoding="windows-1252") == texts(file, encoding="latin-1") == [said]


def test_other_encodings_are_not_taken_for_windows_1252(tmp_path: Path) -> None:
    russian, damaged = tmp_path / "r.txt", tmp_path / "d.txt"
    russian.write_bytes("Сад продали в июне, и пекарь сохранил деревья.".encode("cp1251"))
    damaged.write_bytes("Zoë was here. ".encode() * 3 + b"\xff" + "Zoë".encode())
    assert "Name its encoding" in str(texts(russian)[0])
    assert texts(russian, encoding="cp1251") == ["Сад продали в июне, и пекарь сохранил деревья."]
    assert "damaged" in str(texts(damaged)[0])


@pytest.mark.parametrize("name", ["utf-9", "rot13", "hex", "idna", "punycode", ""])
def test_what_is_no_encoding_is_refused(name: str) -> None:
    with pytest.raises(BadSetting, match="no encoding of text") as refused:
        check_encoding(name)
    assert f"do you mean {name}?" not in str(refused.value)
    assert find_encoding(b"") == find_encoding(b"plain") == "utf-8-sig"


def test_a_row_in_another_encoding_ends_no_others(tmp_path: Path) -> None:
    for name, rows in {
        "x.jsonl": [b'{"text": "one"}', b'{"text": "na\xefve"}', b'{"text": "three"}'],
        "x.csv": [b"text,n\none,1", b"na\xefve,2", b"three,3"],
        "x.json": [b'[{"text": "one"},', b'{"text": "na\xefve"},', b'{"text": "three"}]'],
    }.items():
        (tmp_path / name).write_bytes(b"\n".join(rows))
        one, fault, three = texts(tmp_path / name)
        assert (one, three) == ("one", "three"), name
        assert isinstance(fault, BadData)


# -- characters ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("escaped", [r"Tea \ud83d time", r"Tea \udca9 time", r"Tea \udca9\ud83d time"])
def test_half_a_character_is_replaced_and_told_with_its_line(
    tmp_path: Path, escaped: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "x.jsonl"
    rows = ['{"text": "fine", "summary": "s"}', f'{{"text": "{escaped}", "summary": "{escaped}"}}']
    file.write_text("\n".join(rows), encoding="utf-8")
    expected = [
        each.replace("\ud83d", "\ufffd").replace("\udca9", "\ufffd")
        for each in [json.loads(f'"{escaped}"')]
    ]
    assert texts(file) == ["fine", *expected]
    assert f"{file}:2: column 'text' holds half a character" in caplog.text
    pairs = list(read_pairs([file]))
    assert [pair.summary for pair in pairs] == ["s", *expected]


def test_halves_that_belong_together_are_one_character(caplog: pytest.LogCaptureFixture) -> None:
    assert clean_text("\ud83d\ude00!") == "😀!"
    assert clean_text("a\ud83d") == "a\ufffd"


def test_blanks_and_marks_of_terminals() -> None:
    assert clean_text("one\x0btwo\x85three\u2028four\x0cfive\x1dsix").split() == [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
    ]
    assert clean_text("\x1b[1;31mred\x1b[0m and b\x08bo\x08ol\x08ld\x1b]0;title\x07") == "red and bold"
    assert clean_text("a\x00b\x07c\x9bd") == "a b c d"
    assert clean_text("tab\tand\nbreak\r\n") == "tab\tand\nbreak\r\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_any_kind_also_mixed(tmp_path: Path, end: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(
        ('{"text": "one"}' + end + '{"text": "two"}\n{"text": "three"}\r\n{"text": 4}' + end).encode()
    )
    assert [(each.line, each.text) for each in found(file)][:3] == [(1, "one"), (2, "two"), (3, "three")]
    assert found(file)[3].text.line == 4
    (tmp_path / "x.txt").write_bytes(f"one{end}{end}two\r\nthree\n\n".encode())
    assert [d.text for d in read_documents([tmp_path / "x.txt"], unit="block")] == ["one\n", "two\nthree\n"]


# -- rows ----------------------------------------------------------------------------------------------


def test_ids_keep_their_type_and_nan_is_null(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    ids = ["007", 7, 7.5, True, None, float("nan"), float("-inf"), ["a", float("nan")], {"k": 1}, 10**30]
    file.write_text("".join(json.dumps({"id": each, "text": "x"}) + "\n" for each in ids), encoding="utf-8")
    assert [each.id for each in found(file)] == [
        *("007", 7, 7.5, True, None, None, None, ["a", None], {"k": 1}, 10**30)
    ]
    assert json.dumps(clean_id({"a": [float("inf"), "\ud800"]})) == json.dumps({"a": [None, "\ufffd"]})
    assert clean_id(b"raw") == "b'raw'"


def test_numbers_of_any_length_and_deep_brackets(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    rows = [
        '{"text": "one", "n": ' + "9" * 10_000 + "}",
        '{"text": ' + "[" * 200_000,
        '{"text": "three", "n": 1e999}',
    ]
    file.write_text("\n".join(rows), encoding="utf-8")
    one, deep, three = texts(file)
    assert (one, three) == ("one", "three")
    assert "brackets" in str(deep)


def test_a_name_that_comes_twice_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a", "text": "b"}', encoding="utf-8")
    (tmp_path / "x.csv").write_text("text,text\na,b\n", encoding="utf-8")
    assert texts(tmp_path / "x.jsonl") == texts(tmp_path / "x.csv") == ["b"]
    assert caplog.text.count("'text' stands there more than once") == 2


def test_a_column_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("Abstract,Body,n\nx,y,1\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"no column 'abstarct' for the summary.*Do you mean 'Abstract'\?"):
        list(read_pairs([file], columns=Columns(summary="abstarct")))
    assert "Do you mean 'Body'?" in str(texts(file, column="bodies")[0])


def test_quotes_that_are_never_closed(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text('text,n\none,1\n"two ""2""",2\n"three,3\nfour,4\n', encoding="utf-8")
    one, two, fault = texts(file)
    assert (one, two) == ("one", 'two "2"')
    assert fault.line == 4
    assert "never closed" in str(fault)
    file.write_text('text,n\none,1\n"two" 2,2\nthree,3\n', encoding="utf-8")
    one, fault, three = texts(file)
    assert (one, fault.line, three) == ("one", 3, "three")


def test_a_list_that_breaks_off_gives_its_rows_and_then_says_so(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('[{"text": "one"}, {"text": "two"}, {"text": "thr', encoding="utf-8")
    one, two, fault = texts(file)
    assert (one, two) == ("one", "two")
    assert "The rest of the list cannot be read" in str(fault)
    file.write_text('[{"text": "one"}, 5, null, "four", ["x"]] trailing', encoding="utf-8")
    assert [isinstance(each, BadData) for each in texts(file)] == [False, True, True, False, True, True]


def test_a_list_longer_than_any_buffer_is_read_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    rows = [{"id": n, "text": f"row {n} " + 'é\\"]}, ' * (n % 97)} for n in range(3_000)]
    file.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    assert [(each.id, each.text) for each in found(file)] == [(row["id"], row["text"]) for row in rows]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """A limit of texts that a test can exceed."""
    for module in (streams, lines, plain, tables, json_rows):
        monkeypatch.setattr(module, "MOST_BYTES", 200_000)
    return 200_000


@pytest.mark.parametrize("name", ["x.jsonl", "x.txt", "x.csv", "x.json", "lines.txt", "wide.jsonl"])
def test_what_is_longer_than_is_read_is_one_error(tmp_path: Path, short: int, name: str) -> None:
    """As it comes out of packed files that unpack to gigabytes."""
    long = "word " * (short // 4)
    content = {
        "x.jsonl": f'{{"text": "one"}}\n{{"text": "{long}"}}\n{{"text": "three"}}\n',
        "wide.jsonl": f'{{"text": "one"}}\n{{"text": "{long}"}}\n',
        "x.csv": f'text,n\none,1\n"{long}",2\n',
        "x.json": f'[{{"text": "one"}}, {{"text": "{long}"}}',
        "x.txt": long,
        "lines.txt": f"one\n{long}\nthree",
    }[name]
    file = tmp_path / f"{name}.gz"
    file.write_bytes(gzip.compress(content.encode("utf-16" if name.startswith("wide") else "utf-8")))
    ends = texts(file, unit="line" if name.startswith("lines") else "file")
    assert [isinstance(end, BadData) for end in ends].count(True) == 1
    assert ends[0] == "one" or name == "x.txt"
    assert ends[-1] == "three" or name in ("x.txt", "x.csv", "x.json", "wide.jsonl")


# -- files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, zst])
def test_a_packed_file_that_is_cut_short_gives_what_is_whole_and_says_where(
    tmp_path: Path, pack: Any
) -> None:
    rows = [json.dumps({"text": f"{n * 7919 % 104729} {n * 31337 % 99991} words"}) for n in range(20_000)]
    data = pack("\n".join(rows).encode())
    file = tmp_path / "x.jsonl.packed"
    for cut in (len(data) - 1, len(data) - 40, len(data) // 2):
        file.write_bytes(data[:cut])
        ends = texts(file)
        good = [end for end in ends if isinstance(end, str)]
        assert len(good) == len(ends) - 1
        assert good == [json.loads(row)["text"] for row in rows[: len(good)]]
        told = str(ends[-1])
        assert "ends early or is damaged" in told
        assert not good or f"after line {len(good):,}" in told


def test_several_packed_frames_one_after_the_other(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl.zst"
    file.write_bytes(zst(b'{"text": "one"}\n') + zst(b'{"text": "two"}\n'))
    assert texts(file) == ["one", "two"]


@pytest.mark.parametrize("name", ["none.txt", "gone/none.txt", "n" * 300, "nul\0l", "loop"])
def test_names_that_stand_for_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(BadData) as caught:
        find_sources([f"{tmp_path}/{name}"])
    assert caught.value.file == f"{tmp_path}/{name}"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("secret", encoding="utf-8")
    (tmp_path / "x.txt").chmod(0)
    assert "permission denied" in str(texts(tmp_path / "x.txt")[0])


@pytest.mark.parametrize("name", ["x.txt", "x.jsonl", "x.csv", "x.json", "x.gz", "x", "x.html"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    (fault,) = texts(tmp_path / name)
    assert "holds no text" in str(fault)


def test_a_pipe_with_a_name_answers_row_by_row(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    answered = threading.Event()

    def write() -> None:
        with pipe.open("wb", buffering=0) as stream:
            stream.write(b'{"id": 1, "text": "one"}\n')
            answered.wait(30)  # the second row comes only when the first was answered
            stream.write(b'{"id": 2, "text": "two"}\n')

    writer = threading.Thread(target=write)
    writer.start()
    (source,) = find_sources([pipe])
    assert source.holds_rows()  # looked into, and not lost
    rows = read_texts(source)
    assert next(rows).text == "one"
    answered.set()
    assert [row.text for row in rows] == ["two"]
    writer.join()


def test_a_file_that_changes_while_it_is_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "a"}\n' * 20_000, encoding="utf-8")
    rows = read_texts(find_sources([file])[0])
    next(rows)
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"text": "b"}\n')
    os.utime(file, (time.time() + 5, time.time() + 5))
    assert len(list(rows)) >= 19_999
    assert "changed while it was read" in caplog.text


def test_standard_input_is_read_once_and_known_by_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b'{"text": "one"}\n{"text": "two"}\n', b'["one", "two"]', b"id,text\n1,one\n2,two\n"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert [document.text for document in read_documents(["-"])] == ["one", "two"]
    with pytest.raises(BadSetting, match="once"):
        find_sources(["-", "a", "-"])
    monkeypatch.setattr(sys, "stdin", None)
    assert "closed" in str(texts("-")[0])


@pytest.mark.parametrize("ending", [".txt", ".csv", ".jsonl", ".json"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("written", ["", "-le", "-be"])
def test_wide_encodings_that_were_asked_for_need_no_mark(
    tmp_path: Path, ending: str, encoding: str, written: str
) -> None:
    said = {
        ".txt": "Zoë was here.",
        ".csv": "text,id\nZoë was here.,1\n",
        ".jsonl": '{"text": "Zoë was here."}\n',
        ".json": '[{"text": "Zoë was here."}]',
    }
    file = tmp_path / f"x{ending}"
    file.write_bytes(said[ending].encode(encoding + written))
    assert [text.strip() for text in texts(file, encoding=encoding)] == ["Zoë was here."]


def test_what_is_no_wide_encoding_is_an_error_of_ours(tmp_path: Path) -> None:
    for ending in (".txt", ".csv", ".jsonl", ".json"):
        file = tmp_path / f"x{ending}"
        for data in (b"text,id\nZ was here.,1\n", b"\x00\xd8" * 9, b"a", b"abc"):
            file.write_bytes(data)
            for encoding in ("utf-16", "utf-32"):
                texts(file, encoding=encoding)
