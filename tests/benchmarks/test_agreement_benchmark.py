"""The agreement benchmark ranks as Spearman did, and reads passages."""

import json
from pathlib import Path

import pytest

from benchmarks.agreement import FEWEST_WORDS, passages, rank_correlation

LONG = "word " * FEWEST_WORDS


def test_equal_orders_correlate_fully() -> None:
    assert rank_correlation([1, 5, 2], [10, 1000, 20]) == pytest.approx(1)
    assert rank_correlation([1, 5, 2], [3, 1, 2]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 1], [3, 1, 2]) == 0


def test_ties_share_their_rank() -> None:
    assert rank_correlation([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9487, abs=1e-4)


def test_short_passages_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{LONG}\n\nshort\n\n{LONG}")
    assert len(passages(tmp_path / "a.txt")) == 2
    rows = [{"paragraphs": [LONG, "short"]}, {"text": LONG}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert len(passages(tmp_path / "a.jsonl")) == 2
    assert passages(None)
