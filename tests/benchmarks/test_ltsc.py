"""The benchmark of LTSC runs, and writes its results."""

import json
from pathlib import Path

import pytest

from benchmarks import ltsc
from benchmarks.ltsc import Lengths, Peer
from zprompt.llm import Backbone


def test_a_small_run_writes_json_and_markdown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    source = tmp_path / "some.log"
    source.write_text("".join(f"line {i % 7} of the log: the dog sleeps on in the sun\n" for i in range(60)), "utf-8")
    (tmp_path / "empty.log").touch()
    monkeypatch.setattr(ltsc, "RESULTS", tmp_path)
    monkeypatch.setattr(ltsc, "machine_files", lambda: {"code": [source], "logs": [source]})
    monkeypatch.setattr(ltsc, "_delta", lambda: (None, "delta-ltsc is not there"))
    monkeypatch.setattr(ltsc, "default_tokenizer", lambda: tiny_backbone.tokenizer)
    monkeypatch.setattr("sys.argv", ["ltsc.py", "--limit", "2", "--tokens", "200"])
    ltsc.main()
    results = json.loads((tmp_path / "ltsc.json").read_text("utf-8"))
    assert [row["kind"] for row in results["inputs"]] == ["code", "code", "logs", "logs"]
    assert all(row["shortest"] < row["source"] == 200 for row in results["inputs"])
    report = (tmp_path / "ltsc.md").read_text("utf-8")
    assert "| logs | 2 × 200 |" in report
    assert "delta-ltsc is not there" in report


def test_the_comparison_counts_ties_as_ours() -> None:
    row = Lengths("code", 100, 90, 80, 85, 80, 95, 100, seconds=0.5)
    lines = " ".join(ltsc._comparison([(row, Peer(80, 5.0, 1.0, 3)), (row, Peer(70, 5.0, 1.0, 0))]))
    assert "at least as short on 1 (worst: 1.14 times as long)" in lines
    assert "10.0 times as long, its fastest 2.0 times. 3 of its 32 runs" in lines
