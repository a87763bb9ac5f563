"""Write to the person at the terminal: on stderr, since stdout is for results."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from zprompt.page import text_figures, visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from zprompt.results import CompressionStats


def complain(message: str) -> None:
    """Report why the program stops."""
    _say("Error: ", message, "bold red")


def warn(message: str) -> None:
    """Report what the program skips."""
    _say("Warning: ", message, "yellow")


def note(message: str) -> None:
    """Report what the user might not expect, or want to know."""
    _say("", message, "dim")


def is_terminal() -> bool:
    """Return whether stderr is a terminal."""
    return sys.stderr.isatty()


def table_of(headings: Iterable[str]) -> Table:
    """Make an empty table of figures that fits into 80 columns."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        style = "bold" if heading == "ratio" else ""
        table.add_column(_in_two_lines(heading), justify="right", vertical="bottom", style=style)
    return table


def figures(stats: CompressionStats) -> Table:
    """Lay out the figures of a compression as a table of one row."""
    columns = {"documents": f"{stats.documents:,}"} | text_figures(stats)
    if stats.passed_through:
        columns["passed through"] = f"{stats.passed_through:,}"
    table = table_of(columns)
    table.add_row(*columns.values())
    return table


def _in_two_lines(heading: str) -> str:
    return heading.replace("/", " per\n") if "/" in heading else heading.replace(" ", "\n")


def show(content: RenderableType) -> None:
    """Print on stderr."""
    _console().print(content)


def _say(label: str, message: str, style: str) -> None:
    from rich.text import Text

    # Messages quote files and documents, which may have control characters.
    _console().print(Text.assemble((label, style), visible(message) if label else (visible(message), style)))


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)
