"""The training loop, and what it keeps in a run's folder.

Learning rate, with a linear warm-up of `ramp` steps and a cosine down to LOWEST of the highest rate:

    rate(step) = highest * min(1, (step + 1) / ramp) * (LOWEST + (1 - LOWEST) * (1 + cos(pi * step / steps)) / 2)

A trainer draws all randomness of a step from (seed, step), so a resumed run gives the weights of an uninterrupted one.
A checkpoint replaces the last one only when it is complete, and a run is resumed only with the config that it was
started with.
"""

import json
import math
import os
import platform
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from zprompt.errors import CheckpointError, MissingDependencyError

LOWEST = 0.03  # final learning rate, as a share of the highest

Figures = dict[str, float]
Report = Callable[[str, int, int, Figures], None]  # stage, step, steps, figures


@dataclass(slots=True)
class TrainingProgress:
    """The state of a run beside its weights."""

    step: int = 0  # steps done
    seconds: float = 0.0  # of training, over all sessions
    positions: int = 0  # model inputs, without padding
    targets: int = 0  # tokens in the loss
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict that `TrainingProgress(**…)` and `torch.load` take."""
        return asdict(self)


class Trainer(Protocol):
    """A model in training."""

    progress: TrainingProgress

    def step(self, step: int) -> Figures:
        """Train on one batch and return the figures to report."""

    def save(self) -> None:
        """Write a checkpoint."""


def run_steps(
    trainer: Trainer, steps: int, checkpoint_every: int, report: Callable[[TrainingProgress, Figures], None]
) -> None:
    """Train until `steps` steps are done.

    :param trainer: The trainer, new or resumed.
    :param steps: Steps of the whole run.
    :param checkpoint_every: Steps between checkpoints; there is also one after the last step.
    :param report: Called after every step.
    """
    progress = trainer.progress
    while progress.step < steps:
        began = time.monotonic()
        figures = trainer.step(progress.step)
        progress.step += 1
        progress.seconds += time.monotonic() - began
        report(progress, figures)
        if progress.step % checkpoint_every == 0 or progress.step == steps:
            trainer.save()


def rate_at(highest: float, step: int, steps: int, ramp: int) -> float:
    """Return the learning rate of a step; see the formula above."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return highest * min(1.0, (step + 1) / ramp) * (LOWEST + (1 - LOWEST) * cosine)


def is_due(step: int, steps: int, every: int) -> bool:
    """Return whether to evaluate after a step; the evaluation after the last one is the run's own."""
    return bool(every) and step % every == 0 and step < steps


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, and keep the last one if writing is interrupted.

    :param path: The file.
    :param state: Values that `torch.load` reads with weights_only=True.
    """
    partial = path.with_suffix(".partial")
    torch.save(dict(state), partial)
    os.replace(partial, path)


def refuse_another_run(
    folder: Path, stopped: Mapping[str, Any], wanted: Mapping[str, Any], free: Collection[str]
) -> None:
    """Raise an error if the run in a folder was started with a config that gives other results.

    :param folder: The run's folder.
    :param stopped: The config that it was started with, as JSON has it.
    :param wanted: The config now.
    :param free: Fields that may change.
    :raises CheckpointError: If any other field has changed.
    """
    now = json.loads(json.dumps(wanted))
    changed = sorted(name for name in now if name not in free and stopped.get(name) != now[name])
    if changed:
        raise CheckpointError(
            f"The run in {folder} was started with another {' and '.join(changed)}: "
            f"{[stopped.get(name) for name in changed]}, now {[now[name] for name in changed]}. "
            "Go on with what it was started with, or start anew in another folder."
        )


def write_record(
    path: Path, summary: Mapping[str, Any], config: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """Write how a model was trained, as JSON: summary, config, versions, machine, time and history."""
    record = {
        **summary,
        "config": config,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": platform.processor() or platform.machine(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "history": history,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def new_figure() -> Any:  # noqa: ANN401 - matplotlib's Figure; importing it here would need the extra
    """Return an empty matplotlib figure that needs no screen.

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
