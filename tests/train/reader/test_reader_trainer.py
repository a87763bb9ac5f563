"""Steps lower the loss, and a stopped run goes on where it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.reader.conftest import CONFIG, MakeExamples
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError
from zprompt.llm.lora import llama_of
from zprompt.llm.packed import unpack
from zprompt.reader.embedding import ZEmbedding
from zprompt.train.loop import Figures, TrainingProgress, run_steps
from zprompt.train.reader_trainer import ReaderTrainer, new_start


def make_trainer(codec: Codec, examples_of: MakeExamples, folder: Path, **changes: object) -> ReaderTrainer:
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    return ReaderTrainer(config, codec.backbone, new_start(codec, config), examples_of(), folder)


def run(
    trainer: ReaderTrainer, report: Callable[[TrainingProgress, Figures], None] = lambda progress, figures: None
) -> None:
    run_steps(trainer, trainer.config.steps, trainer.config.checkpoint_every, report)


def test_training_lowers_the_loss(reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path) -> None:
    trainer = make_trainer(reader_codec, examples_of, tmp_path, steps=40)
    losses: list[float] = []
    run(trainer, lambda progress, figures: losses.append(figures["loss"]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
    assert isinstance(trainer.embedding, ZEmbedding)
    assert trainer.embedding.gap.abs().sum() > 0 and trainer.progress.step == 40


def test_the_backbone_is_not_trained(reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path) -> None:
    before = [weight.clone() for weight in llama_of(reader_codec.backbone).parameters()]
    run(make_trainer(reader_codec, examples_of, tmp_path))
    assert all(map(torch.equal, before, llama_of(reader_codec.backbone).parameters()))


def test_half_precision_rounds_no_weight_of_the_backbone(
    reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = unpack(llama_of(reader_codec.backbone))  # as on a GPU: a copy of it has the same weights
    monkeypatch.setattr("zprompt.train.reader_model.llama_of", lambda backbone: plain)
    before = [weight.clone() for weight in plain.parameters()]
    make_trainer(reader_codec, examples_of, tmp_path, precision="bf16").step(0)
    after = list(plain.parameters())
    assert [weight.dtype for weight in after] == [weight.dtype for weight in before]
    assert all(map(torch.equal, before, after))


def test_the_number_of_cores_changes_nothing(reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path) -> None:
    cores, trained = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            trainer = make_trainer(reader_codec, examples_of, tmp_path / str(threads), micro_batch=1)
            trainer.step(0)
            trained.append([parameter.detach().clone() for parameter in trainer.parameters])
    finally:
        torch.set_num_threads(cores)
    assert all(map(torch.equal, *trained))


def test_a_resumed_run_gives_what_an_uninterrupted_one_does(
    reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path
) -> None:
    whole = make_trainer(reader_codec, examples_of, tmp_path / "whole")
    run(whole)

    def stop(progress: TrainingProgress, figures: Figures) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_trainer(reader_codec, examples_of, tmp_path / "stopped"), stop)
    resumed = make_trainer(reader_codec, examples_of, tmp_path / "stopped")
    assert resumed.progress.step == 2
    run(resumed)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters, resumed.parameters, strict=True))


def test_another_run_is_not_resumed(reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path) -> None:
    run(make_trainer(reader_codec, examples_of, tmp_path))
    with pytest.raises(CheckpointError, match="another rate"):
        make_trainer(reader_codec, examples_of, tmp_path, rate=1.0)


def test_micro_batches_do_not_change_the_gradients(
    reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path
) -> None:
    every = {"random_candidates": 0, "common_candidates": 10_000}  # else they would draw other candidates
    trainers = [make_trainer(reader_codec, examples_of, tmp_path / str(n), micro_batch=n, **every) for n in (1, 9999)]
    figures = [trainer.step(0) for trainer in trainers]
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)


def test_half_precision_gives_nearly_the_same_gradients(
    reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path
) -> None:
    gradients = []
    for precision in ("fp32", "bf16"):
        trainer = make_trainer(reader_codec, examples_of, tmp_path / precision, precision=precision)
        with torch.no_grad():
            for up in trainer.ups.values():
                up.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
        trainer.step(0)
        gradients.append(
            torch.cat([parameter.grad.flatten() for parameter in trainer.parameters if parameter.grad is not None])
        )
    exact, rounded = gradients
    assert not torch.equal(exact, rounded)
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.99
