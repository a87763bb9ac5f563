"""Train codec heads in two stages.

    warm-up    no LLM: the sub-codes learn to tell segments apart
    joint      the frozen LLM's hidden states come in: the heads learn what it does not expect

All randomness of a step comes from (seed, stage, step of the stage).
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.codec import CodecHeads
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone
from zprompt.train.config import CodecTrainConfig
from zprompt.train.hidden_states import HiddenStateCache
from zprompt.train.loop import Figures, TrainingProgress, rate_at, refuse_another_run, run_steps, write_checkpoint
from zprompt.train.objective import Objective
from zprompt.train.span_sampling import RunningCosts, Spans, choose_spans

STAGES = ("warmup", "joint")
FREE = ("checkpoint_every", "evaluate_every", "dev_windows", "lora_steps", "lora_batch", "lora_rank", "lora_rate")
RAMP = 50  # steps until the learning rate is full


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the type that matrix products compute in: bfloat16 where it is asked for, or "auto" finds it fast."""
    fast = device.type == "cuda" or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast) else torch.float32


class CodecTrainer:
    """Trains codec heads on windows of token ids."""

    def __init__(
        self, config: CodecTrainConfig, backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32], folder: Path
    ) -> None:
        """Set up a run, or resume the one in the folder.

        :param config: The config.
        :param backbone: The frozen LLM.
        :param heads: The heads to train, in place.
        :param windows: (N, T), training windows.
        :param folder: Where checkpoints and hidden states are kept.
        :raises CheckpointError: If the run in the folder was started with another config.
        """
        self.config, self.backbone, self.heads, self.windows, self.folder = config, backbone, heads, windows, folder
        self.dtype = choose_dtype(config.precision, backbone.device)
        self.objective = Objective(heads, backbone.output_embeddings, config.usage_weight)
        self.parameters = [*heads.parameters(), self.objective.warmup_scale]
        self.hidden_states = HiddenStateCache(folder / "hidden_states", backbone, windows, self.dtype)
        self._forget_costs_and_momentum()
        self.progress = TrainingProgress()
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.is_file():
            self._resume()

    def run(self, report: Callable[[TrainingProgress, Figures], None]) -> None:
        """Train to the end, and call `report` after every step."""
        steps = self.config.warmup_steps + self.config.joint_steps
        run_steps(self, steps, self.config.checkpoint_every, report)

    def stage_of(self, step: int) -> tuple[str, int, int]:
        """Return the stage that a step of the run belongs to, its number in the stage, and the stage's steps."""
        warmup = self.config.warmup_steps
        return ("warmup", step, warmup) if step < warmup else ("joint", step - warmup, self.config.joint_steps)

    def step(self, step: int) -> Figures:
        """Train on one batch.

        :param step: Number of the step in the run.
        :return: Before the update: bits a dropped token, share of right first guesses, bits of code usage.
        """
        stage, step_of_stage, steps = self.stage_of(step)
        joint = stage == "joint"
        if joint and step == self.config.warmup_steps > 0:
            self.objective.finish_warmup()
            self._forget_costs_and_momentum()  # the LLM knows far more
        random = np.random.default_rng([self.config.seed, STAGES.index(stage), step_of_stage])
        torch.manual_seed(int(random.integers(2**31)))
        rate = self.config.joint_rate if joint else self.config.warmup_rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(rate, step_of_stage, steps, RAMP)
        rows = self._draw_windows(self._available(step_of_stage) if joint else len(self.windows), random)
        spans = self.spans(rows, random)
        ids = torch.from_numpy(self.windows[rows].astype(np.int64)).to(self.backbone.device)
        hidden = self.hidden_states[rows].to(ids.device) if joint else None
        temperature = self._temperature(joint, step_of_stage / steps)
        with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            loss = self.objective(ids, spans, hidden, self.candidates(random), temperature)
        self.optimizer.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        dropped = loss.dropped
        self.costs.update(rows[dropped.window.numpy()], dropped.position.numpy(), loss.bits.cpu().numpy())
        self.progress.positions += ids.numel()
        self.progress.targets += len(loss.bits)
        return loss.figures()

    def spans(self, rows: NDArray[np.int64], random: np.random.Generator) -> Spans:
        """Choose the spans to drop from windows.

        :param rows: (B,), indices of windows.
        :param random: Source of their budgets.
        :return: The spans, at least one.
        """
        edges = math.log(self.config.shortest_budget), math.log(self.config.longest_budget)
        budget, max_gap = np.exp(random.uniform(*edges, len(rows))), self.heads.settings.max_gap
        costs = self.costs.noisy(rows, random)
        spans = choose_spans(costs, budget, max_gap)
        # A small batch can draw budgets that are all too small.
        return spans if len(spans.start) else choose_spans(costs, np.full(len(rows), np.inf), max_gap)

    def candidates(self, random: np.random.Generator) -> Tensor:
        """Draw the token ids of the softmax, (C,), sorted."""
        vocab = self.backbone.vocab_size
        common = np.arange(min(self.config.common_candidates, vocab))
        return torch.from_numpy(np.union1d(common, random.integers(vocab, size=self.config.random_candidates)))

    def save(self) -> None:
        """Write a checkpoint; an interrupted write leaves the last one."""
        state = {
            "config": json.dumps(self.config.to_dict(), sort_keys=True),
            "heads": self.heads.state_dict(),
            "scale": self.objective.warmup_scale.detach(),
            "optimizer": self.optimizer.state_dict(),
            "costs": torch.from_numpy(self.costs.bits),
            "progress": self.progress.to_dict(),
        }
        write_checkpoint(self.checkpoint, state)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        refuse_another_run(self.folder, json.loads(state["config"]), self.config.to_dict(), FREE)
        if tuple(state["costs"].shape) != self.windows.shape:
            raise CheckpointError(
                f"The run in {self.folder} was started on {len(state['costs'])} windows of text, now there are "
                f"{len(self.windows)}. Go on with the same text, or start anew in another folder."
            )
        self.heads.load_state_dict(state["heads"])
        self.objective.warmup_scale.data = state["scale"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.costs.bits = state["costs"].numpy()
        self.progress = TrainingProgress(**state["progress"])

    def _forget_costs_and_momentum(self) -> None:
        self.costs = RunningCosts((len(self.windows), self.windows.shape[1]))
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.config.joint_rate, betas=(0.9, 0.98), weight_decay=0.01
        )

    def _available(self, step: int) -> int:
        """Return the number of windows whose hidden states a joint step may use, once they are computed."""
        count = self.config.first_windows + self.config.growth * step
        self.hidden_states.ensure(count)
        return min(len(self.windows), count)

    def _draw_windows(self, available: int, random: np.random.Generator) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = random.choice(available, min(self.config.batch, available), replace=False)
        return np.sort(rows)

    def _temperature(self, joint: bool, done: float) -> float:
        """Cool from the hottest in the warm-up; the joint stage starts half-way."""
        hottest, coldest = self.config.hottest, self.config.coldest
        start = (hottest + coldest) / 2 if joint else hottest
        return start + (coldest - start) * done
