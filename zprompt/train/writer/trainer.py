"""Run a writer's training step by step, so that a stopped run goes on where it was.

The reader is frozen: a step reads its texts once, without gradients, and trains the heads on the hidden states. All
randomness of a step comes from (seed, step): a resumed run draws what an uninterrupted one would have drawn.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from zprompt.reader import ZTokenHead
from zprompt.train.reader.reading import Reading
from zprompt.train.reader.trainer import RAMP
from zprompt.train.loop import Figures, Progress, rate_at, refuse_another_run, run_steps, write_checkpoint
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
        writer: ZTokenHead,
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
        self._run = {"reader": reader, **config.to_dict()}
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.is_file():
            self._resume()

    def run(self, report: Callable[[Progress, Figures], None]) -> None:
        """Train to the end.

        :param report: Called after every step.
        """
        run_steps(self, self.config.steps, self.config.checkpoint_every, report)

    def step(self, step: int) -> Figures:
        """Train on one batch.

        :param step: Number of the step.
        :return: Before the update: cross-entropies and accuracies of gaps and sub-codes.
        """
        texts = self.examples.draw(self.config.batch, np.random.default_rng([self.config.seed, step]))
        targets = targets_of(self.reading, texts)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.config.rate, step, self.config.steps, RAMP)
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
        write_checkpoint(self.checkpoint, state)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        stopped = json.loads(state["run"])
        refuse_another_run(self.checkpoint.parent, stopped, self._run, FREE, "delete the folder to start anew")
        self.writer.load_state_dict(state["writer"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
