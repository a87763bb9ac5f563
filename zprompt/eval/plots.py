"""Plot each task's main figure, and the time that shortening takes, against the ratio, as SVG.

Colours are variables of the page's style sheet, so that one drawing serves a light and a dark theme; text stays text.
Each method also has its own marker, as not everybody sees colours.
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

# matplotlib's markers, and the same shapes as characters for the legend
_MARKERS = (
    ("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"), ("<", "◀"), (">", "▶"),
    ("h", "⬢"), ("p", "⬟"), ("*", "★"),
)  # fmt: skip
_INK, _SOFT, _LINE = "#010101", "#020202", "#030303"  # stand-ins for variables of the style sheet
_VARIABLES = {_INK: "--ink", _SOFT: "--soft", _LINE: "--line"}
_SIZE = (5.4, 3.6)  # inches


@dataclass(frozen=True, slots=True)
class Style:
    """How a method is drawn in every chart."""

    method: str
    marker: str
    sign: str  # the marker in the legend
    variable: str  # the style sheet's variable for the colour
    stand_in: str  # the colour that stands for the variable while matplotlib draws


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing."""

    title: str
    svg: str


def styles_of(results: BenchResults) -> list[Style]:
    """List the methods that have figures, each with its style."""
    methods = dict.fromkeys(result.cell.method for result in results.cells if result.reason is None)
    return [
        Style(method, *_MARKERS[index % len(_MARKERS)], f"--m{index % len(_MARKERS)}", f"#04{index:02x}04")
        for index, method in enumerate(methods)
    ]


def draw_charts(results: BenchResults) -> list[Chart]:
    """Plot quality and time for each task that has figures."""
    styles = styles_of(results)
    charts: list[Chart] = []
    for task in results.tasks:
        measured = [result for result in results.of_task(task.name) if result.reason is None]
        if measured:
            charts += [_draw_quality(task, measured, styles), _draw_time(task, measured, styles)]
    return charts


def _draw_quality(task: TaskInfo, results: Sequence[CellResult], styles: Sequence[Style]) -> Chart:
    metric = task.main_metric
    figure, axes = _new_axes(f"{metric.name}{', %' if metric.percent else ''}")
    scale = 100 if metric.percent else 1
    for style in styles:
        points = _points(style.method, results, metric)
        ratios = [x for x, _ in points]
        if len(points) > 1:
            low, high = [scale * y.low for _, y in points], [scale * y.high for _, y in points]
            axes.fill_between(ratios, low, high, color=style.stand_in, alpha=0.12, linewidth=0)
        _plot(axes, ratios, [scale * y.value for _, y in points], style)
    axes.set_ylim(-3, 103)
    return Chart(f"{task.title}: what is kept", _svg(figure, f"{task.name}-quality", styles))


def _draw_time(task: TaskInfo, results: Sequence[CellResult], styles: Sequence[Style]) -> Chart:
    from matplotlib.ticker import LogLocator

    figure, axes = _new_axes("s to shorten 1,000 tokens")
    for style in styles:
        points = [(x, y) for x, y in _points(style.method, results, SPEED) if y.value]
        _plot(axes, [x for x, _ in points], [1000 / y.value for _, y in points], style)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # the axis may span less than a decade
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    return Chart(f"{task.title}: what it takes", _svg(figure, f"{task.name}-time", styles))


def _points(method: str, results: Sequence[CellResult], metric: Metric) -> list[tuple[float, Estimate]]:
    """Return a method's figures with the ratios that it reached, in ascending order of the ratios."""
    pairs = [(result.get(POSITIONS), result.get(metric)) for result in results if result.cell.method == method]
    points = [(ratio.value, figure) for ratio, figure in pairs if ratio and figure]
    return sorted(points, key=lambda point: point[0])


def _new_axes(label: str) -> tuple[Figure, Axes]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 12}):  # phones show drawings at about half their width
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
    """Return a drawing as SVG that can be embedded in a page beside others."""
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
