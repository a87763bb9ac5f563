"""A run gives the same heads every time, stopped on the way or not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.conftest import MakeTrainer
from zprompt.errors import CheckpointError
from zprompt.train.codec_trainer import CodecTrainer, choose_dtype
from zprompt.train.loop import Figures, TrainingProgress


class StoppedError(Exception):
    """Stands for whatever ends a run early."""


def run(trainer: CodecTrainer, stop_after: int | None = None) -> list[float]:
    """Train, and return the bits of each step."""
    bits: list[float] = []

    def report(progress: TrainingProgress, figures: Figures) -> None:
        bits.append(figures["bits"])
        if len(bits) == stop_after:
            raise StoppedError

    trainer.run(report)
    return bits


def same(one: CodecTrainer, two: CodecTrainer) -> bool:
    """Return whether trained heads are the same, bit by bit."""
    states = one.heads.state_dict(), two.heads.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.fixture(scope="module")
def whole(trainer_of: MakeTrainer, tmp_path_factory: pytest.TempPathFactory) -> CodecTrainer:
    """A run that was not stopped."""
    trainer = trainer_of(tmp_path_factory.mktemp("whole"))
    run(trainer)
    return trainer


def test_both_stages_take_their_steps(trainer_of: MakeTrainer, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    assert len(run(trainer)) == 4 + 6
    assert trainer.progress.step == 4 + 6
    assert trainer.progress.targets > 0


def test_two_runs_give_the_same_heads(trainer_of: MakeTrainer, whole: CodecTrainer, tmp_path: Path) -> None:
    again = trainer_of(tmp_path / "again")
    torch.manual_seed(1234)  # what happened before does not matter
    run(again)
    assert same(again, whole)


def test_another_seed_gives_other_heads(trainer_of: MakeTrainer, whole: CodecTrainer, tmp_path: Path) -> None:
    other = trainer_of(tmp_path / "other", seed=1)
    run(other)
    assert not same(other, whole)


@pytest.mark.parametrize("steps", [3, 4, 5, 7, 9, 10])
def test_a_stopped_run_that_goes_on_gives_the_heads_of_an_uninterrupted_one(
    trainer_of: MakeTrainer, whole: CodecTrainer, tmp_path: Path, steps: int
) -> None:
    with pytest.raises(StoppedError):
        run(trainer_of(tmp_path / "stopped"), stop_after=steps)
    resumed = trainer_of(tmp_path / "stopped", seed_of_heads=7)
    run(resumed)
    assert same(resumed, whole)
    assert np.array_equal(resumed.costs.bits, whole.costs.bits)
    assert resumed.progress.targets == whole.progress.targets


def test_a_finished_run_has_nothing_left_to_do(trainer_of: MakeTrainer, whole: CodecTrainer) -> None:
    finished = trainer_of(whole.folder, seed_of_heads=7)
    assert run(finished) == []
    assert same(finished, whole)


def test_a_run_goes_on_from_its_last_checkpoint(trainer_of: MakeTrainer, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(trainer_of(tmp_path), stop_after=8)  # four steps into the joint stage; the checkpoint follows the report
    resumed = trainer_of(tmp_path)
    assert resumed.stage_of(resumed.progress.step) == ("joint", 2, 6)


def test_an_interrupted_write_leaves_the_last_checkpoint(
    trainer_of: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(tmp_path)
    trainer.save()
    before = trainer.checkpoint.read_bytes()

    def crash(state: dict[str, Any], path: Path) -> None:
        path.write_bytes(b"half of a check")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(OSError, match="No space"):
        trainer.save()
    assert trainer.checkpoint.read_bytes() == before
    assert trainer_of(tmp_path).progress.step == 0


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch": 2}, {"joint_steps": 7}, {"joint_rate": 1.0}])
def test_a_run_does_not_go_on_with_another_config(
    trainer_of: MakeTrainer, tmp_path: Path, change: dict[str, Any]
) -> None:
    trainer_of(tmp_path).save()
    with pytest.raises(CheckpointError, match=next(iter(change))):
        trainer_of(tmp_path, **change)


def test_a_run_does_not_go_on_with_other_text(trainer_of: MakeTrainer, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    trainer.save()
    with pytest.raises(CheckpointError, match="was started on 20 windows of text, now there are 15"):
        CodecTrainer(trainer.config, trainer.backbone, trainer.heads, trainer.windows[:15], tmp_path)


@pytest.mark.parametrize("change", [{"evaluate_every": 3}, {"checkpoint_every": 1}, {"lora_steps": 2}])
def test_a_run_goes_on_with_what_changes_nothing_about_the_heads(
    trainer_of: MakeTrainer, tmp_path: Path, change: dict[str, Any]
) -> None:
    trainer_of(tmp_path).save()
    assert trainer_of(tmp_path, **change).progress.step == 0


def test_a_run_may_skip_the_warm_up(trainer_of: MakeTrainer, tmp_path: Path) -> None:
    assert len(run(trainer_of(tmp_path, warmup_steps=0))) == 6


def test_budgets_that_are_all_too_small_still_drop_something(trainer_of: MakeTrainer, tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, batch=1, shortest_budget=0.01, longest_budget=0.02)
    assert all(np.isfinite(run(trainer)))


def test_matrix_products_compute_in_what_was_asked_for() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype("bf16", cpu) == torch.bfloat16
    assert choose_dtype("fp32", cpu) == torch.float32
    assert choose_dtype("auto", torch.device("cuda")) == torch.bfloat16


def test_half_precision_trains_too(trainer_of: MakeTrainer, tmp_path: Path) -> None:
    assert all(np.isfinite(run(trainer_of(tmp_path, precision="bf16"))))
