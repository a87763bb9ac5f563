"""Draw what a ratio costs: for each task its main figure, and the time that shortening takes, as SVG.

Colours are written as variables of the page's style sheet, so that one drawing serves a light and a dark theme; text
stays text. Each method has a marker of its own, too: not everybody sees colours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zprompt.eval.metrics import POSITIONS, SPEED, Metric
from zprompt.eval.results import BenchResults, CellResult, TaskInfo
from zprompt.eval.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib's markers, and the same as characters for the legend
_MARKERS = (
    ("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"), ("<", "◀"), (">", "▶"),
    ("h", "⬢"), ("p", "⬟"), ("*", "★"),
)  # fmt: skip
_INK, _SOFT, _LINE = "#010101", "#020202", "#030303"  # stand for variables of the style sheet
_VARIABLES = {_INK: "--ink", _SOFT: "--soft", _LINE: "--line"}
_SIZE = (5.4, 3.6)  # inches


@dataclass(frozen=True, slots=True)
class Style:
    """How a method is drawn in every chart."""

    method: str
    marker: str
    sign: str  # the marker in the legend
    variable: str  # of the style sheet: the colour
    stand_in: str  # the colour that stands for the variable while matplotlib draws


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing."""

    title: str
    svg: str


def styles_of(results: BenchResults) -> list[Style]:
    """List the methods that have figures, each with its style."""
    methods = dict.fromkeys(one.cell.method for one in results.cells if one.reason is None)
    return [
        Style(method, *_MARKERS[place % len(_MARKERS)], f"--m{place % len(_MARKERS)}", f"#04{place:02x}04")
        for place, method in enumerate(methods)
    ]


def draw_charts(results: BenchResults) -> list[Chart]:
    """Draw quality and time for each task that has figures."""
    styles = styles_of(results)
    charts: list[Chart] = []
    for task in results.tasks:
        own = [one for one in results.of_task(task.name) if one.reason is None]
        if own:
            charts += [_draw_quality(task, own, styles), _draw_time(task, own, styles)]
    return charts


def _draw_quality(task: TaskInfo, own: Sequence[CellResult], styles: Sequence[Style]) -> Chart:
    metric = task.main_metric
    figure, axes = _new_axes(f"{metric.name}{', %' if metric.percent else ''}")
    scale = 100 if metric.percent else 1
    for style in styles:
        points = _points(style.method, own, metric)
        ratios = [x for x, _ in points]
        if len(points) > 1:
            low, high = [scale * y.low for _, y in points], [scale * y.high for _, y in points]
            axes.fill_between(ratios, low, high, color=style.stand_in, alpha=0.12, linewidth=0)
        _plot(axes, ratios, [scale * y.value for _, y in points], style)
    axes.set_ylim(-3, 103)
    return Chart(f"{task.title}: what is kept", _svg(figure, f"{task.name}-quality", styles))


def _draw_time(task: TaskInfo, own: Sequence[CellResult], styles: Sequence[Style]) -> Chart:
    from matplotlib.ticker import LogLocator

    figure, axes = _new_axes("s to shorten 1,000 tokens")
    for style in styles:
        points = [(x, y) for x, y in _points(style.method, own, SPEED) if y.value]
        _plot(axes, [x for x, _ in points], [1000 / y.value for _, y in points], style)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # there may be less than a decade
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    return Chart(f"{task.title}: what it takes", _svg(figure, f"{task.name}-time", styles))


def _points(method: str, own: Sequence[CellResult], metric: Metric) -> list[tuple[float, Estimate]]:
    """Return a method's figures at the ratios that it reached."""
    mine = [(one.get(POSITIONS), one.get(metric)) for one in own if one.cell.method == method]
    found = [(ratio.value, figure) for ratio, figure in mine if ratio and figure]
    return sorted(found, key=lambda point: point[0])


def _new_axes(label: str) -> tuple[Figure, Axes]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 12}):  # a phone shows the drawing at about half its width
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.subplots()
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
    figure.patch.set_visible(False)
    return figure, axes


def _plot(axes: Axes, ratios: Sequence[float], values: Sequence[float], style: Style) -> None:
    axes.plot(ratios, values, color=style.stand_in, marker=style.marker, markersize=5, linewidth=1.6, clip_on=False)


def _svg(figure: Figure, name: str, styles: Sequence[Style]) -> str:
    """Return a drawing as SVG that can stand in a page among others."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    head = f'<svg role="img" aria-label="{name}" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'{head} \1 xmlns="http://www.w3.org/2000/svg">', svg, count=1)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([\w-]+)"', lambda match: match.group() if match.group(1) in used else "", svg)
    for color, variable in {**_VARIABLES, **{style.stand_in: style.variable for style in styles}}.items():
        svg = svg.replace(color, f"var({variable})")
    return svg
