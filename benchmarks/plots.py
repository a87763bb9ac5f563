"""Draw what a ratio costs."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.tasks.rate_distortion import RateDistortion

mpl.use("Agg")  # no screen

Z_TOKEN, SOURCE_TOKEN, GUESSES = "#1f5fa8", "#c4561c", "#3c8a4e"
SIZE = (8.4, 3.8)  # inches
BITS = (5, 10, 20, 50, 100, 200)  # of the axis


def plot_rate_distortion(result: RateDistortion, path: Path) -> None:
    """Draw bits and first guesses at each ratio.

    :param result: The curve.
    :param path: Where to write the PNG file.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    bits, guesses = figure.subplots(1, 2)
    _bits(result, bits)
    _guesses(result, guesses)
    for axes in (bits, guesses):
        _ratios(result, axes)
    share = sum(point.identical for point in result.points) / len(result.points)
    figure.suptitle(
        f"{result.sampled} documents, {result.source_tokens:,} tokens; {share:.0%} come back byte for byte", fontsize=10
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)


def _bits(result: RateDistortion, axes: Axes) -> None:
    """Draw the bits of Z-tokens and residual, on a logarithmic scale."""
    ratios = [point.ratio for point in result.points]
    for name, values, color, marker in (
        ("per Z-token", [point.bits_per_z_token for point in result.points], Z_TOKEN, "o"),
        ("per source token", [point.bits_per_source_token for point in result.points], SOURCE_TOKEN, "s"),
    ):
        axes.plot(ratios, values, color=color, marker=marker, markersize=4.5, linewidth=1.6, label=name)
        for ratio, value in zip(ratios, values, strict=True):
            axes.annotate(
                f"{value:.3g}", (ratio, value), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8
            )
    axes.set_yscale("log")
    axes.set_yticks(BITS, [str(bits) for bits in BITS])
    axes.set_ylabel("bits of Z-tokens and residual")
    axes.legend(frameon=False, loc="best")


def _guesses(result: RateDistortion, axes: Axes) -> None:
    """Draw the share of first guesses, with the band of the bootstrap."""
    ratios, intervals = [point.ratio for point in result.points], [p.first_guesses_interval for p in result.points]
    axes.fill_between(
        ratios,
        [100 * interval.low for interval in intervals],
        [100 * interval.high for interval in intervals],
        color=GUESSES,
        alpha=0.15,
        linewidth=0,
    )
    shares = [100 * point.first_guesses for point in result.points]
    axes.plot(ratios, shares, color=GUESSES, marker="^", markersize=4.5, linewidth=1.6)
    axes.set_ylim(0, 103)
    axes.set_ylabel("dropped tokens that need no residual, %")


def _ratios(result: RateDistortion, axes: Axes) -> None:
    """Draw the axis of ratios, and where a call without a wanted ratio ends up."""
    ratios = [point.ratio for point in result.points]
    axes.axvline(result.usual_ratio, color="#666666", linewidth=1, linestyle=":")
    axes.annotate(
        f"usual: {result.usual_ratio:.2f}", (result.usual_ratio, 0.03), xycoords=("data", "axes fraction"),
        xytext=(5, 0), textcoords="offset points", color="#444444", fontsize=9,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(ratios, [f"{ratio:.3g}" for ratio in ratios])
    axes.minorticks_off()
    axes.set_xlabel("source tokens per Z-token")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
