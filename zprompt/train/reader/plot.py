"""Draw what a reader's training did: the cross-entropy of each task, and the context benefit kept."""

from collections.abc import Sequence
from pathlib import Path

from zprompt.train.plot import new_figure
from zprompt.train.reader.config import TASKS


def plot_reader_history(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw a training history.

    :param history: Entries with step, the cross-entropy of tasks and, here and there, kept.
    :param path: A PNG file to write.
    """
    figure = new_figure()
    losses, benefit = figure.subplots(1, 2)
    for task in TASKS:
        entries = [entry for entry in history if task in entry]
        losses.plot([e["step"] for e in entries], [e[task] for e in entries], linewidth=0.8, label=task)
    losses.set(title="training", xlabel="step", ylabel="nats per target")
    losses.legend(frameon=False)
    measured = [entry for entry in history if "kept" in entry]
    benefit.plot([e["step"] for e in measured], [e["kept"] for e in measured], "o-", color="tab:orange")
    benefit.set(title="development", xlabel="step", ylabel="context benefit kept")
    figure.savefig(path, dpi=120)
