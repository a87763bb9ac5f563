"""The benchmark of bulk runs simulates a fleet, and measures speed and memory."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale import Fleet, Range, measure_memory, measure_speed, report, simulate
from tests.conftest import SENTENCES
from zprompt.batch import BatchSettings
from zprompt.eval import RunRecord

SMALL = Fleet(passages=100_000, workers=10, chunk_rows=100)
IDEAL = replace(SMALL, spread=0.0, slow=0.0, hours_between_deaths=1e9, bad=0.0)


def test_workers_without_faults_take_as_long_as_they_compute() -> None:
    row = simulate(IDEAL, rate=2.0, seed=0)

    assert row["passages/s"] == pytest.approx(20)
    assert row["efficiency"] == pytest.approx(1)
    assert (row["deaths"], row["repeated"], row["waiting"]) == (0, 0, pytest.approx(0))


def test_faults_cost_time_and_no_rows() -> None:
    row = simulate(replace(SMALL, hours_between_deaths=0.5), rate=2.0, seed=0)

    assert row["rows"] == SMALL.passages
    assert row["deaths"] > 0 and row["repeated"] > 0
    assert 0.5 < row["efficiency"] < 1


def test_a_simulation_can_be_repeated() -> None:
    assert simulate(SMALL, 1.0, seed=1) == simulate(SMALL, 1.0, seed=1) != simulate(SMALL, 1.0, seed=2)


@pytest.mark.slow
def test_speed_and_memory_are_measured(tiny_backbone_dir: Path) -> None:
    settings = BatchSettings(Path(), codec=str(tiny_backbone_dir), chunk_rows=2)

    speed = measure_speed(SENTENCES, [1], 1, "processes", settings)
    memory = measure_memory(600, settings.codec)

    tables = {"speed": speed, "memory": memory, "simulation": [simulate(SMALL, 1.0, 0)]}
    assert isinstance(speed[0]["passages/s"], Range) and speed[0]["of one"] == 1.0
    assert [row["rows"] for row in memory] == [256, 512, 600]
    assert "| 10 | 100 | 1.00 |" in "\n".join(report(RunRecord.take(0, time.time()), tables))
