"""What a run measures, and the cells that this means: one for each method, task and ratio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zprompt.errors import OptionError
from zprompt.eval.full_text import FULL
from zprompt.eval.tasks.catalog import TASKS

RATIOS = (2.0, 4.0, 8.0)
LIMIT = 3
CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """The options of a run."""

    methods: tuple[str, ...]
    tasks: tuple[str, ...] = TASKS
    ratios: tuple[float, ...] = RATIOS
    data: tuple[str, ...] = ()  # files and datasets; without any for a task, it has what is shipped
    limit: int = LIMIT  # samples of each task
    characters: int = CHARACTERS  # of each text, at most
    seed: int = 0
    jobs: int = 1  # processes
    readers: tuple[str, ...] = ()  # in place of the shipped ones (readers.py)

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        :raises OptionError: If an option has a value that is not allowed.
        """
        for name, value in (("limit", self.limit), ("jobs", self.jobs), ("characters", self.characters)):
            if value < 1:
                raise OptionError(f"{name} must be at least 1, got {value}.")
        if bad := [ratio for ratio in self.ratios if not 1 <= ratio < float("inf")]:
            raise OptionError(f"ratios must be at least 1, got {bad[0]:g}.")
        for name, values in (("methods", self.methods), ("tasks", self.tasks), ("ratios", self.ratios)):
            if not values:
                raise OptionError(f"There are no {name}. Give one at least.")


@dataclass(frozen=True, slots=True)
class Cell:
    """A method, a task, and how short the method is to be."""

    method: str
    task: str
    ratio: float | None  # source tokens per position; None: the method knows one length only

    @property
    def name(self) -> str:
        """Name the cell.

        :return: Its name, as messages have it.
        """
        return f"{self.method}, {self.task}" + ("" if self.ratio is None else f", ratio {self.ratio:g}")


def cells(settings: BenchSettings, own_length: frozenset[str]) -> Iterator[Cell]:
    """List the cells of a run.

    :param settings: What is to be measured.
    :param own_length: Methods that take no budget.
    :yields: Each cell: task by task, the full text first.
    """
    for task in dict.fromkeys(settings.tasks):
        yield Cell(FULL, task, None)
        for method in dict.fromkeys(settings.methods):
            for ratio in (None,) if method in own_length else dict.fromkeys(settings.ratios):
                yield Cell(method, task, ratio)
