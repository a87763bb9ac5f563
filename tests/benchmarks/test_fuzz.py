"""A short run of each kind of input finds no fault, and faults are reported with their shortest input."""

import json
from pathlib import Path

import pytest

from benchmarks import fuzz
from zprompt.errors import DamagedSpanError


def test_a_small_run_finds_no_fault_and_writes_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 20.0)  # the machine may be busy
    monkeypatch.setattr("sys.argv", ["fuzz.py", "--inputs", "1500", "--seed", "7", "--out", str(tmp_path)])
    fuzz.main()

    rows = json.loads((tmp_path / "fuzz.json").read_text("utf-8"))["rows"]
    assert sum(row["inputs"] for row in rows) == 1500
    assert all(row["faults"] == [] and row["slowest"]["seconds"] >= 0 for row in rows)
    assert "| JSON lines |" in capsys.readouterr().out


def test_the_shortest_input_of_a_fault_is_reported() -> None:
    def check(number: int) -> None:
        if number % 3 == 0:
            raise DamagedSpanError("refused")
        fuzz.fuzz_spans.require(number % 3 == 1, f"a number is {number % 3}")

    tally = fuzz.try_kind("numbers", fuzz.Kind(1, lambda random: random.randrange(10**6), check), 60, seed=0)

    assert tally.refused["DamagedSpanError"] + tally.faults[0]["times"] < 60
    assert [fault["what"] for fault in tally.faults] == ["a number is 2"]
    assert len(tally.faults[0]["input"]) < 6


def test_a_foreign_exception_and_a_hang_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", -1.0)
    tally = fuzz.try_kind("any", fuzz.Kind(1, lambda _: "x", {}.__getitem__), 2, seed=0)

    assert {fault["what"]: fault["times"] for fault in tally.faults} == {"KeyError": 2, "HangError": 2}
