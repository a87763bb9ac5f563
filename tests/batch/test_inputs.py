"""Inputs are cut into chunks that cover them, and each chunk reads its rows."""

import json
import os
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.batch.conftest import NOT_UTF8, allows_any_name, write_lines
from zprompt.batch import Chunk, find_sources
from zprompt.errors import OptionError


def chunks_of(*paths: Path, rows: int = 3) -> list[Chunk]:
    sources = find_sources(paths, "text", paths[0].parent / "out")
    return [chunk for source in sources for chunk in source.cut(rows)]


def test_json_lines_are_cut_at_lines(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "é" * number}, ensure_ascii=False) for number in range(8)]
    path = write_lines(tmp_path / "a.jsonl", lines)

    chunks = chunks_of(path)

    assert [[row.number for row in chunk.rows()] for chunk in chunks] == [[1, 2, 3], [4, 5, 6], [7, 8]]
    assert [row.line for chunk in chunks for row in chunk.rows()] == lines
    assert sum(chunk.size for chunk in chunks) == path.stat().st_size


def test_the_last_line_needs_no_line_break(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n\n{"text": "b"}')

    [chunk] = chunks_of(tmp_path / "a.jsonl")

    assert [(row.number, row.line) for row in chunk.rows()] == [(1, '{"text": "a"}'), (3, '{"text": "b"}')]


def test_chunks_of_long_rows_have_fewer_rows(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [json.dumps({"text": "a" * 10_000})] * 6)

    assert [len(list(chunk.rows())) for chunk in chunks_of(path)] == [1] * 6
    assert [len(list(chunk.rows())) for chunk in chunks_of(path, rows=8)] == [3, 3]


def test_a_folder_may_hold_texts_and_files_of_rows(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "2.txt").write_text("Two.")
    (folder / "1.md").write_text("One.")
    (folder / "0.txt.z").write_text("compressed before")
    (folder / ".hidden").write_text("hidden")
    (folder / "image.png").write_bytes(b"\x89PNG")
    write_lines(folder / "b" / "rows.jsonl", ['{"text": "a"}'])

    lines, texts = chunks_of(folder, rows=10)

    assert (lines.source.name, texts.source.name) == ("b/rows.jsonl", "notes")
    rows = list(texts.rows())
    assert [json.loads(row.line)["path"] for row in rows] == ["1.md", "b/2.txt", "image.png"]
    assert json.loads(rows[1].line)["text"] == "Two."
    assert [row.problem for row in rows] == [None, None, "not UTF-8: byte 0 is 0x89."]


def test_a_text_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear,")

    [chunk] = chunks_of(tmp_path / "letter.txt")

    assert [json.loads(row.line) for row in chunk.rows()] == [{"path": "letter.txt", "text": "Dear,"}]


def test_parquet_is_cut_within_its_row_groups(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "text": [f"Row {number}." for number in range(7)],
        "when": [datetime(2024, 5, number + 1) for number in range(7)],
        "price": [Decimal("1.50")] * 7,
        "data": [b"\xff"] * 7,
        "score": [float("nan"), *[0.5] * 6],
        "tags": [["a", None]] * 7,
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet", row_group_size=5)

    chunks = chunks_of(tmp_path / "a.parquet")

    rows = [row for chunk in chunks for row in chunk.rows()]
    assert [len(list(chunk.rows())) for chunk in chunks] == [3, 2, 2]
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert json.loads(rows[0].line) == {
        "text": "Row 0.",
        "when": "2024-05-01T00:00:00",
        "price": "1.50",
        "data": "/w==",
        "score": None,
        "tags": ["a", None],
    }


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-20], lambda data: b"PAR1" * 10 + data[40:]])
def test_parquet_that_cannot_be_read_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "broken.parquet"
    parquet.write_table(pyarrow.table({"text": ["a"] * 1000}), path)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(OptionError, match=r"broken\.parquet cannot be read as Parquet"):
        [list(chunk.rows()) for chunk in chunks_of(path)]


@allows_any_name
def test_parquet_may_have_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "a.parquet")
    path = (tmp_path / "a.parquet").rename(tmp_path / os.fsdecode(NOT_UTF8 + b".parquet"))

    [row] = [row for chunk in chunks_of(path) for row in chunk.rows()]

    assert (row.file, row.line) == (f"{tmp_path}/caf\\xe9.parquet", '{"text": "a"}')


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"missing\.jsonl cannot be read: No such file"):
        chunks_of(tmp_path / "missing.jsonl")


def test_inputs_of_the_same_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_lines(tmp_path / folder / "rows.jsonl", ['{"text": "a"}'])

    with pytest.raises(OptionError, match=r"2 inputs are named 'rows.jsonl'.* its own output folder"):
        chunks_of(tmp_path / "a" / "rows.jsonl", tmp_path / "b" / "rows.jsonl")


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(OptionError, match="Nothing to read"):
        chunks_of(tmp_path / "empty")
