"""Keep what a run found in one JSON file, which is whole after every cell, so that a run can go on from it.

    {"format": "zprompt-bench", "version": 1, "run": …, "settings": …, "tasks": …, "cells": [ … ]}

Times and the record of the run differ from run to run; all else is the same for the same command and commit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zprompt.errors import BenchResultsError
from zprompt.eval.cells import CellResult
from zprompt.eval.record import write_json
from zprompt.eval.settings import BenchSettings, Cell
from zprompt.eval.tasks.protocol import Task

FILE = "bench.json"
FORMAT, VERSION = "zprompt-bench", 1


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What a report says about a task."""

    name: str
    title: str
    main: str
    figures: tuple[str, ...]
    source: str
    samples: int
    digest: str

    @classmethod
    def of(cls, task: Task, digest: str) -> TaskInfo:
        """Describe a task.

        :param task: The task.
        :param digest: Names its samples.
        :return: The description.
        """
        return cls(task.name, task.title, task.main, tuple(task.figures), task.source, len(task.samples), digest)


@dataclass(frozen=True, slots=True)
class BenchResults:
    """All that a run found."""

    run: dict[str, Any]  # the record of the run (record.py)
    settings: BenchSettings
    tasks: tuple[TaskInfo, ...]
    cells: tuple[CellResult, ...]

    def find(self, cell: Cell) -> CellResult | None:
        """Give the result of a cell.

        :param cell: The cell.
        :return: Its result, if there is one.
        """
        return next((one for one in self.cells if one.cell == cell), None)

    def of_task(self, name: str) -> Sequence[CellResult]:
        """Give the results of a task.

        :param name: The task.
        :return: Its cells, in their order.
        """
        return [one for one in self.cells if one.cell.task == name]


def save(results: BenchResults, folder: Path) -> None:
    """Write results; the file is never half written.

    :param results: The results.
    :param folder: The run's folder.
    """
    part = folder / f"{FILE}.part"
    values = {
        "format": FORMAT,
        "version": VERSION,
        "run": results.run,
        "settings": asdict(results.settings),
        "tasks": [asdict(task) for task in results.tasks],
        "cells": [one.to_dict() for one in results.cells],
    }
    write_json(part, values)
    part.replace(folder / FILE)


def load(path: Path) -> BenchResults:
    """Read results.

    :param path: A run's folder, or the file in it.
    :return: The results.
    :raises BenchResultsError: If there are none, or they have another form.
    """
    file = path / FILE if path.is_dir() else path
    try:
        values = json.loads(file.read_text("utf-8"))
        if (values["format"], values["version"]) != (FORMAT, VERSION):
            raise BenchResultsError(
                f"{file} has the version {values['version']!r} of {values['format']!r}, and this release reads "
                f"{VERSION} of {FORMAT!r}. Run `zprompt bench` again, or use the release that wrote it."
            )
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values["settings"].items()
        }
        tasks = tuple(TaskInfo(**{**task, "figures": tuple(task["figures"])}) for task in values["tasks"])
        found = tuple(CellResult.from_dict(one) for one in values["cells"])
        return BenchResults(values["run"], BenchSettings(**settings), tasks, found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, BenchResultsError):
            raise
        raise BenchResultsError(
            f"{file} has no results of `zprompt bench`: {error!r}. Give the folder that a run wrote."
        ) from error
