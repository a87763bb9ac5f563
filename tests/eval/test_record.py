"""The record of a run works on any system."""

import sys
from pathlib import Path

import pytest

from zprompt.eval import record


def test_peak_memory_is_measured_and_can_be_reset() -> None:
    record.reset_peak_memory()
    peak = record.peak_megabytes()

    assert peak is not None and 10 < peak < 100_000


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1e6), ("freebsd14", 1e6 / 1024)])
def test_peak_memory_is_measured_without_proc(platform: str, unit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(sys, "platform", platform)

    assert record.peak_megabytes() == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def test_peak_memory_is_none_where_the_system_does_not_report_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(sys, "platform", "linux")
    record.reset_peak_memory()

    assert record.peak_megabytes() is None


def test_json_has_six_digits_and_no_infinities(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.json"
    record.write_json(file, {"a": 1 / 3, "b": (float("inf"), 2), 3: None})

    assert file.read_text("utf-8").split() == '{ "a": 0.333333, "b": [ null, 2 ], "3": null }'.split()
