"""Draw a tiling in the terminal.

Z-tokens take turns in two hues, deep where they lie densely. The anchor is bold, the span after it dim. Without
colours, spans stand in ‹angle quotes›.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from zprompt.cli.messages import figures
from zprompt.cli.tiling import Tile, cut, density, visible
from zprompt.results import Explanation

_HUES = (((38, 48, 64), (24, 92, 168)), ((50, 40, 62), (112, 60, 160)))  # background: few Z-tokens here … many
_LONGEST = 16  # source tokens from which on a Z-token is drawn in the palest shade
_ANCHOR, _SPAN = "bold #ffffff", "#b4bcc8"


@dataclass(frozen=True, slots=True)
class _Marks:
    """What stands around a span where there is no colour to tell it by."""

    start: str = ""
    end: str = ""


def print_tiling(explanation: Explanation, console: Console | None = None) -> None:
    """Print a tiling with its legend and its figures.

    :param explanation: The text and its Z-tokens.
    :param console: Where to print; None for stdout.
    """
    console = console or Console()
    console.print(tiling_text(explanation, coloured=console.color_system is not None), soft_wrap=False)
    console.print()
    console.print(_legend(coloured=console.color_system is not None))
    console.print(figures(explanation.stats))


def tiling_text(explanation: Explanation, coloured: bool = True) -> Text:
    """Lay out a tiling.

    :param explanation: The text and its Z-tokens.
    :param coloured: False marks spans with characters instead of colours.
    :return: What Rich prints.
    """
    tiling = cut(explanation)
    marks = _Marks() if coloured else _Marks("‹", "›")
    text = Text()
    for tile in tiling.tiles:
        text.append(visible(tile.before))
        _append(text, tile, marks)
    return text.append(visible(tiling.tail))


def _append(text: Text, tile: Tile, marks: _Marks) -> None:
    background = f" on {_background(tile)}"
    text.append(visible(tile.anchor), _ANCHOR + background)
    if tile.span:
        text.append(marks.start + visible(tile.span) + marks.end, _SPAN + background)


def _background(tile: Tile) -> str:
    """Choose a colour: the hue by turns, the shade by how many source tokens the Z-token stands for."""
    return _shade(tile.token.index, density(tile.token.gap + 1, _LONGEST))


def _shade(turn: int, share: float) -> str:
    pale, deep = _HUES[turn % len(_HUES)]
    red, green, blue = (round(low + (high - low) * share) for low, high in zip(pale, deep, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _legend(coloured: bool) -> Text:
    if not coloured:
        return Text("anchor‹span that is let go›\n")
    legend = Text()
    legend.append(" anchor", f"{_ANCHOR} on {_shade(0, 0.5)}").append(
        " span that is let go ", f"{_SPAN} on {_shade(0, 0.5)}"
    )
    legend.append("  one Z-token stands for ")
    for turn, size in enumerate((1, 2, 4, 8, _LONGEST)):
        legend.append(f" {size} ", f"{_ANCHOR} on {_shade(turn, density(size, _LONGEST))}")
    return legend.append(" source tokens\n")
