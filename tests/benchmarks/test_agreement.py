"""The agreement benchmark ranks as Spearman did, and reads passages."""

import json
from pathlib import Path

import pytest

from benchmarks.agreement import FEWEST_WORDS, passages, rank_correlation

LONG = "word " * (FEWEST_WORDS // 2) + "end"


def test_equal_orders_correlate_fully() -> None:
    assert rank_correlation([1, 5, 2], [10, 1000, 20]) == pytest.approx(1)
    assert rank_correlation([1, 5, 2], [3, 1, 2]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 1], [3, 1, 2]) == 0


def test_ties_share_their_rank() -> None:
    assert rank_correlation([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9487, abs=1e-4)


def test_paragraphs_are_joined_until_they_are_long_enough(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{LONG}\n\n{LONG}\n\n{LONG}")
    assert passages(tmp_path / "a.txt") == [f"{LONG}\n{LONG}"]
    rows = [{"paragraphs": [LONG, "short"]}, {"text": LONG * 2}, {"text": "short"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert passages(tmp_path / "a.jsonl") == [LONG * 2]
    assert passages(None)
