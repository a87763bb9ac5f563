"""Run a writer's training step by step, so that a stopped run goes on where it was.

The reader is frozen: a step reads its texts once, without gradients, and trains the heads on the hidden states. All
randomness of a step comes from (seed, step): a resumed run draws what an uninterrupted one would have drawn.
"""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from zprompt.errors import CheckpointError
from zprompt.reader.writing import ZWriter
from zprompt.train.reader.reading import Reading
from zprompt.train.reader.trainer import LOWEST, RAMP, Figures, Progress
from zprompt.train.writer.config import WriterTrainConfig
from zprompt.train.writer.examples import WrittenExamples, targets_of
from zprompt.train.writer.fit import losses_of

FREE = ("checkpoint_every", "evaluate_every", "dev_passages", "dev_questions")  # may change when a run goes on


class WriterTrainer:
    """Trains a writer."""

    def __init__(
        self,
        config: WriterTrainConfig,
        reading: Reading,
        writer: ZWriter,
        examples: WrittenExamples,
        folder: Path,
        reader: str,
    ) -> None:
        """Set up a run, or pick up one that was stopped.

        :param config: What to do.
        :param reading: The frozen reader.
        :param writer: The writer as it starts.
        :param examples: Where texts come from.
        :param folder: Where checkpoints are kept.
        :param reader: Fingerprint of the reader.
        """
        self.config, self.reading, self.writer, self.examples = config, reading, writer, examples
        self.optimizer = torch.optim.AdamW(writer.parameters(), config.rate, (0.9, 0.98), weight_decay=config.decay)
        self.progress = Progress()
        self._run = {"reader": reader, **json.loads(json.dumps(config.to_dict()))}
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.is_file():
            self._resume()

    def run(self, report: Callable[[Progress, Figures], None]) -> None:
        """Train to the end.

        :param report: Called after every step.
        """
        while self.progress.step < self.config.steps:
            began = time.monotonic()
            figures = self.step(self.progress.step)
            self.progress.step += 1
            self.progress.seconds += time.monotonic() - began
            report(self.progress, figures)
            if self.progress.step % self.config.checkpoint_every == 0 or self.progress.step == self.config.steps:
                self.save()

    def step(self, step: int) -> Figures:
        """Train on one batch.

        :param step: Number of the step.
        :return: Before the update: cross-entropies and accuracies of gaps and sub-codes.
        """
        texts = self.examples.draw(self.config.batch, np.random.default_rng([self.config.seed, step]))
        targets = targets_of(self.reading, texts)
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.config.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * min(1.0, (step + 1) / RAMP) * (LOWEST + (1 - LOWEST) * cosine)
        losses = losses_of(self.writer, targets)
        self.optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.writer.parameters(), 1.0)
        self.optimizer.step()
        self.progress.positions += sum(len(text.positions) for text in texts)
        self.progress.targets += len(targets.gaps)
        figures = {"gap": losses.gap.mean().item(), "gap_right": losses.gap_right.float().mean().item()}
        if len(losses.code):
            figures |= {"code": losses.code.mean().item(), "code_right": losses.code_right.float().mean().item()}
        return figures

    def save(self) -> None:
        """Write a checkpoint; an interrupted write leaves the last one."""
        state = {
            "run": json.dumps(self._run),
            "writer": self.writer.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": {name: getattr(self.progress, name) for name in Progress.__slots__},
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        stopped = json.loads(state["run"])
        changed = sorted(name for name in self._run if name not in FREE and stopped.get(name) != self._run[name])
        if changed:
            raise CheckpointError(
                f"The run in {self.checkpoint.parent} was started with another {' and '.join(changed)}: "
                f"{[stopped.get(name) for name in changed]}, now {[self._run[name] for name in changed]}. "
                "Go on with what it was started with, or delete the folder to start anew."
            )
        self.writer.load_state_dict(state["writer"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
