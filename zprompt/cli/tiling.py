"""Show a text as its Z-tokens, in the terminal and on an HTML page.

The character ranges of tokens may overlap or be empty (an emoji is several tokens, all at the same character); tiles
never overlap: joined in order, they are the text.

    text = before anchor span · before anchor span · … · tail

In the terminal, Z-tokens alternate between two hues, deep where they are dense; the anchor is bold, the span after it
dim. Without colours, spans are in ‹angle quotes›. On the page (templates/tiling.html), each Z-token is a `<span>` with
a card of its details.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from zprompt.cli.messages import figures
from zprompt.page import render, text_figures, visible
from zprompt.results import ExplainedToken, Explanation
from zprompt.zspan import NO_CODE

_HUES = (((38, 48, 64), (24, 92, 168)), ((50, 40, 62), (112, 60, 160)))  # background: sparse Z-tokens … dense ones
_MAX_TOKENS = 16  # source tokens from which on a Z-token has the palest shade in the terminal
_MAX_CHARACTERS = 60  # characters from which on it has the palest shade on the page
_LABELS = 16  # of the diagram's bars that have a number: as many as a phone has room for
_ANCHOR, _SPAN = "bold #ffffff", "#b4bcc8"


@dataclass(frozen=True, slots=True)
class Tile:
    """The piece of text that a Z-token stands for."""

    token: ExplainedToken
    before: str  # text that belongs to no Z-token
    anchor: str
    span: str

    @property
    def text(self) -> str:
        """Return anchor and span."""
        return self.anchor + self.span


@dataclass(frozen=True, slots=True)
class Tiling:
    """A whole text in tiles."""

    tiles: tuple[Tile, ...]
    tail: str  # text after the last tile


def cut(explanation: Explanation) -> Tiling:
    """Cut a text into tiles, which joined are the text."""
    tiles = tuple(_tiles(explanation))
    length = sum(len(tile.before) + len(tile.text) for tile in tiles)
    return Tiling(tiles, explanation.text[length:])


def _tiles(explanation: Explanation) -> Iterator[Tile]:
    text, position = explanation.text, 0
    for token in explanation.tokens:
        start = max(token.start, position)
        middle = max(token.anchor_end, start)
        end = max(token.end, middle)
        yield Tile(token, text[position:start], text[start:middle], text[middle:end])
        position = min(end, len(text))


def density(size: int, largest: int) -> float:
    """Return 1 for a Z-token of one source token or character, falling with the logarithm to 0 for the largest."""
    return 1 - min(math.log(max(size, 1)) / math.log(largest), 1)


def print_tiling(explanation: Explanation, console: Console | None = None) -> None:
    """Print a tiling with its legend and its figures, on stdout if no console is given."""
    console = console or Console()
    coloured = console.color_system is not None
    console.print(tiling_text(explanation, coloured), soft_wrap=False)
    console.print()
    console.print(_legend(coloured))
    console.print(figures(explanation.stats))


def tiling_text(explanation: Explanation, coloured: bool = True) -> Text:
    """Lay out a tiling; without colours, spans stand in angle quotes."""
    tiling = cut(explanation)
    left, right = ("", "") if coloured else ("‹", "›")
    text = Text()
    for tile in tiling.tiles:
        # The hue alternates; the shade is by the number of source tokens that the Z-token stands for.
        background = f" on {_shade(tile.token.index, density(tile.token.gap + 1, _MAX_TOKENS))}"
        text.append(visible(tile.before))
        text.append(visible(tile.anchor), _ANCHOR + background)
        if tile.span:
            text.append(left + visible(tile.span) + right, _SPAN + background)
    return text.append(visible(tiling.tail))


def _shade(turn: int, share: float) -> str:
    pale, deep = _HUES[turn % len(_HUES)]
    red, green, blue = (round(low + (high - low) * share) for low, high in zip(pale, deep, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _legend(coloured: bool) -> Text:
    if not coloured:
        return Text("anchor‹dropped span›\n")
    background = f" on {_shade(0, 0.5)}"
    legend = Text()
    legend.append(" anchor", _ANCHOR + background).append(" dropped span ", _SPAN + background)
    legend.append("  one Z-token stands for ")
    for turn, size in enumerate((1, 2, 4, 8, _MAX_TOKENS)):
        legend.append(f" {size} ", f"{_ANCHOR} on {_shade(turn, density(size, _MAX_TOKENS))}")
    return legend.append(" source tokens\n")


def render_page(explanation: Explanation, title: str) -> str:
    """Render a tiling as a self-contained HTML page."""
    sizes = Counter(token.gap + 1 for token in explanation.tokens)
    largest = max(sizes, default=0)
    return render(
        "tiling.html",
        title=title,
        figures=text_figures(explanation.stats),
        sizes=[(size, sizes[size]) for size in range(1, largest + 1)],
        step=-(-largest // _LABELS),
        most=max(sizes.values(), default=0),
        tiling=cut(explanation),
        card=_card,
        shade=lambda tile: round(100 * density(len(tile.text), _MAX_CHARACTERS)),
    )


def _card(tile: Tile) -> str:
    """List the details of a Z-token."""
    token = tile.token
    rows = {
        "Z-token": f"{token.index}, for {token.gap + 1} source tokens" if token.gap else f"{token.index}",
        "anchor": _quote(token.anchor),
        "gap": f"{token.gap}",
    }
    if token.gap:
        rows["text"] = _quote(tile.text)
        if any(subcode != NO_CODE for subcode in token.code):
            rows["code"] = " ".join("–" if subcode == NO_CODE else str(subcode) for subcode in token.code)
        rows["residual"] = f"{token.residual_bits:.1f} bits"
    rows["cost"] = f"{token.cost:.1f} bits"
    return "\n".join(f"{name:<9}{value}" for name, value in rows.items())


def _quote(text: str) -> str:
    return visible(json.dumps(text, ensure_ascii=False))
