"""Training text is read from files, folders and compressed files."""

import gzip
import json
import lzma
import sys
from pathlib import Path

import pytest

from zprompt.errors import MissingDependencyError, TrainingDataError
from zprompt.train.corpus import read_texts

ROWS = [{"text": "one"}, {"content": "two"}, {"paragraphs": ["three", "four"]}, "five"]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS)
TEXTS = ["one", "two", "three\n\nfour", "five"]


def test_a_text_file_is_one_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first line\nsecond line: é\n", "utf-8")
    assert read_texts([str(tmp_path / "a.txt")]) == ["first line\nsecond line: é\n"]


def test_a_jsonl_file_has_a_text_in_each_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(JSONL)
    assert read_texts([str(tmp_path / "a.jsonl")]) == TEXTS


@pytest.mark.parametrize(("suffix", "compress"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_compressed_files_are_read(tmp_path: Path, suffix: str, compress: object) -> None:
    assert callable(compress)
    rows, text = tmp_path / f"a.jsonl{suffix}", tmp_path / f"b.txt{suffix}"
    rows.write_bytes(compress(JSONL.encode()))
    text.write_bytes(compress("plain é".encode()))
    assert read_texts([str(rows), str(text)]) == [*TEXTS, "plain é"]


def test_a_folder_is_read_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a/deep.txt", ".hidden", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert read_texts([str(tmp_path)]) == ["a/deep.txt", "b.txt", "c.txt"]


def test_sources_follow_each_other_and_blank_texts_are_left_out(tmp_path: Path) -> None:
    for name, text in (("a", "first"), ("b", " \n"), ("c", "last")):
        (tmp_path / name).write_text(text)
    assert read_texts([str(tmp_path / name) for name in "cba"]) == ["last", "first"]


@pytest.mark.parametrize("name", ["missing.txt", "./missing", "/missing/folder", "~/missing"])
def test_a_missing_path_is_named(name: str) -> None:
    with pytest.raises(TrainingDataError, match=f"No file or folder at {name}"):
        read_texts([name])


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="No text in"):
        read_texts([str(tmp_path)])


@pytest.mark.parametrize("row", [{"title": "no text"}, 7, {"text": 7}])
def test_a_row_without_text_is_named(tmp_path: Path, row: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps("fine") + "\n" + json.dumps(row))
    with pytest.raises(TrainingDataError, match=r"a\.jsonl, line 2"):
        read_texts([str(path)])


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.txt", b"\xff\xfe\x00"), ("a.jsonl", b'{"text": '), ("a.txt.xz", b"no xz"), ("a.txt.gz", b"no gz")],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TrainingDataError, match="cannot be read as UTF-8"):
        read_texts([str(tmp_path / name)])


@pytest.mark.parametrize("end", [100, -10])
@pytest.mark.parametrize(("suffix", "compress"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, compress: object, end: int) -> None:
    assert callable(compress)
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(compress(" ".join(map(str, range(5000))).encode())[:end])
    with pytest.raises(TrainingDataError, match="cannot be read as UTF-8"):
        read_texts([str(path)])


def test_a_name_that_is_no_file_needs_the_datasets_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"need zprompt\[train\]"):
        read_texts(["someone/dataset"])
