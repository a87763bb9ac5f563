"""Run the two stages of a codec's training, step by step, so that a stopped run goes on where it was.

    warm-up    no LLM: the sub-codes learn to tell segments apart
    joint      the frozen LLM's hidden states in: heads learn what the LLM does not expect

All randomness of a step comes from (seed, stage, step): a resumed run draws what an uninterrupted one would have
drawn.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.codec import CodecHeads
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone
from zprompt.train.config import CodecTrainConfig
from zprompt.train.features import FeatureStore
from zprompt.train.masks import RunningCosts, Spans, choose_spans
from zprompt.train.objective import Loss, Objective
from zprompt.train.loop import rate_at, refuse_another_run, write_checkpoint

STAGES = ("warmup", "joint")
FREE = ("checkpoint_every", "evaluate_every", "dev_windows", "lora_steps", "lora_batch", "lora_rank", "lora_rate")
RAMP = 50  # steps until the learning rate is full


@dataclass(slots=True)
class Progress:
    """How far a run has come."""

    stage: int = 0
    step: int = 0  # of this stage
    seconds: float = 0.0  # of training, over all sessions
    tokens: int = 0  # dropped tokens trained on
    history: list[dict[str, float | str]] = field(default_factory=list)


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Say what matrix products compute in.

    :param precision: "auto", "bf16" or "fp32".
    :param device: Where they run.
    :return: bfloat16 where it is asked for, or fast.
    """
    fast = device.type == "cuda" or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast) else torch.float32


class Trainer:
    """Trains codec heads on windows of token ids."""

    def __init__(
        self, config: CodecTrainConfig, backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32], folder: Path
    ) -> None:
        """Set up a run, or pick up one that was stopped.

        :param config: What to do.
        :param backbone: The frozen LLM.
        :param heads: The heads to train.
        :param windows: (N, T), training windows.
        :param folder: Where checkpoints and hidden states are kept.
        :raises CheckpointError: If the run in the folder was started with another config.
        """
        self.config, self.backbone, self.heads, self.windows, self.folder = config, backbone, heads, windows, folder
        self.dtype = choose_dtype(config.precision, backbone.device)
        self.objective = Objective(heads, backbone.output_embeddings, config.usage_weight)
        self.parameters = [*heads.parameters(), self.objective.warmup_scale]
        self.costs = RunningCosts((len(windows), windows.shape[1]))
        self.features = FeatureStore(folder / "features", backbone, windows, self.dtype)
        self.optimizer = self._new_optimizer()
        self.progress = Progress()
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.is_file():
            self._resume()

    def run(self, report: Callable[[Progress, Loss], None]) -> None:
        """Train to the end.

        :param report: Called after every step.
        """
        while self.progress.stage < len(STAGES):
            stage = STAGES[self.progress.stage]
            steps = self.config.warmup_steps if stage == "warmup" else self.config.joint_steps
            while self.progress.step < steps:
                began = time.monotonic()
                loss = self.step(stage, self.progress.step, steps)
                self.progress.step += 1
                self.progress.seconds += time.monotonic() - began
                self.progress.tokens += len(loss.bits)
                report(self.progress, loss)
                if self.progress.step % self.config.checkpoint_every == 0:
                    self.save()
            if stage == "warmup" and steps:
                self.objective.finish_warmup()
                self.costs = RunningCosts((len(self.windows), self.windows.shape[1]))  # the LLM knows far more
            self.progress.stage, self.progress.step = self.progress.stage + 1, 0
            self.optimizer = self._new_optimizer()
            self.save()

    def step(self, stage: str, step: int, steps: int) -> Loss:
        """Train on one batch.

        :param stage: "warmup" or "joint".
        :param step: Number of the step in its stage.
        :param steps: Steps of the stage.
        :return: The loss before the update.
        """
        random = np.random.default_rng([self.config.seed, STAGES.index(stage), step])
        torch.manual_seed(int(random.integers(2**31)))
        joint, done = stage == "joint", step / steps
        rate = self.config.joint_rate if joint else self.config.warmup_rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(rate, step, steps, RAMP)
        rows, spans = self._batch(joint, step, random)
        ids = torch.from_numpy(self.windows[rows].astype(np.int64)).to(self.backbone.device)
        hidden = self.features[rows].to(ids.device) if joint else None
        temperature = self._temperature(joint, done)
        with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            loss = self.objective(ids, spans, hidden, self.candidates(random), temperature)
        self.optimizer.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        dropped = loss.dropped
        self.costs.update(rows[dropped.window.numpy()], dropped.position.numpy(), loss.bits.cpu().numpy())
        return loss

    def _batch(self, joint: bool, step: int, random: np.random.Generator) -> tuple[NDArray[np.int64], Spans]:
        """Choose windows and the spans to drop from them."""
        available = len(self.windows)
        if joint:
            self.features.ensure(self.config.first_windows + self.config.growth * step)
            available = min(available, self.config.first_windows + self.config.growth * step)
        rows = np.sort(random.choice(available, min(self.config.batch, available), replace=False))
        return rows, self.spans(rows, random)

    def spans(self, rows: NDArray[np.int64], random: np.random.Generator) -> Spans:
        """Choose the spans to drop from windows.

        :param rows: (B,), indices of windows.
        :param random: Where their budgets come from.
        :return: The spans, at least one.
        """
        edges = math.log(self.config.shortest_budget), math.log(self.config.longest_budget)
        budget, max_gap = np.exp(random.uniform(*edges, len(rows))), self.heads.settings.max_gap
        costs = self.costs.blurred(rows, random)
        spans = choose_spans(costs, budget, max_gap)
        # A small batch can draw budgets that are all too small.
        return spans if len(spans.start) else choose_spans(costs, np.full(len(rows), np.inf), max_gap)

    def candidates(self, random: np.random.Generator) -> Tensor:
        """Draw the tokens of the softmax.

        :param random: Where they come from.
        :return: (C,), sorted token ids.
        """
        vocab = self.backbone.vocab_size
        common = np.arange(min(self.config.common_candidates, vocab))
        return torch.from_numpy(np.union1d(common, random.integers(vocab, size=self.config.random_candidates)))

    def _temperature(self, joint: bool, done: float) -> float:
        """Cool from the hottest in the warm-up; the joint stage starts half-way."""
        hottest, coldest = self.config.hottest, self.config.coldest
        start = (hottest + coldest) / 2 if joint else hottest
        return start + (coldest - start) * done

    def _new_optimizer(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(self.parameters, lr=self.config.joint_rate, betas=(0.9, 0.98), weight_decay=0.01)

    def save(self) -> None:
        """Write a checkpoint; an interrupted write leaves the last one."""
        state = {
            "config": json.dumps(self.config.to_dict(), sort_keys=True),
            "heads": self.heads.state_dict(),
            "scale": self.objective.warmup_scale.detach(),
            "optimizer": self.optimizer.state_dict(),
            "costs": torch.from_numpy(self.costs.bits),
            "progress": {name: getattr(self.progress, name) for name in Progress.__slots__},
        }
        write_checkpoint(self.checkpoint, state)

    def _refuse_another_run(self, stopped: dict[str, Any], shape: tuple[int, ...]) -> None:
        """Refuse to go on with a run that other heads would have come from."""
        refuse_another_run(self.folder, stopped, self.config.to_dict(), FREE)
        if tuple(shape) != self.windows.shape:
            raise CheckpointError(
                f"The run in {self.folder} was started on {shape[0]} windows of text, now there are "
                f"{len(self.windows)}. Go on with the same text, or start anew in another folder."
            )

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self._refuse_another_run(json.loads(state["config"]), state["costs"].shape)
        self.heads.load_state_dict(state["heads"])
        self.objective.warmup_scale.data = state["scale"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.costs.bits = state["costs"].numpy()
        self.progress = Progress(**state["progress"])
