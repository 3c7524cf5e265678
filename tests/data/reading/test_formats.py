"""Every kind of file, by name and by content, gives the same texts through one reader."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pegasus.data.read import Reading, find_sources, read_documents, read_texts
from pegasus.errors import BackendMissing, BadData

TEXTS = ["The ferry left at dawn, and came back late.", 'She said "no".\nThen she left.']
ROWS = [{"id": 7 + n, "article": text, "lang": "en"} for n, text in enumerate(TEXTS)]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    pyarrow, written = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    sink = pyarrow.BufferOutputStream()
    written.write_table(pyarrow.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def arrow(rows: list[dict[str, Any]], stream: bool) -> bytes:
    pyarrow, ipc = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.ipc")
    table, sink = pyarrow.Table.from_pylist(rows), pyarrow.BufferOutputStream()
    with (ipc.new_stream if stream else ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def delimited(delimiter: str, start: str = "") -> bytes:
    lines = [delimiter.join(ROWS[0])]
    for row in ROWS:
        quoted = row["article"].replace('"', '""')
        lines.append(delimiter.join([str(row["id"]), f'"{quoted}"', row["lang"]]))
    return (start + "\r\n".join(lines)).encode()


CONTENTS = {
    "lines": "\n".join(map(json.dumps, ROWS)).encode(),
    "list": json.dumps(ROWS, indent=3).encode(),
    "list in a line": json.dumps(ROWS).encode(),
    "pretty objects": "\n".join(json.dumps(row, indent=2) for row in ROWS).encode(),
    "held": json.dumps({"total": 2, "tags": ["a", "b", "c"], "results": ROWS}).encode(),
    "viewer": json.dumps({"rows": [{"row_idx": n, "row": row} for n, row in enumerate(ROWS)]}).encode(),
    "columns": json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}).encode(),
    "pandas": json.dumps(
        {key: {str(n): row[key] for n, row in enumerate(ROWS)} for key in ROWS[0]}
    ).encode(),
    "csv": delimited(","),
    "semicolons": delimited(";"),
    "tabs": delimited("\t"),
}


def texts(file: Path | str, **reading: Any) -> list[str | BadData]:
    (source,) = find_sources([file], Reading(**reading))
    return [found.text for found in read_texts(source)]


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_without_an_ending_is_known_by_its_content(tmp_path: Path, content: str) -> None:
    file = tmp_path / "export"
    file.write_bytes(CONTENTS[content])
    (source,) = find_sources([file])
    found = list(read_texts(source))
    assert [each.text for each in found] == TEXTS
    assert [str(each.id) for each in found] == ["7", "8"]
    assert source.holds_rows()


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_a_packed_file_is_known_by_its_content_too(tmp_path: Path, pack: Any) -> None:
    file = tmp_path / "export.backup"
    file.write_bytes(pack(pack(CONTENTS["lines"])))
    assert texts(file) == TEXTS


@pytest.mark.parametrize("stream", [True, False])
def test_arrow_files_and_streams(tmp_path: Path, stream: bool) -> None:
    file = tmp_path / "data.arrow"
    file.write_bytes(arrow(ROWS, stream))
    assert texts(file) == TEXTS


@pytest.mark.parametrize("ending", ["parquet.gz", "bin"])
def test_parquet_that_is_packed_or_misnamed(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"data.{ending}"
    file.write_bytes(gzip.compress(parquet(ROWS)) if ending.endswith("gz") else parquet(ROWS))
    assert texts(file) == TEXTS


@pytest.mark.parametrize(
    "prose",
    [
        "[1] An introduction, by the editor.\nIt begins.",
        "{Stage direction} He enters, text in hand.",
        "Text, author and source\nare named, all of them, below.",
        "The document, once found, was lost.\nNobody knows, even now, where it lies.",
        "text\nThis file begins with the word text.",
        "a < b and c > d, said the article.",
    ],
)
def test_prose_is_not_taken_for_rows_or_markup(tmp_path: Path, prose: str) -> None:
    file = tmp_path / "notes"
    file.write_text(prose, encoding="utf-8")
    assert texts(file) == [prose]


def test_the_format_can_be_said(tmp_path: Path) -> None:
    file = tmp_path / "table.txt"
    file.write_bytes(CONTENTS["csv"])
    assert texts(file) == [CONTENTS["csv"].decode()]
    assert texts(file, format="csv") == TEXTS
    assert texts(file, format="text") != TEXTS


def test_a_csv_of_one_column_needs_no_quotes(tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    file.write_text('text\nOne, two; three.\n"Four, five."\n', encoding="utf-8")
    assert texts(file) == ["One, two; three.", "Four, five."]


def test_the_line_that_spreadsheets_put_above_the_names(tmp_path: Path) -> None:
    file = tmp_path / "excel.csv"
    file.write_bytes(delimited(";", "sep=;\r\n"))
    found = list(read_texts(find_sources([file])[0]))
    assert [each.text for each in found] == [text.replace("\r", "") for text in TEXTS]
    assert [each.line for each in found] == [3, 4]


@pytest.mark.parametrize(
    ("name", "start", "said"),
    [
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old Word"),
        ("book.epub", b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/epub+zip", "EPUB"),
        (
            "letter.odt",
            b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/vnd.oasis.opendocument.text",
            "Open",
        ),
        ("sheet.xlsx", b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml", "spreadsheet"),
        ("letter.txt", rb"{\rtf1\ansi Hello.}", "RTF"),
        ("photo.txt", b"\xff\xd8\xff\xe0" + bytes(50), "JPEG"),
        ("feed", b'<?xml version="1.0"?><rss><item>x</item></rss>', "XML"),
        ("data.db", b"SQLite format 3\0" + bytes(50), "SQLite"),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path: Path, name: str, start: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(start)
    (fault,) = texts(tmp_path / name)
    assert isinstance(fault, BadData)
    assert said in str(fault)
    assert fault.file == str(tmp_path / name)


PAGE = """<!DOCTYPE html><html><head><title>Levels</title><script>var hidden = 1;</script></head><body>
<nav><a href="/">Home</a> <a href="/x">Shop</a></nav><article><h1>The dam holds</h1>
<p>Engineers checked the dam on Monday and found no crack&nbsp;&mdash; for the third year running.</p>
<p>The valley below had been warned twice since the spring, when the snow melted early and fast.</p>
<table><tr><th>Year</th><th>Level</th></tr><tr><td>2024</td><td>31 m</td></tr></table></article>
<footer>Imprint &copy; all rights</footer></body></html>"""


@pytest.mark.parametrize("name", ["page.html", "page.txt", "page"])
def test_html_is_read_as_its_text(tmp_path: Path, name: str) -> None:
    pytest.importorskip("trafilatura", reason="extra documents")
    (tmp_path / name).write_text(PAGE, encoding="utf-8")
    (text,) = texts(tmp_path / name)
    assert isinstance(text, str)
    assert text.startswith("The dam holds\nEngineers checked the dam on Monday")
    assert "2024, 31 m" in text
    assert not any(word in text for word in ("<", "hidden", "Shop", "Imprint", "|"))


def test_html_says_its_own_encoding(tmp_path: Path) -> None:
    pytest.importorskip("trafilatura", reason="extra documents")
    head = '<html><head><meta charset="iso-8859-1"></head>'
    page = f"{head}<body><p>Caf\xe9 \u201ctogether\u201d.</p></body></html>"
    (tmp_path / "p.html").write_bytes(page.encode("cp1252"))
    assert texts(tmp_path / "p.html") == ["Café “together”."]


def test_fragments_of_html_are_no_prose(tmp_path: Path) -> None:
    pytest.importorskip("trafilatura", reason="extra documents")
    (tmp_path / "part").write_text("<div>Rain &amp; snow.</div><p>Then <i>sun</i>.</p>", encoding="utf-8")
    assert " ".join(str(texts(tmp_path / "part")[0]).split()) == "Rain & snow. Then sun."


def test_docx_is_read_in_order_with_its_tables(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx", reason="extra documents")
    document = docx.Document()
    document.add_heading("Minutes", 1)
    document.add_paragraph("The board met in May.")
    cells = document.add_table(1, 2).rows[0].cells
    cells[0].text, cells[1].text = "Chair", "A. Moore"
    document.add_paragraph("It closed\nat noon.")
    document.save(str(tmp_path / "minutes.docx"))
    assert texts(tmp_path / "minutes.docx") == [
        "Minutes\nThe board met in May.\nChair\nA. Moore\nIt closed\nat noon.\n"
    ]
    (tmp_path / "noname").write_bytes((tmp_path / "minutes.docx").read_bytes())
    assert texts(tmp_path / "noname") == texts(tmp_path / "minutes.docx")


def test_what_was_deleted_in_docx_is_gone_and_what_was_added_is_there(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx", reason="extra documents")
    document = docx.Document()
    document.add_paragraph("KEEP")
    document.save(str(tmp_path / "x.docx"))
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    edits = (
        f'<w:ins xmlns:w="{space}"><w:r><w:t> added</w:t></w:r></w:ins>'
        f'<w:del xmlns:w="{space}"><w:r><w:delText> deleted</w:delText></w:r></w:del>'
    )
    with zipfile.ZipFile(tmp_path / "x.docx") as old, zipfile.ZipFile(tmp_path / "y.docx", "w") as new:
        for part in old.namelist():
            data = old.read(part)
            if part == "word/document.xml":
                data = data.replace(b"</w:p>", edits.encode() + b"</w:p>", 1)
            new.writestr(part, data)
    assert texts(tmp_path / "y.docx") == ["KEEP added\n"]


def pdf(lines: list[str]) -> bytes:
    """A PDF of one page, a line each."""
    shown = "".join(f"({line}) Tj T* " for line in lines)
    stream = f"BT /F1 12 Tf 14 TL 72 720 Td {shown}ET"
    parts = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = "%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{part}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return (f"{out}xref\n0 6\n0000000000 65535 f \n{table}{end}").encode("latin-1")


def test_pdf_lines_and_broken_words_are_joined(tmp_path: Path) -> None:
    pytest.importorskip("pypdf", reason="extra documents")
    (tmp_path / "p.pdf").write_bytes(
        pdf(["The harvest was exam-", "ined by the", "council.", "It was good."])
    )
    assert texts(tmp_path / "p.pdf") == ["The harvest was examined by the council.\nIt was good.\n"]
    (tmp_path / "scan.pdf").write_bytes(pdf([]))
    assert "no text" in str(texts(tmp_path / "scan.pdf")[0])


@pytest.mark.parametrize(
    ("package", "name", "content"),
    [
        ("trafilatura", "a.html", PAGE.encode()),
        ("docx", "a.docx", b"PK\x03\x04word/"),
        ("pypdf", "a.pdf", b"%PDF-1.4"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str, content: bytes
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    if name.endswith("docx"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("word/document.xml", "<x/>")
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BackendMissing, match=rf"{package} .*pegasus-summarizer\[documents\]"):
        texts(tmp_path / name)


@pytest.mark.parametrize("name", ["a.docx", "a.pdf", "a.parquet", "a.arrow"])
@pytest.mark.parametrize(
    "content", [b"", b"nothing of the kind", b"PK\x03\x04broken", b"%PDF-1.7 cut", b"PAR1PAR1"]
)
def test_damaged_documents_are_one_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (fault,) = texts(tmp_path / name)
    assert isinstance(fault, BadData)


def test_folders_are_read_once_in_order_and_what_is_passed_over_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_text("three", encoding="utf-8")
    (tmp_path / "a.md").write_text("one", encoding="utf-8")
    (tmp_path / "b" / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "two"}\n'))
    (tmp_path / "z.mp3").write_bytes(b"ID3")
    (tmp_path / ".hidden.txt").write_text("no", encoding="utf-8")
    (tmp_path / "b" / "round").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.txt")
    sources = find_sources([tmp_path])
    assert [source.place.as_posix() for source in sources] == ["a", "b/b", "b/c"]
    assert [document.text for document in read_documents([tmp_path])] == ["one", "two", "three"]
    told = caplog.records[0].getMessage()
    assert all(name in told for name in ("z.mp3", ".hidden.txt", "pipe.txt"))
