"""Run a reader's training step by step, so that a stopped run goes on where it was.

All randomness of a step comes from (seed, step): a resumed run draws what an uninterrupted one would have drawn. The
rows of a step are computed in micro-batches of like length, so that little is padding.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from zprompt.llm import Backbone
from zprompt.train.reader.config import TASKS, ReaderTrainConfig
from zprompt.train.reader.examples import Examples
from zprompt.train.reader.lora import Lora
from zprompt.train.reader.objective import candidates, target_losses
from zprompt.train.reader.reading import Reading
from zprompt.train.reader.rows import Row, lay_out
from zprompt.train.reader.start import Start
from zprompt.train.loop import Figures, Progress, rate_at, refuse_another_run, run_steps, write_checkpoint

RAMP = 20  # steps until the learning rate is full
PADDING = 0.25  # of a row, at most, unless it is alone
FREE = ("checkpoint_every", "evaluate_every", "dev_passages", "dev_questions", "dev_ratios", "micro_batch")


class ReaderTrainer:
    """Trains a LoRA and a Z-embedding."""

    def __init__(
        self, config: ReaderTrainConfig, backbone: Backbone, start: Start, examples: Examples, folder: Path
    ) -> None:
        """Set up a run, or pick up one that was stopped.

        :param config: What to do.
        :param backbone: The frozen LLM.
        :param start: The LoRA and the Z-embedding as they start; the embedding is trained.
        :param examples: Where rows come from.
        :param folder: Where checkpoints are kept.
        """
        self.config, self.examples = config, examples
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self.lora = Lora(backbone, start.adapter, dtype)
        self.embedding = start.embedding.to(backbone.device)
        self.reading = Reading(self.lora.decoder, self.embedding, backbone.embeddings, backbone.output_embeddings)
        rates = (
            (self.lora.downs, config.rate),
            (self.lora.ups, config.up_rate),
            (list(self.embedding.parameters()), config.embedding_rate),
        )
        groups = [{"params": parameters, "lr": rate, "highest": rate} for parameters, rate in rates]
        self.parameters = [parameter for parameters, _ in rates for parameter in parameters]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
        self.progress = Progress()
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
        :return: Before the update: the loss, and the cross-entropy of each task's targets.
        """
        random = np.random.default_rng([self.config.seed, step])
        self._set_rates(step)
        rows = self.examples.draw(random)
        counts = {task: sum(row.targets for row in rows if row.task == task) for task in TASKS}
        sums = dict.fromkeys((*TASKS, "loss"), 0.0)
        self.optimizer.zero_grad()
        for group in micro_batches(rows, self.config.micro_batch):
            self._accumulate(group, counts, sums, random)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.lora.merge()
        self.progress.positions += sum(map(len, rows))
        self.progress.targets += sum(counts.values())
        return {"loss": sums["loss"], **{task: sums[task] / count for task, count in counts.items() if count}}

    def _accumulate(
        self, rows: Sequence[Row], counts: dict[str, int], sums: Figures, random: np.random.Generator
    ) -> None:
        """Add the gradients and figures of a micro-batch; each task's targets have its share of the loss together."""
        batch = lay_out(rows, self.config.top)
        vocab, config = len(self.reading.head), self.config
        tokens = candidates(batch, vocab, config.common_candidates, config.random_candidates, random)
        losses = target_losses(self.reading.hidden(batch), self.reading.head, batch, tokens, config.gold_weight)
        shares = dict(zip(TASKS, self.examples.shares.tolist(), strict=True))
        weights = torch.tensor([shares[task] / counts[task] for task in batch.tasks])[batch.rows]
        loss = (losses.total * weights.to(losses.total.device)).sum()
        loss.backward()
        sums["loss"] += loss.item()
        for index, task in enumerate(batch.tasks):
            sums[task] += float(losses.gold[(batch.rows == index).to(losses.gold.device)].sum())

    def _set_rates(self, step: int) -> None:
        """Warm up, then cool along a cosine."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(group["highest"], step, self.config.steps, RAMP)

    def save(self) -> None:
        """Write a checkpoint; an interrupted write leaves the last one."""
        state = {
            "config": json.dumps(self.config.to_dict(), sort_keys=True),
            "parameters": [parameter.detach() for parameter in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "progress": {name: getattr(self.progress, name) for name in Progress.__slots__},
        }
        write_checkpoint(self.checkpoint, state)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        refuse_another_run(self.checkpoint.parent, json.loads(state["config"]), self.config.to_dict(), FREE)
        with torch.no_grad():
            for parameter, saved in zip(self.parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        self.lora.merge()
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])


def micro_batches(rows: Sequence[Row], most: int) -> Iterator[list[Row]]:
    """Group rows of like length.

    :param rows: The rows.
    :param most: Positions of a group, padding included; a row that is longer is alone.
    :return: The groups.
    :yields: A group.
    """
    group: list[Row] = []
    for row in sorted(rows, key=len, reverse=True):
        full = group and (len(group) + 1) * len(group[0]) > most
        if full or (group and len(row) < (1 - PADDING) * len(group[0])):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
