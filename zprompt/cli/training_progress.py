"""Show how training goes: a bar for each stage on a terminal, else a line now and then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeAlias

from zprompt.cli.messages import is_terminal, note

Figures: TypeAlias = dict[str, float]
Report: TypeAlias = Callable[[str, int, int, Figures], None]  # stage, step, steps, figures

EVERY = 50  # steps between lines


def training_reporter(stack: ExitStack, line: Callable[[Figures], str]) -> Report:
    """Give what training calls after each step.

    :param stack: Keeps the bars while training lasts.
    :param line: Writes the figures of a step.
    :return: The report.
    """
    return _bars(stack, line) if is_terminal() else _lines(line)


def _bars(stack: ExitStack, line: Callable[[Figures], str]) -> Report:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    bars = stack.enter_context(Progress(*columns, console=Console(stderr=True)))
    tasks: dict[str, TaskID] = {}

    def report(stage: str, step: int, steps: int, figures: Figures) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=steps, figures="")
        bars.update(tasks[stage], completed=step, figures=line(figures))

    return report


def _lines(line: Callable[[Figures], str]) -> Report:
    said: dict[str, int] = {}

    def report(stage: str, step: int, steps: int, figures: Figures) -> None:
        if step // EVERY > said.get(stage, 0) or step == steps:  # a stage may go on by several steps at a time
            said[stage] = step // EVERY
            note(f"{stage} {step}/{steps}{': ' if figures else ''}{line(figures)}")

    return report
