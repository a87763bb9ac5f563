"""Draw what a training run did: bits a dropped token costs, and the dev ratio."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zprompt.errors import MissingDependencyError
from zprompt.train.trainer import STAGES


def new_figure() -> Any:  # noqa: ANN401 - matplotlib's Figure, which is not to be imported here
    """Start a figure that needs no screen.

    :return: The figure.
    :raises MissingDependencyError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("Plots need matplotlib: pip install 'zprompt[train]'.") from error
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_history(history: Sequence[dict[str, float | str]], path: Path) -> None:
    """Draw a training history.

    :param history: Entries with stage, step, bits, code_usage_bits and, here and there, dev_ratio.
    :param path: A PNG file to write.
    """
    figure = new_figure()
    for axes, stage in zip(figure.subplots(1, len(STAGES)), STAGES, strict=True):
        entries = [entry for entry in history if entry["stage"] == stage]
        steps = [entry["step"] for entry in entries]
        axes.plot(steps, [entry["bits"] for entry in entries], color="tab:blue", linewidth=0.8)
        axes.set(title=stage, xlabel="step", ylabel="bits per dropped token")
        measured = [entry for entry in entries if "dev_ratio" in entry]
        if measured:
            right = axes.twinx()
            right.plot([e["step"] for e in measured], [e["dev_ratio"] for e in measured], "o-", color="tab:orange")
            right.set_ylabel("exact ratio on dev windows", color="tab:orange")
    figure.savefig(path, dpi=120)
