from __future__ import annotations

import bz2
import csv
import gzip
import importlib.util
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from pegasus.data.columns import Columns, settle
from pegasus.data.read import find_sources, read_documents, read_pairs
from pegasus.errors import BackendMissing, BadData, BadSetting

ROWS = [
    {"id": "a", "document": "First.\nTwo lines.", "summary": "One."},
    {"id": "b", "document": 'Ünï, "quoted".', "summary": "Two."},
]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def zst(data: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    return bytes(zstandard.ZstdCompressor().compress(data))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zst,
}


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("ending", [".jsonl", ".ndjson", ".json"])
def test_json_lines_packed_or_not(tmp_path: Path, packed: str, ending: str) -> None:
    file = tmp_path / f"rows{ending}{packed}"
    file.write_bytes(PACKERS[packed](JSONL))
    pairs = list(read_pairs([file]))
    assert [(pair.id, pair.document, pair.summary) for pair in pairs] == [
        tuple(row.values()) for row in ROWS
    ]
    assert [(pair.file, pair.line) for pair in pairs] == [(str(file), 1), (str(file), 2)]
    assert [document.text for document in read_documents([file])] == [row["document"] for row in ROWS]


@pytest.mark.parametrize("layout", [None, 2])
def test_a_json_list(tmp_path: Path, layout: int | None) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(ROWS, indent=layout), "utf-8")
    assert [pair.id for pair in read_pairs([file])] == ["a", "b"]


@pytest.mark.parametrize(("ending", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_csv_with_line_breaks_in_fields(tmp_path: Path, ending: str, delimiter: str) -> None:
    file = tmp_path / f"rows{ending}"
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)
    pairs = list(read_pairs([file]))
    assert [(pair.document, pair.summary) for pair in pairs] == [
        (r["document"], r["summary"]) for r in ROWS
    ]
    assert [pair.line for pair in pairs] == [2, 4]  # the first row takes two lines


def test_a_csv_field_longer_than_the_modules_own_limit(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_text("text\n" + "word " * 60_000 + "\n", "utf-8")
    assert len(next(read_documents([file])).text) == 300_000


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS * 300), file)
    pairs = list(read_pairs([file]))
    assert len(pairs) == 600
    assert (pairs[1].document, pairs[1].line) == (ROWS[1]["document"], 2)


def test_plain_text_in_three_units(tmp_path: Path) -> None:
    file = tmp_path / "some.txt"
    file.write_text("One.\nTwo.\n\n\nThree.\n", "utf-8")
    texts = {
        unit: [(d.text, d.line) for d in read_documents([file], unit=unit)]
        for unit in ("file", "line", "block")
    }  # type: ignore[arg-type]
    assert texts["file"] == [("One.\nTwo.\n\n\nThree.\n", 1)]
    assert texts["line"] == [("One.", 1), ("Two.", 2), ("Three.", 5)]
    assert texts["block"] == [("One.\nTwo.\n", 1), ("Three.\n", 5)]
    with pytest.raises(BadSetting, match="block"):
        next(read_documents([file], unit="page"))  # type: ignore[arg-type]


def test_a_folder_is_read_by_name_and_deeply(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.jsonl").write_bytes(JSONL)
    (tmp_path / "a.txt").write_text("Text.", "utf-8")
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    assert [Path(source.name).name for source in find_sources([tmp_path])] == ["a.txt", "2.jsonl"]
    assert len(list(read_documents([tmp_path]))) == 3


@pytest.mark.parametrize("name", ["absent.jsonl", "picture.png", "empty"])
def test_sources_that_are_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData) as caught:
        list(read_documents([tmp_path / name]))
    assert caught.value.file == str(tmp_path / name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{not json}", "no JSON"),
        (b"[1, 2]", "must be an object"),
        (b'{"summary": "x"}', "'document' is missing"),
        (b'{"document": 3, "summary": "x"}', "'document' is a number"),
        (b'{"document": "  ", "summary": "x"}', "'document' is empty"),
        (b'{"document": "x", "summary": ""}', "'summary' is empty"),
        (b'{"document": "x"}', "'summary' is missing"),
        (b'{"document": "\xff", "summary": "x"}', "not UTF-8"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_every_bad_row_is_named_by_file_and_line(tmp_path: Path, line: bytes, message: str) -> None:
    file = tmp_path / "rows.jsonl"
    good = JSONL.splitlines()[0]
    file.write_bytes(b"\n".join([good, b"", line, good]))
    with pytest.raises(BadData, match=message) as caught:
        list(read_pairs([file]))
    assert (caught.value.file, caught.value.line) == (str(file), 3)
    faults: list[BadData] = []
    assert len(list(read_pairs([file], bad=faults.append))) == 2
    assert [fault.line for fault in faults] == [3]


def test_bad_rows_of_csv_and_text(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('text,x\n"a\nb",1\nshort\nc,2\n', "utf-8")
    faults: list[BadData] = []
    assert [row.text for row in read_documents([table], bad=faults.append)] == ["a\nb", "c"]
    assert [fault.line for fault in faults] == [4]
    latin = tmp_path / "latin.txt"
    latin.write_bytes("naïve\nfine".encode("latin-1"))
    assert [row.text for row in read_documents([latin], unit="line", bad=faults.append)] == ["fine"]
    assert (faults[-1].file, faults[-1].line) == (str(latin), 1)


@pytest.mark.parametrize("packed", [".gz", ".xz", ".bz2", ".zst"])
def test_a_file_that_ends_early_gives_its_rows_and_then_says_so(tmp_path: Path, packed: str) -> None:
    file = tmp_path / f"rows.jsonl{packed}"
    rows = b"".join(
        json.dumps({"text": f"row {n} {n * 7919 % 1000003}"}).encode() + b"\n" for n in range(20_000)
    )
    data = PACKERS[packed](rows)
    file.write_bytes(data[: len(data) // 2])
    faults: list[BadData] = []
    found = list(read_documents([file], bad=faults.append))
    assert "damaged" in str(faults[-1]) or packed == ".zst"
    assert len(found) < 20_000
    file.write_bytes(b"no archive at all")
    with pytest.raises(BadData, match=r"damaged|ends early"):
        list(read_documents([file]))


def test_a_broken_parquet_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"PAR1 nothing")
    with pytest.raises(BadData, match="Parquet"):
        list(read_documents([file]))


def test_several_references(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [
        {"document": "D", "summary": "main", "summaries": ["main", "other"]},
        {"document": "D", "summary": "own", "summaries": ["other"]},
        {"document": "D", "summary": "alone"},
        {"document": "D", "summaries": ["a", "", "b"]},
    ]
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    assert [pair.summaries for pair in read_pairs([file])] == [
        ("main", "other"),
        ("own", "other"),
        ("alone",),
        ("a", "b"),
    ]


@pytest.mark.parametrize(
    ("names", "document", "summary"),
    [
        (["document", "summary"], "document", "summary"),
        (["article", "highlights", "id"], "article", "highlights"),
        (["email_body", "subject_line"], "email_body", "subject_line"),
        (["Text", "Headline"], "Text", "Headline"),
        (["title", "body"], "body", "title"),
        (["title", "text", "summary"], "text", "summary"),
    ],
)
def test_columns_are_found_by_themselves(names: list[str], document: str, summary: str) -> None:
    found = settle(names, Columns(), True, "file")
    assert (found.document, found.summary) == (document, summary)


def test_columns_that_are_not_there_are_named_with_those_that_are() -> None:
    with pytest.raises(BadData, match="'a', 'b'"):
        settle(["a", "b"], Columns(), False, "file")
    with pytest.raises(BadData, match="no column 'x' for the document"):
        settle(["text"], Columns(document="x"), False, "file")
    with pytest.raises(BadData, match="for the summary"):
        settle(["text"], Columns(), True, "file")
    assert settle(["a", "b"], Columns("a", "b"), True, "file").summary == "b"


def test_a_wrong_column_is_not_passed_over_row_by_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(JSONL)
    with pytest.raises(BadData, match="no column 'body'"):
        list(read_documents([file], column="body", bad=lambda fault: None))


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("datasets") is not None:
        monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(BackendMissing, match=r"datasets.*pegasus-summarizer\[data\]"):
        next(read_pairs(["hub:xsum@validation"]))


def test_a_hub_data_set_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    asked: list[object] = []

    def load_dataset(*names: object, **options: object) -> list[dict[str, str]]:
        asked.append((names, options))
        return ROWS

    stand_in = types.ModuleType("datasets")
    stand_in.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", stand_in)
    pairs = list(read_pairs(["hub:org/set:small@test"]))
    assert [pair.id for pair in pairs] == ["a", "b"]
    assert asked == [(("org/set", "small"), {"split": "test", "streaming": True})]


def test_a_data_set_is_read_through_the_real_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets", reason="extra data")
    repository = tmp_path / "set"
    repository.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (repository / "train.jsonl").write_text(lines, encoding="utf-8")
    (repository / "test.jsonl").write_text(lines.splitlines(keepends=True)[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert len(list(read_pairs(["hub:./set"]))) == len(ROWS)
    (pair,) = read_pairs(["hub:./set@test"])
    assert pair.document == ROWS[0]["document"]


def test_the_real_data_is_read(shared: Path) -> None:
    pairs = read_pairs([shared / "data" / "aeslc" / "test.jsonl.xz"])
    assert sum(len(pair.summaries) > 1 for pair in pairs) > 1000
