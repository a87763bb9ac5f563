"""A chunk is written as a whole or not at all, and bad rows are listed with their reasons."""

import json
import os
from pathlib import Path

import pytest

from tests.batch.conftest import NOT_UTF8, TEXTS, Settings, allows_any_name, files_of, rows_of, write_lines
from zprompt.batch import BatchSettings, ChunkResult, ChunkWorker, find_sources

GOOD = json.dumps({"text": TEXTS[0]})


def run_chunks(settings: BatchSettings, path: Path) -> list[ChunkResult]:
    [source] = find_sources([path], settings.field, settings.out)
    return list(map(ChunkWorker(settings, threads=1), source.cut(settings.chunk_rows)))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not JSON", "not JSON"),
        (b'"a text"', "not a JSON object"),
        (b'{"body": "a"}', "no text under 'text' (fields with text: 'body')"),
        (b'{"text": 1}', "no text under 'text'"),
        (b'{"text": "\\ud800"}', "lone surrogate"),
        (b'{"text": "\xff"}', "not UTF-8: byte 10 is 0xff"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason(settings: Settings, tmp_path: Path, line: bytes, reason: str) -> None:
    path = write_lines(tmp_path / "a.jsonl", [GOOD.encode(), b"", line, GOOD.encode()])

    [result] = run_chunks(settings(chunk_rows=10), path)

    [bad] = rows_of(settings().out, "bad")
    assert (result.rows, result.bad) == (2, 1)
    assert (bad["file"], bad["line"]) == (str(path), 3)
    assert reason in bad["reason"]
    assert len(rows_of(settings().out)) == 2


def test_characters_that_the_tokenizer_loses_are_escaped_or_the_row_is_set_aside(
    settings: Settings, tmp_path: Path, narrow_backbone_dir: Path
) -> None:
    path = write_lines(tmp_path / "a.jsonl", [GOOD, json.dumps({"text": "Œuvre ⟦é⟧"}), GOOD])

    [result] = run_chunks(settings(codec=str(narrow_backbone_dir)), path)

    assert result.rows + result.bad == 3


def test_the_rest_of_a_line_stays_byte_for_byte(settings: Settings, tmp_path: Path) -> None:
    line = '{ "id":12345678901234567890, "text" : %s,"é":"\\u00e9" }\r'

    run_chunks(settings(), write_lines(tmp_path / "a.jsonl", [line % json.dumps(TEXTS[0])]))

    [file] = (settings().out / "rows").iterdir()
    written = file.read_bytes().decode()
    assert written == line % json.dumps(json.loads(written)["text"]) + "\n"


@allows_any_name
def test_a_name_that_is_not_utf8_is_escaped(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / os.fsdecode(NOT_UTF8 + b".txt")).write_text(TEXTS[0])
    (folder / os.fsdecode(NOT_UTF8 + b".bin")).write_bytes(b"\xff")

    [result] = run_chunks(settings(), folder)

    assert (result.rows, result.bad) == (1, 1)
    assert rows_of(settings().out)[0]["path"] == "caf\\xe9.txt"
    assert rows_of(settings().out, "bad")[0]["file"] == f"{folder}/caf\\xe9.bin"


def test_a_row_whose_text_is_null_stays_as_it_is(settings: Settings, tmp_path: Path) -> None:
    run_chunks(settings(), write_lines(tmp_path / "a.jsonl", ['{"text": null, "id": 1}', GOOD]))

    assert rows_of(settings().out)[0] == {"text": None, "id": 1}


def test_a_chunk_of_bad_rows_only_is_done_too(settings: Settings, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", ["{"])

    assert [result.new for result in run_chunks(settings(), path)] == [True]
    assert [(result.new, result.bad) for result in run_chunks(settings(), path)] == [(False, 1)]


def test_no_file_has_its_final_name_before_it_is_complete(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lines(tmp_path / "a.jsonl", [GOOD, "{"])
    renamed: list[Path] = []
    rename = os.replace

    def fail_at_rows(partial: Path, final: Path) -> None:
        if final.parent.name == "rows":
            raise OSError("No space left")
        renamed.append(final)
        rename(partial, final)

    monkeypatch.setattr(os, "replace", fail_at_rows)
    with pytest.raises(OSError, match="No space"):
        run_chunks(settings(), path)

    assert [path.parent.name for path in renamed] == ["out", "bad"]
    assert all(name.endswith(".partial") for name in files_of(settings().out / "rows"))
    monkeypatch.undo()
    assert [result.new for result in run_chunks(settings(), path)] == [True]
