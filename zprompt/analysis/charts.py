"""Draw the figures as SVG, to stand inside an HTML page.

Charts are drawn in stand-in colours, which become the page's own (`var(--ink)` and so on), so that one drawing serves
a light and a dark theme. They are as narrow as a phone, and their text stays text. The same figures give the same
bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from math import log2
from typing import TYPE_CHECKING, Any, TypeAlias

from zprompt.analysis.consistency import Consistency
from zprompt.analysis.intervals import Estimate
from zprompt.analysis.placement import ClassShare, Density
from zprompt.analysis.usage import Usage
from zprompt.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw: TypeAlias = "Callable[[Axes], None]"

INK, SOFT, LINE, FIRST, SECOND = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f"
_COLOURS = {INK: "--ink", SOFT: "--soft", LINE: "--line", FIRST: "--even", SECOND: "--good"}
_WIDTH = 3.7  # inches
_FEWEST = 5  # values that a role must have to be drawn
_ROW = 0.32  # inches that a bar takes
_SETTINGS: Any = {  # mypy knows the settings by name, and wants a dict of no others
    "svg.fonttype": "none",
    "svg.hashsalt": "zprompt",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_ID = re.compile(r'(\bid="|url\(#|href="#)')


def draw_usage(usages: Sequence[Usage], name: str) -> str:
    """Draw the entropy of values, out of what they could carry.

    :param usages: The roles, or the sub-codes.
    :param name: Of the chart, different for each chart of a page.
    :return: SVG.
    """

    def draw(axes: Axes) -> None:
        most = max(log2(usage.values) for usage in usages)
        _bars(axes, [usage.name for usage in usages], [usage.entropy_bits for usage in usages], "{:.2f}")
        axes.axvline(most, color=SOFT, linewidth=1, linestyle=":")
        axes.set_xlim(0, max(most, 0.1) * 1.15)
        axes.set_xlabel(f"entropy, bits (dotted: most, {most:g})")

    return _svg(name, len(usages), draw)


def draw_consistency(rows: Sequence[Consistency], ceiling: Sequence[Consistency], name: str) -> str:
    """Draw consistency beside its control, for roles with some values.

    :param rows: The roles.
    :param ceiling: The consistency of the same words; may be empty.
    :param name: Of the chart.
    :return: SVG.
    """
    rows = [row for row in rows if row.role == "all" or row.values >= _FEWEST]
    same = {row.role: row.cosine for row in ceiling if row.values >= _FEWEST}

    def draw(axes: Axes) -> None:
        names = [row.role for row in rows]
        _points(axes, [row.control for row in rows], SOFT, "|", "values shuffled")
        _points(axes, [row.cosine for row in rows], FIRST, "o", "same value, other words")
        if same:
            _points(axes, [same.get(role) for role in names], SECOND, "D", "same words")
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel("mean cosine (lines: 95 %)")
        axes.axvline(0, color=LINE, linewidth=1)
        axes.legend(
            frameon=False,
            loc="lower center",
            bbox_to_anchor=(0.4, 1),
            ncols=2,
            handletextpad=0.3,
            fontsize=8,
            columnspacing=1,
        )

    return _svg(name, len(rows) + 2, draw)


def draw_shares(shares: Sequence[ClassShare], kept: float, name: str) -> str:
    """Draw which share of each class is kept as anchors.

    :param shares: The classes.
    :param kept: The share of all tokens.
    :param name: Of the chart.
    :return: SVG.
    """

    def draw(axes: Axes) -> None:
        labels = [f"{share.name} ({share.tokens:,})" for share in shares]
        _bars(axes, labels, [100 * share.kept.value for share in shares], "{:.0f}", label_at=_highs(shares))
        errors = _errors([share.kept for share in shares], 100)
        axes.errorbar(
            [100 * share.kept.value for share in shares], range(len(shares)), xerr=errors, fmt="none", ecolor=INK,
            elinewidth=1,
        )  # fmt: skip
        axes.axvline(100 * kept, color=SOFT, linewidth=1, linestyle=":")
        axes.set_xlim(0, max(_highs(shares)) * 1.12 + 1)
        axes.set_xlabel("kept as anchors, % (dotted: all)")

    return _svg(name, len(shares), draw)


def draw_density(stretches: Sequence[Density], kept: float, label: str, name: str) -> str:
    """Draw anchors per source token along a text or a window.

    :param stretches: The stretches, in order.
    :param kept: Anchors per token over all of them.
    :param label: Of the axis along the text.
    :param name: Of the chart.
    :return: SVG.
    """

    def draw(axes: Axes) -> None:
        x = [stretch.start for stretch in stretches]
        axes.fill_between(
            x, [100 * s.density.low for s in stretches], [100 * s.density.high for s in stretches], color=FIRST,
            alpha=0.2, linewidth=0, step=None,
        )  # fmt: skip
        axes.plot(x, [100 * s.density.value for s in stretches], color=FIRST, marker="o", markersize=3.5, linewidth=1.5)
        axes.axhline(100 * kept, color=SOFT, linewidth=1, linestyle=":")
        axes.set_ylim(bottom=0)
        axes.set(xlabel=label, ylabel="anchors per 100 tokens (band: 95 %)")

    return _svg(name, 7, draw)


def _bars(
    axes: Axes, names: Sequence[str], lengths: Sequence[float], form: str, label_at: Sequence[float] | None = None
) -> None:
    axes.barh(range(len(names)), lengths, color=FIRST, height=0.66)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    for row, (length, place) in enumerate(zip(lengths, label_at or lengths, strict=True)):
        axes.annotate(
            form.format(length), (place, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )


def _highs(shares: Sequence[ClassShare]) -> list[float]:
    return [100 * max(share.kept.high, share.kept.value) for share in shares]


def _points(axes: Axes, estimates: Sequence[Estimate | None], colour: str, marker: str, label: str) -> None:
    known = [(row, one) for row, one in enumerate(estimates) if one is not None]
    found = [one for _, one in known]
    if not found:
        return
    axes.errorbar(
        [one.value for one in found], [row for row, _ in known], xerr=_errors(found, 1), fmt=marker, color=colour,
        markersize=5, elinewidth=1.2, label=label,
    )  # fmt: skip


def _errors(estimates: Sequence[Estimate], factor: float) -> tuple[list[float], list[float]]:
    below = [factor * max(0.0, one.value - one.low) for one in estimates]
    return below, [factor * max(0.0, one.high - one.value) for one in estimates]


def _svg(name: str, rows: int, draw: Draw) -> str:
    """Draw a chart of so many rows, and make it part of a page."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("Charts need matplotlib: pip install 'zprompt[analyze]'.") from error
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(_WIDTH, 0.9 + _ROW * rows), layout="constrained")
        draw(figure.subplots())
        return _inline(figure, name)


def _inline(figure: Figure, name: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = _ID.sub(rf"\g<1>{name}-", svg[svg.index("<svg") :])  # a page has one of each id
    for stand_in, variable in _COLOURS.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg
