"""Draw what a ratio costs: for each task its main figure, and the time that shortening takes, as SVG.

Colours are written as variables of the page's style sheet, so that one drawing serves a light and a dark theme; text
stays text. Each method has a mark of its own, too: not everybody sees colours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import LogLocator

from zprompt.eval.cells import SPEED, CellResult
from zprompt.eval.figures import Figure
from zprompt.eval.results import BenchResults, TaskInfo

MARKS = {
    "o": "●",
    "s": "■",
    "^": "▲",
    "D": "◆",
    "v": "▼",
    "P": "✚",
    "X": "✖",
    "<": "◀",
    ">": "▶",
    "h": "⬢",
    "p": "⬟",
    "*": "★",
}
_INK, _SOFT, _LINE = "#010101", "#020202", "#030303"  # stand for variables of the style sheet
_VARIABLES = {_INK: "--ink", _SOFT: "--soft", _LINE: "--line"}
_SIZE = (5.4, 3.6)  # inches


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing."""

    title: str
    svg: str


def charts(results: BenchResults) -> list[Chart]:
    """Draw all tasks.

    :param results: The results.
    :return: For each task that has figures, quality and time.
    """
    styles = {method: place for place, method in enumerate(methods_of(results))}
    drawn = []
    for task in results.tasks:
        own = [one for one in results.of_task(task.name) if one.reason is None]
        if own:
            drawn += [_quality(task, own, styles), _time(task, own, styles)]
    return drawn


def methods_of(results: BenchResults) -> list[str]:
    """List the methods that have a line, in the order of their colours.

    :param results: The results.
    :return: Their names.
    """
    return list(dict.fromkeys(one.cell.method for one in results.cells if one.reason is None))


def mark(place: int) -> str:
    """Give the mark of a method.

    :param place: Its place in `methods_of`.
    :return: One of `MARKS`.
    """
    return list(MARKS)[place % len(MARKS)]


def _quality(task: TaskInfo, own: Sequence[CellResult], styles: dict[str, int]) -> Chart:
    """Draw the main figure over the ratio."""
    drawing, axes = _axes(f"{task.main}{'' if 'BLEU' in task.main else ', %'}")
    scale = 1 if "BLEU" in task.main else 100
    for method, place in styles.items():
        points = _points(method, own, task.main)
        ratios, values = [x for x, _ in points], [scale * y.value for _, y in points]
        if len(points) > 1:
            low, high = [scale * y.low for _, y in points], [scale * y.high for _, y in points]
            axes.fill_between(ratios, low, high, color=_color(place), alpha=0.12, linewidth=0)
        _line(axes, ratios, values, place)
    axes.set_ylim(-3, 103)
    return Chart(f"{task.title}: what is kept", _svg(drawing, f"{task.name}-quality", len(styles)))


def _time(task: TaskInfo, own: Sequence[CellResult], styles: dict[str, int]) -> Chart:
    """Draw the time of shortening over the ratio."""
    drawing, axes = _axes("s to shorten 1,000 tokens")
    for method, place in styles.items():
        points = [(x, y) for x, y in _points(method, own, SPEED) if y.value]
        _line(axes, [x for x, _ in points], [1000 / y.value for _, y in points], place)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # there may be less than a decade
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    return Chart(f"{task.title}: what it takes", _svg(drawing, f"{task.name}-time", len(styles)))


def _points(method: str, own: Sequence[CellResult], name: str) -> list[tuple[float, Figure]]:
    """Give a method's figures at the ratios that it reached."""
    found = []
    for one in own:
        figure, ratio = {**one.figures, **one.times}.get(name), one.figures.get("positions ratio")
        if one.cell.method == method and figure and ratio:
            found.append((ratio.value, figure))
    return sorted(found, key=lambda point: point[0])


def _axes(label: str) -> tuple[Drawing, Axes]:
    """Start a drawing."""
    with mpl.rc_context({"font.size": 12}):  # a phone shows the drawing at about half its width
        drawing = Drawing(figsize=_SIZE, layout="constrained")
        axes = drawing.subplots()
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("source tokens per position", color=_INK)
        axes.set_ylabel(label, color=_INK)
    axes.tick_params(colors=_SOFT)
    axes.grid(color=_LINE, linewidth=0.8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_SOFT)
    axes.patch.set_visible(False)
    drawing.patch.set_visible(False)
    return drawing, axes


def _line(axes: Axes, ratios: Sequence[float], values: Sequence[float], place: int) -> None:
    """Draw a method's line."""
    axes.plot(ratios, values, color=_color(place), marker=mark(place), markersize=5, linewidth=1.6, clip_on=False)


def _color(place: int) -> str:
    """Give the colour that stands for a method's variable."""
    return f"#04{place:02x}04"


def _svg(drawing: Drawing, name: str, colors: int) -> str:
    """Write a drawing as SVG that can stand in a page among others."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    head = f'<svg role="img" aria-label="{name}" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'{head} \1 xmlns="http://www.w3.org/2000/svg">', svg, count=1)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([\w-]+)"', lambda match: match.group() if match.group(1) in used else "", svg)
    variables = _VARIABLES | {_color(place): f"--m{place % len(MARKS)}" for place in range(colors)}
    for color, variable in variables.items():
        svg = svg.replace(color, f"var({variable})")
    return svg
