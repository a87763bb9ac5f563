"""Report the progress of long work.

The library calls a `Progress` and draws nothing itself. `rich_progress` makes one that draws bars on stderr, for
interactive programs: the command line and the examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]  # stage, amount done, amount in all

_IN_BYTES = frozenset({"download"})  # stages that count bytes; the others count items


def rich_progress(enabled: bool = True) -> AbstractContextManager[Progress | None]:
    """Draw a bar for each stage of the work on stderr, and remove the bars at the end.

    :param enabled: False draws nothing.
    :return: A context of the `progress` to pass to the library; None if it is not enabled.
    """
    return _bars() if enabled else nullcontext()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, done: int, total: int) -> None:
            amount = _amount(stage, done, total)
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage.capitalize(), total=total, amount=amount)
            bars.update(tasks[stage], completed=done, total=total, amount=amount)

        yield advance


def _amount(stage: str, done: int, total: int) -> str:
    """Format the amount done, in the unit of the stage."""
    from rich.filesize import decimal

    return f"{decimal(done)} of {decimal(total)}" if stage in _IN_BYTES else f"{done:,} of {total:,}"
