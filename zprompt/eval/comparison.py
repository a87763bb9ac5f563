"""Compare two runs, cell by cell.

    difference = figure of this run - figure of the other

Where both measured the same samples, the difference has an interval by a bootstrap that draws the same samples for
both; BLEU is no sum over samples, and has none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from zprompt.eval.cells import SPEED, CellResult
from zprompt.eval.figures import Figure
from zprompt.eval.results import BenchResults, TaskInfo
from zprompt.eval.sections import Section
from zprompt.eval.statistics import RESAMPLES, bootstrap
from zprompt.eval.writing import NONE, ratio_of, write


def compare(one: BenchResults, other: BenchResults) -> Iterator[Section]:
    """Compare the main figure and the speed of each cell that both runs have.

    :param one: A run.
    :param other: Another run.
    :yields: A section for each task that both have.
    """
    theirs = {task.name: task for task in other.tasks}
    said = f"The other run: `{other.run['command']}` at commit {other.run['commit']}, {other.run['started']}."
    for task in one.tasks:
        if task.name in theirs:
            same = task.digest == theirs[task.name].digest
            samples = "The samples are the same." if same else "**The samples are not the same.**"
            head = ("method", "asked", f"{task.main}, this", "other", "difference", "tokens/s, this", "other")
            rows = tuple(_rows(task, one, other, same))
            yield Section(f"Compared: {task.title}", f"{said} {samples}", head, rows)


def _rows(task: TaskInfo, one: BenchResults, other: BenchResults, same: bool) -> Iterator[tuple[str, ...]]:
    """Compare the cells of a task."""
    for mine in one.of_task(task.name):
        its = other.find(mine.cell)
        if its is None:
            yield (mine.cell.method, ratio_of(mine.cell), *([NONE] * 2), "not in the other run", NONE, NONE)
            continue
        pair = [result.figures.get(task.main) for result in (mine, its)]
        yield (
            mine.cell.method,
            ratio_of(mine.cell),
            *(write(task.main, figure, brief=True) for figure in pair),
            _difference(task.main, mine, its, same),
            *(write(SPEED, result.times.get(SPEED), brief=True) for result in (mine, its)),
        )


def _difference(name: str, mine: CellResult, its: CellResult, same: bool) -> str:
    """Write the difference of a figure."""
    own, theirs = mine.figures.get(name), its.figures.get(name)
    if own is None or theirs is None:
        return NONE
    value = own.value - theirs.value
    pairs = [_shares(result, name) for result in (mine, its)]
    if not same or not pairs[0] or pairs[0].keys() != pairs[1].keys():
        return _signed(write(name, Figure(value, value, value, value, 1)))
    one, other = (np.array(list(shares.values())) for shares in pairs)

    def of(rows: NDArray[np.int64]) -> float:
        return float(one[rows, 0].sum() / one[rows, 1].sum() - other[rows, 0].sum() / other[rows, 1].sum())

    interval = bootstrap(of, len(one), RESAMPLES, 0)
    parts = (_signed(write(name, Figure(v, v, v, v, 1))) for v in (value, interval.low, interval.high))
    return "{} [{}, {}]".format(*parts)


def _shares(result: CellResult, name: str) -> dict[str, list[float]]:
    """Give what each sample adds to a figure."""
    return {row["id"]: row["shares"][name] for row in result.samples if name in row["shares"]}


def _signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"
