"""The model under training is the reader that it becomes; its loss and its start are as documented."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests.train.reader.conftest import MakeExamples
from zprompt.baselines.ltsc import MetaEmbedding
from zprompt.codec.codec import Codec
from zprompt.llm import Backbone
from zprompt.llm.lora import llama_of, merge_copy, new_lora
from zprompt.train.packing import make_batch
from zprompt.train.passages import TiledPassage
from zprompt.train.reader_model import (
    candidate_tokens,
    decoder_with_loras,
    init_embeddings,
    lora_matrices,
    target_losses,
)
from zprompt.train.teacher import Teacher


def test_a_lora_is_trained_from_its_own_weights_and_merges_into_the_same_model(tiny_backbone: Backbone) -> None:
    lora = new_lora(llama_of(tiny_backbone), rank=2, alpha=6.0)
    random = torch.Generator().manual_seed(0)
    lora = replace(lora, up={name: torch.randn(up.shape, generator=random) for name, up in lora.up.items()})
    decoder, ids = decoder_with_loras(tiny_backbone, {"mine": lora}), torch.arange(12)[None]
    assert torch.allclose(decoder(ids), merge_copy(lora, tiny_backbone)(ids), atol=1e-4)
    downs, ups = (lora_matrices(decoder, side, "mine") for side in ("lora_A", "lora_B"))
    for matrices, trained in ((lora.down, downs), (lora.up, ups)):
        assert matrices.keys() == trained.keys()
        assert all(torch.equal(matrix, trained[name]) for name, matrix in matrices.items())
    lora_parameters = {id(parameter) for parameter in (*downs.values(), *ups.values())}
    assert {id(parameter) for parameter in decoder.parameters() if parameter.requires_grad} == lora_parameters


def test_with_all_tokens_as_candidates_the_loss_is_exact(
    reader_codec: Codec, examples_of: MakeExamples, passages: list[TiledPassage], tmp_path: Path
) -> None:
    backbone, examples = reader_codec.backbone, examples_of(input="text")
    teacher = Teacher(tmp_path / "whole", backbone, [passage.ids for passage in passages], backbone.vocab_size)
    teacher.ensure()
    sequence = examples.draw_one("continuation", np.random.default_rng(0))
    batch = make_batch([sequence], teacher.top_tokens, backbone.vocab_size)
    targets = batch.targets
    tokens = candidate_tokens(targets, backbone.vocab_size, backbone.vocab_size, 0, np.random.default_rng(0))
    hidden = torch.randn(len(targets), backbone.hidden_size, generator=torch.Generator().manual_seed(0))
    losses = target_losses(hidden, backbone.output_embeddings, targets, tokens, 0.5)
    log = (hidden @ backbone.output_embeddings.T).log_softmax(1)
    gold = -log.gather(1, targets.ids[:, None])[:, 0]
    teacher_log = torch.zeros_like(log).scatter(1, targets.teacher_ids, targets.teacher_log)
    kl = torch.nn.functional.kl_div(log, teacher_log, log_target=True, reduction="none").sum(1)
    assert torch.allclose(losses.gold, gold, atol=1e-4)
    assert torch.allclose(losses.total, 0.5 * gold + kl, atol=2e-2)


def test_meta_tokens_start_with_different_embeddings(reader_codec: Codec) -> None:
    embedding = MetaEmbedding(16, reader_codec.backbone.hidden_size)
    init_embeddings(embedding, reader_codec.backbone.embeddings, seed=0)
    distances = torch.cdist(embedding.weight, embedding.weight) + 9 * torch.eye(len(embedding.weight))
    assert distances.min() > 0
