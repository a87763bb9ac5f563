"""`zprompt batch` reports what it did; its exit code says whether all rows were compressed."""

import json
from pathlib import Path

import pytest

from tests.batch.conftest import TEXTS, in_this_process, write_lines
from tests.cli.conftest import Run
from zprompt.batch import BatchResult
from zprompt.cli.batch import _describe

__all__ = ["in_this_process"]

GOOD = json.dumps({"body": TEXTS[0]})


@pytest.fixture
def model(tiny_backbone_dir: Path, in_this_process: None) -> list[str]:
    return ["--codec", str(tiny_backbone_dir), "--device", "cpu"]


def test_good_rows_exit_with_0(run: Run, model: list[str], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [GOOD])

    result = run("batch", path, "--out", tmp_path / "out", "--field", "body", "--ratio", 2, *model)

    assert result.exit_code == 0
    assert "1 rows in" in result.stderr
    [file] = (tmp_path / "out" / "rows").iterdir()
    assert json.loads(file.read_text())["body"].startswith("[z2:")


def test_bad_rows_exit_with_1(run: Run, model: list[str], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [GOOD, "{"])

    result = run("batch", path, "--out", tmp_path / "out", "--field", "body", *model)

    assert result.exit_code == 1
    assert "Warning: 1 rows could not be compressed" in result.stderr


def test_a_folder_in_which_other_options_were_used_is_an_error(run: Run, model: list[str], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [GOOD])
    run("batch", path, "--out", tmp_path / "out", "--field", "body", *model)

    result = run("batch", path, "--out", tmp_path / "out", "--field", "body", "--ratio", 2, *model)

    assert result.exit_code == 1
    assert "Error: " in result.stderr and "ratio None (now 2.0)" in result.stderr


def test_an_out_folder_is_needed(run: Run, tmp_path: Path) -> None:
    assert run("batch", tmp_path).exit_code == 2


def test_progress_shows_the_time_left() -> None:
    state = BatchResult(rows=2_000, bad=1, new_rows=1_000, seconds=100, read_bytes=300, new_bytes=100, total_bytes=400)

    assert _describe(state) == "2,000 rows, 1 bad, 10.0 rows/s, 0:01:40 left"
