"""The results of a run, in one JSON file that is written after every cell, so that a stopped run can continue.

    {"format": "zprompt-bench", "version": 1, "run": …, "settings": …, "tasks": …, "cells": [ … ]}

A cell is one method, one task and one ratio. Times and the record of the run differ from run to run; everything else is
the same for the same command and commit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zprompt.errors import BenchResultsError, OptionError
from zprompt.eval.metrics import Metric, metric_of
from zprompt.eval.record import write_json
from zprompt.eval.statistics import Estimate, Ratio
from zprompt.eval.tasks import Task

RESULTS_FILE = "bench.json"
FORMAT, VERSION = "zprompt-bench", 1


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """The options of a run."""

    methods: tuple[str, ...] = ("focus-z", "focus-text", "pruning", "truncation")  # as in zprompt.baselines.names()
    tasks: tuple[str, ...] = ("retrieved", "reconstruction")  # of TASKS
    ratios: tuple[float, ...] = (8.0,)  # source tokens per position to ask for
    data: tuple[str, ...] = ()  # files and datasets; a task without any uses shipped samples
    limit: int = 50  # maximum number of samples of each task
    characters: int = 400  # maximum length of a text
    seed: int = 0  # decides everything random
    jobs: int = 1  # processes; several disturb each other's times
    readers: tuple[str, ...] = ()  # in place of the shipped ones

    def __post_init__(self) -> None:
        """Raise OptionError if an option has a value that is not allowed."""
        for name, value in (("limit", self.limit), ("jobs", self.jobs), ("characters", self.characters)):
            if value < 1:
                raise OptionError(f"{name} must be at least 1, got {value}.")
        if bad := [ratio for ratio in self.ratios if not 1 <= ratio < float("inf")]:
            raise OptionError(f"ratios must be at least 1, got {bad[0]:g}.")
        for name, values in (("methods", self.methods), ("tasks", self.tasks), ("ratios", self.ratios)):
            if not values:
                raise OptionError(f"No {name} were given. Pass at least one.")


@dataclass(frozen=True, slots=True)
class Cell:
    """A method, a task, and the ratio that is asked of the method."""

    method: str
    task: str
    ratio: float | None  # source tokens per position; None: the method has a length of its own


@dataclass(frozen=True, slots=True)
class CellResult:
    """What was measured in a cell, or why nothing was."""

    cell: Cell
    key: str  # hash of all that the figures depend on
    reason: str | None = None  # why it could not be measured
    figures: dict[str, Estimate] = field(default_factory=dict)  # by the metric's name; the same in every run
    times: dict[str, Estimate] = field(default_factory=dict)  # different in every run
    megabytes: float | None = None  # peak memory of the process during the cell, models included
    missing: dict[str, str] = field(default_factory=dict)  # metric or reader: why it has no figures
    samples: tuple[dict[str, Any], ...] = ()  # id, group, and numerator and denominator of each figure

    def get(self, metric: Metric) -> Estimate | None:
        """Return the figure or time of a metric, if there is one."""
        return self.figures.get(metric.name) or self.times.get(metric.name)

    def ratios(self, metric: Metric, group: str | None = None) -> list[tuple[str, Ratio]]:
        """Return the id of each sample, of one group or of all, with what it adds to a figure."""
        return [
            (row["id"], Ratio(*row["shares"][metric.name]))
            for row in self.samples
            if metric.name in row["shares"] and group in (None, row["group"])
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields under their names, for JSON."""
        return {**asdict(self), "samples": list(self.samples)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CellResult:
        """Read what `to_dict` returned."""
        fields = dict(values)
        for name in ("figures", "times"):
            fields[name] = {metric: Estimate(**estimate) for metric, estimate in fields[name].items()}
        return cls(**{**fields, "cell": Cell(**fields["cell"]), "samples": tuple(fields["samples"])})


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What reports say about a task."""

    name: str
    title: str
    main: str  # name of the metric that is plotted and compared
    figures: tuple[str, ...]  # names of all metrics, in the order of reports
    source: str
    samples: int
    digest: str

    @classmethod
    def of(cls, task: Task) -> TaskInfo:
        """Describe a task."""
        names = tuple(metric.name for metric in task.metrics)
        return cls(task.name, task.title, task.main.name, names, task.source, len(task.samples), task.digest)

    @property
    def main_metric(self) -> Metric:
        """Return the metric that is plotted and compared."""
        return metric_of(self.main)


@dataclass(frozen=True, slots=True)
class BenchResults:
    """All that a run measured."""

    run: dict[str, Any]  # its record (record.py)
    settings: BenchSettings
    tasks: tuple[TaskInfo, ...]
    cells: tuple[CellResult, ...]

    def find(self, cell: Cell) -> CellResult | None:
        """Return the result of a cell, if there is one."""
        return next((result for result in self.cells if result.cell == cell), None)

    def of_task(self, name: str) -> Sequence[CellResult]:
        """Return the results of a task's cells, in order."""
        return [result for result in self.cells if result.cell.task == name]


def save_results(results: BenchResults, folder: Path) -> None:
    """Write results to a run's folder, atomically."""
    partial = folder / f"{RESULTS_FILE}.part"
    values = {
        "format": FORMAT,
        "version": VERSION,
        "run": results.run,
        "settings": asdict(results.settings),
        "tasks": [asdict(task) for task in results.tasks],
        "cells": [result.to_dict() for result in results.cells],
    }
    write_json(partial, values)
    partial.replace(folder / RESULTS_FILE)


def load_results(path: Path) -> BenchResults:
    """Read results.

    :param path: A run's folder, or the file in it.
    :return: The results.
    :raises BenchResultsError: If there are none, or they have another format or version.
    """
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        values = json.loads(file.read_text("utf-8"))
        if (values["format"], values["version"]) != (FORMAT, VERSION):
            raise BenchResultsError(
                f"{file} has the version {values['version']!r} of {values['format']!r}, but this release reads "
                f"{VERSION} of {FORMAT!r}. Run `zprompt bench` again, or use the release that wrote it."
            )
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values["settings"].items()
        }
        tasks = tuple(TaskInfo(**{**task, "figures": tuple(task["figures"])}) for task in values["tasks"])
        cells = tuple(CellResult.from_dict(cell) for cell in values["cells"])
        return BenchResults(values["run"], BenchSettings(**settings), tasks, cells)
    except BenchResultsError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchResultsError(
            f"{file} has no results of `zprompt bench`: {error!r}. Pass the folder that a run wrote."
        ) from error
