"""Steps lower the loss, and a stopped run goes on where it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.reader.conftest import CONFIG, MakeExamples
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone
from zprompt.llm.lora import llama_of, merge_copy, new_lora
from zprompt.reader.embedding import ZEmbedding
from zprompt.train.reader.lora import Lora
from zprompt.train.reader.meaning import SHRINK, start_meaning
from zprompt.train.reader.objective import candidates, target_losses
from zprompt.train.reader.rows import lay_out
from zprompt.train.reader.start import new_start
from zprompt.train.reader.tiles import Tile
from zprompt.train.reader.trainer import Figures, Progress, ReaderTrainer


def make_trainer(codec: Codec, examples_of: MakeExamples, folder: Path, **changes: object) -> ReaderTrainer:
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    return ReaderTrainer(config, codec.backbone, new_start(codec, config), examples_of(), folder)


def nobody(progress: Progress, figures: Figures) -> None:
    pass


def test_training_lowers_the_loss(reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path) -> None:
    trainer = make_trainer(reader_codec, examples_of, tmp_path, steps=40)
    losses: list[float] = []
    trainer.run(lambda progress, figures: losses.append(figures["loss"]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
    assert trainer.embedding.value.abs().sum() > 0 and trainer.progress.step == 40


def test_the_backbone_is_not_trained(reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path) -> None:
    before = [weight.clone() for weight in llama_of(reader_codec.backbone).parameters()]
    make_trainer(reader_codec, examples_of, tmp_path).run(nobody)
    assert all(map(torch.equal, before, llama_of(reader_codec.backbone).parameters()))


def test_a_resumed_run_gives_what_an_uninterrupted_one_does(
    reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path
) -> None:
    whole = make_trainer(reader_codec, examples_of, tmp_path / "whole")
    whole.run(nobody)

    def stop(progress: Progress, figures: Figures) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_trainer(reader_codec, examples_of, tmp_path / "stopped").run(stop)
    resumed = make_trainer(reader_codec, examples_of, tmp_path / "stopped")
    assert resumed.progress.step == 2
    resumed.run(nobody)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters, resumed.parameters, strict=True))


def test_another_run_is_not_resumed(reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path) -> None:
    make_trainer(reader_codec, examples_of, tmp_path).run(nobody)
    with pytest.raises(CheckpointError, match="another rate"):
        make_trainer(reader_codec, examples_of, tmp_path, rate=1.0)


def test_micro_batches_do_not_change_the_gradients(
    reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path
) -> None:
    every = {"random_candidates": 0, "common_candidates": 10_000}  # else they would draw other candidates
    trainers = [make_trainer(reader_codec, examples_of, tmp_path / str(n), micro_batch=n, **every) for n in (1, 9999)]
    figures = [trainer.step(0) for trainer in trainers]
    assert figures[0] == pytest.approx(figures[1], rel=1e-4)


def test_a_lora_has_the_gradients_of_the_usual_form(tiny_backbone: Backbone) -> None:
    lora = Lora(tiny_backbone, new_lora(llama_of(tiny_backbone), rank=2, alpha=6.0))
    layer = lora.layers["layers.1.mlp.down_proj"]
    with torch.no_grad():
        layer.up.normal_(generator=torch.Generator().manual_seed(0))
    lora.merge()
    x = torch.randn(2, 3, layer.down.shape[1], generator=torch.Generator().manual_seed(1), requires_grad=True)
    usual = torch.nn.functional.linear(x, layer.weight) + 3.0 * (x @ layer.down.T) @ layer.up.T
    inputs = (x, layer.down, layer.up)
    expected = torch.autograd.grad(usual.square().sum(), inputs)
    for one, other in zip(torch.autograd.grad(layer(x).square().sum(), inputs), expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3)
    ids = torch.arange(12)[None]
    assert torch.allclose(lora.decoder(ids), merge_copy(lora.adapter(), tiny_backbone)(ids), atol=1e-5)


def test_half_precision_gives_nearly_the_same_gradients(
    reader_codec: Codec, examples_of: MakeExamples, tmp_path: Path
) -> None:
    gradients = []
    for precision in ("fp32", "bf16"):
        trainer = make_trainer(reader_codec, examples_of, tmp_path / precision, precision=precision)
        with torch.no_grad():
            for up in trainer.lora.ups:
                up.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
        trainer.lora.merge()
        trainer.step(0)
        gradients.append(
            torch.cat([parameter.grad.flatten() for parameter in trainer.parameters if parameter.grad is not None])
        )
    exact, rounded = gradients
    assert not torch.equal(exact, rounded)
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.99


def test_a_value_starts_as_the_mean_of_what_it_stood_for(reader_codec: Codec, tiles: list[Tile]) -> None:
    embedding = ZEmbedding(reader_codec.settings, reader_codec.backbone.hidden_size)
    vectors = reader_codec.backbone.embeddings.numpy()
    start_meaning(embedding, tiles, vectors, reader_codec.settings)
    role = reader_codec.settings.subcodes  # segments of two tokens, if there are any
    gap = 2 * reader_codec.settings.subcodes
    spans = [
        (token.code[0], tile.ids[start + 1 : start + 3])
        for tile in tiles
        for start, token in zip(tile.starts, tile.tokens, strict=True)
        if token.gap == gap
    ]
    assert spans and embedding.roles[gap, 0] == role
    dropped = np.concatenate([np.delete(tile.ids, tile.starts) for tile in tiles])
    mean = vectors[dropped].mean(axis=0)
    everything = [
        (int(code), tile.ids[start + 1 + segment : start + 1 + segment + size])
        for tile in tiles
        for start, token in zip(tile.starts, tile.tokens, strict=True)
        for code, segment, size, its_role in places_of(reader_codec, token.gap, token.code)
        if its_role == role
    ]
    value = everything[0][0]
    sums = [(vectors[ids] - mean).sum(axis=0) for code, ids in everything if code == value]
    assert np.allclose(embedding.value[role, value].detach(), np.sum(sums, axis=0) / (len(sums) + SHRINK), atol=1e-5)


def places_of(codec: Codec, gap: int, code: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    from zprompt.codec.layout import layout, segments

    if not gap:
        return []
    roles = layout(codec.settings.subcodes, codec.settings.max_gap).role[gap]
    cut = segments(gap, codec.settings.subcodes)
    return [(k, s.start, s.size, int(role)) for k, s, role in zip(code, cut, roles, strict=True)]


def test_the_loss_over_all_tokens_is_the_whole_one(reader_codec: Codec, examples_of: MakeExamples) -> None:
    backbone = reader_codec.backbone
    examples = examples_of(top=backbone.vocab_size, input="text")
    batch = lay_out([examples.row("continuation", np.random.default_rng(0))], backbone.vocab_size)
    tokens = candidates(batch, backbone.vocab_size, backbone.vocab_size, 0, np.random.default_rng(0))
    hidden = torch.randn(len(batch.targets), backbone.hidden_size, generator=torch.Generator().manual_seed(0))
    losses = target_losses(hidden, backbone.output_embeddings, batch, tokens, 0.5)
    log = (hidden @ backbone.output_embeddings.T).log_softmax(1)
    gold = -log.gather(1, batch.targets[:, None])[:, 0]
    teacher = torch.zeros_like(log).scatter(1, batch.teacher_ids, batch.teacher_log)
    kl = torch.nn.functional.kl_div(log, teacher, log_target=True, reduction="none").sum(1)
    assert torch.allclose(losses.gold, gold, atol=1e-4)
    assert torch.allclose(losses.total, 0.5 * gold + kl, atol=2e-2)
