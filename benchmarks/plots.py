"""Draw the rate-distortion curve."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.tasks.rate_distortion import RateDistortion

mpl.use("Agg")  # no screen

SERIES = (
    ("BLEU-4", "#1f5fa8", "o"),
    ("token accuracy", "#c4561c", "s"),
    ("numbers", "#3c8a4e", "^"),
    ("names", "#7b5aa6", "v"),
)
SIZE = (7.2, 4.2)  # inches


def plot_rate_distortion(result: RateDistortion, path: Path) -> None:
    """Draw what comes back at each ratio.

    :param result: The curve.
    :param path: Where to write the PNG file.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    ratios = [point.ratio for point in result.points]
    values = {
        "BLEU-4": [point.bleu for point in result.points],
        "token accuracy": [100 * point.accuracy for point in result.points],
        "numbers": [100 * point.numbers if point.numbers is not None else float("nan") for point in result.points],
        "names": [100 * point.names if point.names is not None else float("nan") for point in result.points],
    }
    bleu = [point.bleu_interval for point in result.points]
    axes.fill_between(
        ratios, [b.low for b in bleu], [b.high for b in bleu], color=SERIES[0][1], alpha=0.15, linewidth=0
    )
    for name, color, marker in SERIES:
        axes.plot(ratios, values[name], color=color, marker=marker, markersize=4.5, linewidth=1.6, label=name)
    axes.axvline(result.exact_ratio, color="#666666", linewidth=1, linestyle=":")
    axes.annotate(
        f"exact up to {result.exact_ratio:.2f}", (result.exact_ratio, 0.03), xycoords=("data", "axes fraction"),
        xytext=(5, 0), textcoords="offset points", color="#444444", fontsize=9,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(ratios, [f"{ratio:.3g}" for ratio in ratios])
    axes.minorticks_off()
    axes.set_ylim(0, 103)
    axes.set_xlabel("source tokens per Z-token")
    axes.set_ylabel("BLEU-4, or per cent that comes back")
    axes.set_title(f"{result.sampled} documents, {result.source_tokens:,} tokens; band: 95 % bootstrap", fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
