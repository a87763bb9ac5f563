"""Talk to the person at the terminal: on stderr, since stdout is for results."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from zprompt.cli.tiling import visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from zprompt.results import CompressionStats


def complain(message: str) -> None:
    """Say why the program stops.

    :param message: The reason, and what to do.
    """
    _say("Error: ", message, "bold red")


def warn(message: str) -> None:
    """Say what the program did not do, and goes on without.

    :param message: What, and why.
    """
    _say("Warning: ", message, "yellow")


def note(message: str) -> None:
    """Say what the program does that one might not expect.

    :param message: What.
    """
    _say("", message, "dim")


def is_terminal() -> bool:
    """Tell whether somebody watches stderr.

    :return: True if it is a terminal.
    """
    return sys.stderr.isatty()


def table_of(headings: Iterable[str]) -> Table:
    """Lay out a small table of figures that fits into 80 columns.

    :param headings: What to write over its columns.
    :return: The table, without rows.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        style = "bold" if heading == "ratio" else ""
        table.add_column(_in_two_lines(heading), justify="right", vertical="bottom", style=style)
    return table


def figures(stats: CompressionStats) -> Table:
    """Lay out the figures of a compression.

    :param stats: The figures.
    :return: A table of one row.
    """
    columns = {"documents": f"{stats.documents:,}"} | text_figures(stats)
    if stats.passed_through:
        columns["passed through"] = f"{stats.passed_through:,}"
    table = table_of(columns)
    table.add_row(*columns.values())
    return table


def text_figures(stats: CompressionStats) -> dict[str, str]:
    """Write the figures of a compression that make sense for a single text, too.

    :param stats: The figures.
    :return: Each figure under its heading.
    """
    return {
        "source tokens": f"{stats.source_tokens:,}",
        "Z-tokens": f"{stats.z_tokens:,}",
        "ratio": f"{stats.ratio:.2f}",
        "bits/Z-token": f"{stats.bits_per_z_token:.1f}",
        "bits/source token": f"{stats.bits_per_source_token:.2f}",
        "exact": f"{stats.exact:.1%}",
        "seconds": f"{stats.seconds:.1f}",
    }


def _in_two_lines(heading: str) -> str:
    return heading.replace("/", " per\n") if "/" in heading else heading.replace(" ", "\n")


def show(content: RenderableType) -> None:
    """Print on stderr.

    :param content: What to print.
    """
    _console().print(content)


def _say(label: str, message: str, style: str) -> None:
    from rich.text import Text

    # Messages quote files and documents, which may hold whatever moves a terminal.
    _console().print(Text.assemble((label, style), visible(message) if label else (visible(message), style)))


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)
