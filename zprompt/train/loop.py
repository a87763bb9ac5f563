"""The training loop, and the checkpoints in a run's folder.

A run ends after a number of steps, or of minutes over all of its sessions. With `done` the share of the run that is
done, the learning rate rises linearly for `ramp` steps and falls as a cosine to LOWEST of the highest:

    rate = highest * min(1, (step + 1) / ramp) * (LOWEST + (1 - LOWEST) * (1 + cos(pi * done)) / 2)

A trainer draws all randomness of a step from (seed, step), so a run that is limited in steps gives the same weights
whether it was interrupted or not; one that is limited in minutes depends on the clock, too.

    checkpoint.json                       step, config, history; names the files of the tensors
    checkpoint-STEP-PART.safetensors      parameters in fp16, AdamW's two moments in bf16

A checkpoint replaces the last one only when it is complete: its JSON is written last. It takes six bytes a parameter,
in files of 15 MB at most, for machines from which no larger file can be copied. Saving rounds the state in memory, too,
so that an uninterrupted run goes on from where a resumed one starts. A run is resumed only with the config that it was
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
from safetensors.torch import save_file
from torch import Tensor, nn

from zprompt.errors import CheckpointError
from zprompt.llm import load_tensors

LOWEST = 0.03  # final learning rate, as a share of the highest
MINUTE = 60.0  # seconds between checkpoints of a run that is limited in minutes
MOST_BYTES = 15_000_000  # of a checkpoint's tensors in one file
STATE_FILE = "checkpoint.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")

Figures = dict[str, float]
Report = Callable[[str, int, int, Figures], None]  # stage, step, steps, figures


@dataclass(slots=True)
class TrainingProgress:
    """The state of a run, apart from its weights."""

    step: int = 0  # steps done
    seconds: float = 0.0  # of steps, evaluations and checkpoints, over all sessions
    positions: int = 0  # model inputs, without padding
    targets: int = 0  # tokens in the loss
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON, which `TrainingProgress(**…)` takes."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Limit:
    """When a run ends."""

    steps: int  # of the whole run, unless minutes are given
    minutes: float | None = None  # over all sessions

    def done(self, progress: TrainingProgress) -> float:
        """Return the share of the run that is done; 1 or more at its end."""
        if self.minutes is None:
            return progress.step / self.steps
        return progress.seconds / (60 * self.minutes)

    def counts(self, progress: TrainingProgress) -> tuple[int, int]:
        """Return what is done and what there is to do, for reports: steps, or seconds."""
        if self.minutes is None:
            return progress.step, self.steps
        return int(progress.seconds), int(60 * self.minutes)


class Trainer(Protocol):
    """A model in training."""

    progress: TrainingProgress

    def step(self, step: int, done: float) -> Figures:
        """Train on one batch when a share of the run is done, and return the figures to report."""

    def save(self) -> None:
        """Write a checkpoint."""


def run_steps(
    trainer: Trainer, limit: Limit, checkpoint_every: int, report: Callable[[TrainingProgress, Figures], None]
) -> None:
    """Train until the run's end.

    :param trainer: The trainer, new or resumed.
    :param limit: When the run ends.
    :param checkpoint_every: Steps between checkpoints, if the limit is in steps; there is also one at the end.
    :param report: Called after every step.
    """
    progress = trainer.progress
    saved = before = time.monotonic()
    while (done := limit.done(progress)) < 1:
        figures = trainer.step(progress.step, done)
        progress.step += 1
        report(progress, figures)
        now = time.monotonic()
        progress.seconds, before = progress.seconds + now - before, now
        due = progress.step % checkpoint_every == 0 if limit.minutes is None else now - saved >= MINUTE
        if due or limit.done(progress) >= 1:
            trainer.save()
            saved = now


def rate_at(highest: float, done: float, step: int, ramp: int) -> float:
    """Return the learning rate of a step; see the formula above."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return highest * min(1.0, (step + 1) / ramp) * (LOWEST + (1 - LOWEST) * cosine)


def is_due(step: int, limit: Limit, every: int) -> bool:
    """Return whether to evaluate after a step; not after the last one, which is followed by the final evaluation."""
    return bool(every) and step % every == 0 and (limit.minutes is not None or step < limit.steps)


@torch.no_grad()
def write_checkpoint(
    folder: Path, parameters: Sequence[nn.Parameter], optimizer: torch.optim.AdamW, state: Mapping[str, Any]
) -> None:
    """Round the trained state and write it; if writing is interrupted, the last checkpoint stays.

    :param folder: The run's folder.
    :param parameters: The trained parameters, which are rounded.
    :param optimizer: Their optimizer, whose moments are rounded.
    :param state: Values for JSON; "progress" among them.
    """
    tensors = {}
    for index, parameter in enumerate(parameters):
        moments = optimizer.state.get(parameter, {})
        to_store = {"parameter": (parameter, torch.float16)} | {
            name: (moments[name], torch.bfloat16) for name in _MOMENTS if name in moments
        }
        for name, (tensor, dtype) in to_store.items():
            rounded = tensors[f"{name}.{index}"] = tensor.detach().to(dtype).cpu().contiguous()
            tensor.copy_(rounded)
    files = []
    for number, shard in enumerate(_shards(tensors)):
        files.append(f"checkpoint-{state['progress']['step']:06}-{number}.safetensors")
        save_file(shard, folder / files[-1])
    partial = folder / "checkpoint.partial"
    partial.write_text(json.dumps({**state, "files": files}) + "\n", "utf-8")
    os.replace(partial, folder / STATE_FILE)
    for path in folder.glob("checkpoint-*.safetensors"):
        if path.name not in files:
            path.unlink()


def _shards(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Group tensors in order into files of MOST_BYTES at most, or of one tensor."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > MOST_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def read_state(folder: Path) -> dict[str, Any] | None:
    """Read the JSON of a checkpoint; None if there is none."""
    path = folder / STATE_FILE
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else None


@torch.no_grad()
def load_checkpoint(
    folder: Path, parameters: Sequence[nn.Parameter], optimizer: torch.optim.AdamW, state: Mapping[str, Any]
) -> None:
    """Load the tensors of a checkpoint.

    :param folder: The run's folder.
    :param parameters: The trained parameters, which are overwritten.
    :param optimizer: Their optimizer, whose moments are overwritten.
    :param state: What `read_state` returned.
    :raises CheckpointError: If a file is missing or damaged.
    """
    tensors: dict[str, Tensor] = {}
    for name in state["files"]:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder / STATE_FILE} names {name}, which is missing. Restore it, or start a new run."
            )
        tensors |= load_tensors(folder / name)
    for index, parameter in enumerate(parameters):
        parameter.copy_(tensors[f"parameter.{index}"])
        moments = {name: tensors[key].to(parameter) for name in _MOMENTS if (key := f"{name}.{index}") in tensors}
        if moments:
            optimizer.state[parameter] = {"step": torch.tensor(float(state["progress"]["step"])), **moments}


def refuse_another_run(
    path: Path, stopped: Mapping[str, Any], wanted: Mapping[str, Any], free: Collection[str]
) -> None:
    """Raise an error if the run in a folder was started with a config that gives other results.

    :param path: The run's checkpoint.
    :param stopped: The config that it was started with, read from JSON.
    :param wanted: The config now.
    :param free: Fields that may change.
    :raises CheckpointError: If any other field has changed.
    """
    now = json.loads(json.dumps(wanted))
    changed = sorted(name for name in now if name not in free and stopped.get(name) != now[name])
    if changed:
        raise CheckpointError(
            f"The run in {path.parent} was started with a different {' and '.join(changed)}: "
            f"{[stopped.get(name) for name in changed]}, now {[now[name] for name in changed]}. "
            "Resume with the original values, or start a new run in another folder."
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
