"""Training lowers the loss, and a stopped run is resumed where it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.reader.conftest import write_random_reader
from tests.train.reader.conftest import CONFIG, MakeExamples
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError
from zprompt.llm.lora import llama_of, read_lora
from zprompt.llm.packed import unpack
from zprompt.reader.embedding import ZEmbedding
from zprompt.train import loop
from zprompt.train.config import TASKS
from zprompt.train.loop import Figures, Limit, TrainingProgress, rate_at, run_steps
from zprompt.train.reader_trainer import ReaderTrainer, load_start, new_start
from zprompt.train.teacher import Teacher
from zprompt.train.training_set import TrainingSet

MakeTrainer: TypeAlias = Callable[..., ReaderTrainer]


@pytest.fixture
def make_trainer(reader_codec: Codec, examples_of: MakeExamples, teacher: Teacher) -> MakeTrainer:
    """Return a factory of trainers."""
    backbone = reader_codec.backbone

    def make(folder: Path, **changes: object) -> ReaderTrainer:
        config = replace(CONFIG, **changes)  # type: ignore[arg-type]
        examples = examples_of()
        content = TrainingSet(
            config=config,
            backbone=backbone.name,
            fingerprint=backbone.weights_fingerprint,
            draw=lambda step: examples.draw(np.random.default_rng([config.seed, step])),
            shares=dict(zip(TASKS, examples.shares.tolist(), strict=True)),
            passages=teacher.passages,
            development={},
            calibration=[],
            start=None,
            summary={},
        )
        return ReaderTrainer(content, backbone, new_start(backbone, config), folder, teacher.top_tokens)

    return make


@pytest.mark.parametrize("kind", ["paper-a", "codes"])
def test_all_loras_that_read_codes_start_from_the_lora_of_the_reader(
    reader_codec: Codec, tmp_path: Path, kind: str
) -> None:
    folder = write_random_reader(tmp_path / "given", reader_codec)
    start = read_lora(folder / "adapter")
    config = replace(CONFIG, input=kind, rank=start.rank, alpha=start.alpha)

    loras = load_start(str(folder), reader_codec.backbone, config).loras

    assert set(loras) == {"compressor", *(("decompressor", "inferencer") if kind == "paper-a" else ("reader",))}
    assert all(not up.any() for up in loras.pop("compressor").up.values())  # a new one, which changes nothing yet
    for lora in loras.values():
        assert all(
            torch.equal(lora.up[name], up) and torch.equal(lora.down[name], start.down[name])
            for name, up in start.up.items()
        )


def run(
    trainer: ReaderTrainer,
    report: Callable[[TrainingProgress, Figures], None] = lambda progress, figures: None,
    minutes: float | None = None,
) -> None:
    run_steps(trainer, Limit(trainer.config.steps, minutes), trainer.config.checkpoint_every, report)


def test_training_lowers_the_loss(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, steps=40)
    losses: list[float] = []
    run(trainer, lambda progress, figures: losses.append(figures["loss"]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
    assert isinstance(trainer.embedding, ZEmbedding)
    assert trainer.embedding.gap.abs().sum() > 0 and trainer.progress.step == 40


def test_the_backbone_is_not_trained(make_trainer: MakeTrainer, reader_codec: Codec, tmp_path: Path) -> None:
    before = [weight.clone() for weight in llama_of(reader_codec.backbone).parameters()]
    run(make_trainer(tmp_path))
    assert all(map(torch.equal, before, llama_of(reader_codec.backbone).parameters()))


def test_half_precision_rounds_no_weight_of_the_backbone(
    make_trainer: MakeTrainer, reader_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = unpack(llama_of(reader_codec.backbone))  # as on a GPU, where the weights are not packed
    monkeypatch.setattr("zprompt.train.reader_model.llama_of", lambda backbone: plain)
    before = [weight.clone() for weight in plain.parameters()]
    make_trainer(tmp_path, precision="bf16").step(0, 0.0)
    after = list(plain.parameters())
    assert [weight.dtype for weight in after] == [weight.dtype for weight in before]
    assert all(map(torch.equal, before, after))


def test_the_number_of_threads_changes_nothing(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    cores, trained = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            trainer = make_trainer(tmp_path / str(threads), micro_batch=1)
            trainer.step(0, 0.0)
            trained.append([parameter.detach().clone() for parameter in trainer.parameters])
    finally:
        torch.set_num_threads(cores)
    assert all(map(torch.equal, *trained))


def test_a_resumed_run_gives_the_same_weights_as_an_uninterrupted_one(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    whole = make_trainer(tmp_path / "whole")
    run(whole)

    def stop(progress: TrainingProgress, figures: Figures) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_trainer(tmp_path / "stopped"), stop)
    resumed = make_trainer(tmp_path / "stopped")
    assert resumed.progress.step == 2
    run(resumed)
    assert all(torch.equal(weight, same) for weight, same in zip(whole.parameters, resumed.parameters, strict=True))


def test_another_run_is_not_resumed(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    run(make_trainer(tmp_path))
    with pytest.raises(CheckpointError, match="a different rate"):
        make_trainer(tmp_path, rate=1.0)


def test_micro_batches_do_not_change_the_gradients(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    all_tokens = {"random_candidates": 0, "common_candidates": 10_000}  # all tokens: a random choice would differ
    trainers = [make_trainer(tmp_path / str(n), micro_batch=n, **all_tokens) for n in (1, 9999)]
    figures = [trainer.step(0, 0.0) for trainer in trainers]
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)


def test_half_precision_gives_nearly_the_same_gradients(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    gradients = []
    for precision in ("fp32", "bf16"):
        trainer = make_trainer(tmp_path / precision, precision=precision)
        with torch.no_grad():
            for up in trainer.ups["reader"].values():
                up.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
        trainer.step(0, 0.0)
        gradients.append(
            torch.cat([parameter.grad.flatten() for parameter in trainer.parameters if parameter.grad is not None])
        )
    exact, rounded = gradients
    assert not torch.equal(exact, rounded)
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.99


def test_a_checkpoint_is_in_small_files_and_the_last_complete_one_is_loaded(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_BYTES", 10_000)
    whole = make_trainer(tmp_path)
    run(whole)
    files = sorted(tmp_path.glob("checkpoint-*.safetensors"))
    assert len(files) > 2 and all(path.stat().st_size < 20_000 for path in files)  # a header is added to each
    sizes = [tensor.nbytes for path in files for tensor in load_file(path).values()]
    assert sum(sizes) == 6 * sum(parameter.numel() for parameter in whole.parameters)
    (tmp_path / "checkpoint-000005-0.safetensors").write_bytes(b"cut off")  # of a checkpoint that was never completed
    assert make_trainer(tmp_path).progress.step == 4
    files[0].unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        make_trainer(tmp_path)


def test_minutes_end_a_run_and_a_second_call_takes_no_steps(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    first = make_trainer(tmp_path, steps=1)
    run(first, minutes=1 / 60)
    assert first.progress.step > 1 and 1 <= first.progress.seconds < 3
    again = make_trainer(tmp_path, steps=1)
    run(again, minutes=1 / 60)
    assert again.progress.step == first.progress.step


def test_the_learning_rate_rises_and_then_falls_with_the_progress() -> None:
    assert rate_at(1.0, 0.0, 0, 20) == pytest.approx(0.05)
    assert rate_at(1.0, 0.0, 50, 20) == 1.0 and rate_at(1.0, 1.2, 99, 20) == pytest.approx(loop.LOWEST)


def test_too_little_memory_halves_a_micro_batch(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tmp_path)
    accumulate, sizes = trainer._accumulate, []

    def out_of_memory_at_first(step: int, done: float) -> Figures:
        sizes.append(trainer.micro_batch)
        if len(sizes) < 3:
            raise torch.OutOfMemoryError
        return accumulate(step, done)

    monkeypatch.setattr(trainer, "_accumulate", out_of_memory_at_first)
    trainer.step(0, 0.0)
    assert sizes == [400, 200, 100]


@pytest.mark.filterwarnings("ignore")  # warnings of torch while it compiles
def test_compiled_layers_share_their_code_and_change_nothing(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    plain, compiled = make_trainer(tmp_path / "plain"), make_trainer(tmp_path / "compiled")
    # As on a GPU, where layers are compiled: two threads at once might compile the same twice.
    compiled.one_at_a_time = True
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for layer in compiled.model.decoder.layers:
        layer.compile(dynamic=True, fullgraph=True, backend="aot_eager")
    figures = [[trainer.step(step, 0.0) for step in range(3)] for trainer in (plain, compiled)]
    assert all(step == pytest.approx(same, rel=1e-3) for step, same in zip(*figures, strict=True))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2
