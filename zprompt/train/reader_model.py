"""The reader under training: a frozen decoder with a trained LoRA, and a trained embedding.

    token id                 E[id]                                    frozen
    Z-token (a, g)           E[a] + what the gap adds                 zprompt/reader/embedding.py
    meta-token k             row k of a table                         only with input "ltsc"

A target's loss:

    taught       KL(teacher || reader) over the teacher's k tokens and "any other", + gold_weight * cross-entropy
    not taught   cross-entropy

Logits over the whole vocabulary would take an eighth of a step's time: the softmax is over the batch's own targets and
teacher predictions, common tokens and random ones. The LoRA is PEFT's: custom autograd, with one product on the merged
weight, was only 5 to 9 % faster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from zprompt.baselines.ltsc import MetaEmbedding
from zprompt.errors import MissingDependencyError
from zprompt.llm import TARGETS, Backbone, LlamaDecoder, Lora, llama_of, projections, unpack
from zprompt.reader import ZEmbedding
from zprompt.train.packing import Batch, Positions, Targets

SMALLEST = 1e-6  # probability of "any other", at least

Embedding: TypeAlias = ZEmbedding | MetaEmbedding


@dataclass(frozen=True, slots=True, eq=False)
class ReaderModel:
    """The model from positions to hidden states, and its LM head."""

    decoder: LlamaDecoder
    embedding: nn.Module  # an Embedding, or codes (codes.py)
    vectors: Tensor  # (V, D), frozen
    head: Tensor  # (V, D), frozen
    dtype: torch.dtype = torch.float32  # what the factors of products are rounded to

    @classmethod
    def of(cls, backbone: Backbone, decoder: LlamaDecoder, embedding: Embedding) -> "ReaderModel":
        """Put a decoder on a backbone's embeddings and LM head."""
        return cls(decoder, embedding, backbone.embeddings, backbone.output_embeddings)

    def embed(self, ids: Tensor, gaps: Tensor) -> Tensor:
        """Embed positions.

        :param ids: (B, T), tokens, anchors, or meta-tokens.
        :param gaps: (B, T), 0 for tokens.
        :return: (B, T, D).
        """
        device = self.vectors.device
        ids, gaps = ids.to(device), gaps.to(device)
        # Few positions of a batch need more than a token's embedding.
        if isinstance(self.embedding, MetaEmbedding):
            mask = ids >= self.embedding.first
            return self.vectors[ids.masked_fill(mask, 0)].index_put((mask,), self.embedding(ids[mask]))
        embedded, mask = self.vectors[ids], gaps > 0
        return embedded.index_put((mask,), self.embedding(embedded[mask], gaps[mask]))

    def length(self, trunk: Positions) -> int:
        """Count the positions that a trunk takes."""
        return len(trunk)

    def hidden(self, batch: Batch) -> Tensor:
        """Return the hidden states that predict the targets of a batch, (N, D)."""
        embedded = self.embed(batch.ids, batch.gaps)
        with torch.autocast(embedded.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            states = self.decoder.run(embedded, batch.attention(embedded.device)).float()
        return states[batch.targets.rows.to(states.device), batch.targets.columns.to(states.device)]


def decoder_with_loras(backbone: Backbone, loras: Mapping[str, Lora]) -> LlamaDecoder:
    """Return a copy of a backbone's decoder with copies of LoRAs to train, the first of which is active.

    :param backbone: The backbone, which is not changed.
    :param loras: The LoRAs, by name.
    :return: The decoder; only the LoRAs' matrices require gradients.
    :raises MissingDependencyError: If PEFT is not installed.
    """
    try:
        from peft import LoraConfig, LoraModel, PeftConfig
    except ImportError as error:
        raise MissingDependencyError("Training a reader needs PEFT: pip install 'zprompt[train]'.") from error
    original = llama_of(backbone)
    decoder = unpack(original)
    configs: dict[str, PeftConfig] = {
        adapter: LoraConfig(r=lora.rank, lora_alpha=cast(int, lora.alpha), target_modules=list(TARGETS))
        for adapter, lora in loras.items()
    }
    first, *others = configs
    tuner = LoraModel(decoder, configs, first)
    for adapter in others:
        tuner.inject_adapter(decoder, adapter)
    with torch.no_grad():
        for adapter, lora in loras.items():
            for name, _ in projections(original):
                for part, matrix in (("lora_A", lora.down[name]), ("lora_B", lora.up[name])):
                    decoder.get_parameter(f"{name}.{part}.{adapter}.weight").copy_(matrix)
    for key, parameter in decoder.named_parameters():
        parameter.requires_grad_(".lora_" in key)  # PEFT lets only the active LoRA be trained
    return decoder


def lora_matrices(decoder: nn.Module, part: str, adapter: str) -> dict[str, nn.Parameter]:
    """Return the trained matrices of a LoRA, "lora_A" or "lora_B", by the name of their projection."""
    ending = f".{part}.{adapter}.weight"
    named = decoder.named_parameters()
    return {name.removesuffix(ending): parameter for name, parameter in named if name.endswith(ending)}


def init_embeddings(embedding: MetaEmbedding, vectors: Tensor, seed: int) -> None:
    """Start each meta-token at a random vector on the scale of the token embeddings, (V, D)."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        embedding.weight.normal_(std=float(vectors.float().std()), generator=random)


# The loss.


@dataclass(frozen=True, slots=True, eq=False)
class TargetLosses:
    """The losses of all targets of a batch."""

    total: Tensor  # (N,), what is minimised
    gold: Tensor  # (N,) cross-entropy in nats, over the candidates


def candidate_tokens(targets: Targets, vocab: int, common: int, drawn: int, random: np.random.Generator) -> Tensor:
    """Choose the tokens of the softmax.

    :param targets: The targets; they and the teacher's predictions are among the tokens.
    :param vocab: Size of the vocabulary.
    :param common: How many of the lowest ids to add.
    :param drawn: How many random ids to add.
    :param random: Draws these.
    :return: (C,), sorted.
    """
    others = np.concatenate((np.arange(min(common, vocab)), random.integers(vocab, size=drawn)))
    predicted = targets.teacher_ids[targets.taught].flatten()
    tokens: Tensor = torch.unique(torch.cat((torch.from_numpy(others), targets.ids, predicted)))
    return tokens


def target_losses(hidden: Tensor, head: Tensor, targets: Targets, tokens: Tensor, gold_weight: float) -> TargetLosses:
    """Compute the loss of each target.

    :param hidden: (N, D), the hidden states that predict the targets.
    :param head: (V, D), the LM head.
    :param targets: The targets.
    :param tokens: (C,), the tokens of the softmax, sorted.
    :param gold_weight: Weight of the cross-entropy where there is a teacher.
    :return: The losses.
    """
    device = hidden.device
    log = (hidden @ head[tokens.to(device)].T).log_softmax(dim=1)
    gold = -log.gather(1, torch.searchsorted(tokens, targets.ids).to(device)[:, None])[:, 0]
    taught = targets.taught.to(device)
    if not bool(taught.any()):
        return TargetLosses(gold, gold.detach())
    predicted = torch.searchsorted(tokens, targets.teacher_ids[targets.taught]).to(device)
    divergence = _divergence(log[taught].gather(1, predicted), targets.teacher_log[targets.taught].to(device))
    total = torch.where(taught, gold_weight * gold, gold)
    return TargetLosses(total.index_add(0, taught.nonzero()[:, 0], divergence), gold.detach())


def _divergence(reader: Tensor, teacher: Tensor) -> Tensor:
    """Compute KL(teacher || reader) from the log-probabilities of k tokens, (n, k) each."""
    expected = teacher.exp()
    rest = (1 - expected.sum(1)).clamp(min=SMALLEST)
    others = (1 - reader.exp().sum(1)).clamp(min=SMALLEST)
    return (expected * (teacher - reader)).sum(1) + rest * (rest.log() - others.log())
