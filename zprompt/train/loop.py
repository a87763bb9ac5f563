"""What all trainings share: how the learning rate goes, the loop over steps, and checkpoints.

    rate(step) = highest * min(1, (step + 1) / ramp) * (LOWEST + (1 - LOWEST) * (1 + cos(pi * step / steps)) / 2)

A checkpoint is written beside the last one and takes its place in the end, so that an interrupted write loses nothing;
a run with other settings is not gone on with.
"""

import json
import math
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from zprompt.errors import CheckpointError

LOWEST = 0.03  # of the learning rate, at the end

Figures = dict[str, float]


@dataclass(slots=True)
class Progress:
    """How far a run of one stage has come."""

    step: int = 0
    seconds: float = 0.0  # of training, over all sessions
    positions: int = 0  # that were read, without padding
    targets: int = 0
    history: list[Figures] = field(default_factory=list)


class Stepped(Protocol):
    """A training that goes step by step."""

    progress: Progress

    def step(self, step: int) -> Figures:
        """Train on one batch.

        :param step: Number of the step.
        :return: What is reported of it.
        """

    def save(self) -> None:
        """Write a checkpoint."""


def run_steps(
    training: Stepped, steps: int, checkpoint_every: int, report: Callable[[Progress, Figures], None]
) -> None:
    """Train to the end.

    :param training: The training, wherever it has come to.
    :param steps: How many steps it has in all.
    :param checkpoint_every: Steps between checkpoints; there is one at the end, too.
    :param report: Called after every step.
    """
    progress = training.progress
    while progress.step < steps:
        began = time.monotonic()
        figures = training.step(progress.step)
        progress.step += 1
        progress.seconds += time.monotonic() - began
        report(progress, figures)
        if progress.step % checkpoint_every == 0 or progress.step == steps:
            training.save()


def rate_at(highest: float, step: int, steps: int, ramp: int) -> float:
    """Warm up, then cool along a cosine.

    :param highest: The highest learning rate.
    :param step: Number of the step.
    :param steps: How many there are.
    :param ramp: Steps until the rate is full.
    :return: The learning rate.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return highest * min(1.0, (step + 1) / ramp) * (LOWEST + (1 - LOWEST) * cosine)


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint; an interrupted write leaves the last one.

    :param path: Where to.
    :param state: What `torch.load` with weights_only=True reads.
    """
    partial = path.with_suffix(".partial")
    torch.save(dict(state), partial)
    os.replace(partial, path)


def refuse_another_run(
    folder: Path,
    stopped: Mapping[str, Any],
    wanted: Mapping[str, Any],
    free: Collection[str],
    otherwise: str = "start anew in another folder",
) -> None:
    """Refuse to go on with a run that other results would have come from.

    :param folder: Where the run is.
    :param stopped: The settings that it was started with, as JSON has them.
    :param wanted: The settings now.
    :param free: Settings that may change.
    :param otherwise: What to do instead of going on.
    :raises CheckpointError: If any other setting has changed.
    """
    now = json.loads(json.dumps(wanted))
    changed = sorted(name for name in now if name not in free and stopped.get(name) != now[name])
    if changed:
        raise CheckpointError(
            f"The run in {folder} was started with another {' and '.join(changed)}: "
            f"{[stopped.get(name) for name in changed]}, now {[now[name] for name in changed]}. "
            f"Go on with what it was started with, or {otherwise}."
        )
