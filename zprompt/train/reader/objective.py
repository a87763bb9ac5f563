"""The loss of a reader: what the teacher expected, and what is there.

    taught       KL(teacher || reader) over the teacher's k tokens and "any other", + gold_weight * cross-entropy
    not taught   cross-entropy

The product with the whole vocabulary would be an eighth of the price of a step: the softmax is over the batch's own
targets and expectations, common tokens and random ones.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zprompt.train.reader.rows import Batch

SMALLEST = 1e-6  # probability that "any other" has at least


@dataclass(frozen=True, slots=True, eq=False)
class TargetLoss:
    """The loss of each target."""

    total: Tensor  # (N,), what is minimised
    gold: Tensor  # (N,) cross-entropy in nats, over the candidates


def candidates(batch: Batch, vocab: int, common: int, drawn: int, random: np.random.Generator) -> Tensor:
    """Choose the tokens of the softmax.

    :param batch: The batch, whose targets and expectations are among them.
    :param vocab: Size of the vocabulary.
    :param common: How many of the lowest ids to add.
    :param drawn: How many random ids to add.
    :param random: Where these come from.
    :return: (C,), sorted.
    """
    others = np.concatenate((np.arange(min(common, vocab)), random.integers(vocab, size=drawn)))
    known = batch.teacher_ids[batch.taught].flatten()
    tokens: Tensor = torch.unique(torch.cat((torch.from_numpy(others), batch.targets, known)))
    return tokens


def target_losses(hidden: Tensor, head: Tensor, batch: Batch, tokens: Tensor, gold_weight: float) -> TargetLoss:
    """Compute the loss of each target of a batch.

    :param hidden: (N, D), what the reader thinks where each target is expected.
    :param head: (V, D), the LM head.
    :param batch: The batch.
    :param tokens: (C,), the tokens of the softmax, sorted.
    :param gold_weight: Of the cross-entropy where there is a teacher.
    :return: The losses.
    """
    device = hidden.device
    log = (hidden @ head[tokens.to(device)].T).log_softmax(dim=1)
    targets = torch.searchsorted(tokens, batch.targets).to(device)
    gold = -log.gather(1, targets[:, None])[:, 0]
    taught = batch.taught.to(device)
    if not bool(taught.any()):
        return TargetLoss(gold, gold.detach())
    known = torch.searchsorted(tokens, batch.teacher_ids[batch.taught]).to(device)
    divergence = _divergence(log[taught].gather(1, known), batch.teacher_log[batch.taught].to(device))
    total = torch.where(taught, gold_weight * gold, gold)
    return TargetLoss(total.index_add(0, taught.nonzero()[:, 0], divergence), gold.detach())


def _divergence(reader: Tensor, teacher: Tensor) -> Tensor:
    """Compute KL(teacher || reader) from the log-probabilities of k tokens, (n, k) each."""
    expected = teacher.exp()
    rest = (1 - expected.sum(1)).clamp(min=SMALLEST)
    others = (1 - reader.exp().sum(1)).clamp(min=SMALLEST)
    return (expected * (teacher - reader)).sum(1) + rest * (rest.log() - others.log())
