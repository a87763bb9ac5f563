"""How well a writer fits Z-tokens: its loss, and what is reported.

    loss = cross-entropy of the gap + mean over Z-tokens with a gap of mean over sub-codes of their cross-entropy

The anchors are the LM head's, which is not trained here: their cross-entropy says what it makes of Z-space.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zprompt.reader import ZTokenHead
from zprompt.train.reader.reading import Reading
from zprompt.train.writer.examples import Targets, Written, targets_of

BATCH = 8  # texts at a time


@dataclass(frozen=True, slots=True)
class Fit:
    """How well Z-tokens are written, each after those before it as they should be."""

    texts: int
    z_tokens: int
    usual_gap: float  # share of the most frequent gap: what always choosing it would reach
    gap_accuracy: float
    gap_nats: float
    codes: int  # sub-codes, of Z-tokens with a gap
    code_accuracy: float  # of sub-codes, the gap and those before being right
    code_nats: float
    anchor_accuracy: float
    anchor_nats: float

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as JSON-able values.

        :return: One entry for each figure.
        """
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """What a writer thinks of Z-tokens."""

    gap: Tensor  # (N,) nats
    gap_right: Tensor  # (N,)
    code: Tensor  # (n, M) nats, of those with a gap
    code_right: Tensor  # (n, M)

    @property
    def total(self) -> Tensor:
        """Give the loss.

        :return: A scalar.
        """
        return self.gap.mean() + self.code.mean() if len(self.code) else self.gap.mean()


def losses_of(writer: ZTokenHead, targets: Targets) -> Losses:
    """Weigh Z-tokens.

    :param writer: The writer.
    :param targets: The Z-tokens.
    :return: The losses.
    """
    features = writer.features(targets.hidden, targets.vectors)
    gap_logits = writer.gap_logits(features)
    gap = functional.cross_entropy(gap_logits, targets.gaps, reduction="none")
    spans = targets.gaps > 0
    features, gaps, codes = features[spans], targets.gaps[spans], targets.codes[spans]
    logits = [writer.subcode_logits(features, gaps, codes, m) for m in range(codes.shape[1])]
    code = [functional.cross_entropy(one, codes[:, m], reduction="none") for m, one in enumerate(logits)]
    right = [one.argmax(dim=1) == codes[:, m] for m, one in enumerate(logits)]
    return Losses(gap, gap_logits.argmax(dim=1) == targets.gaps, torch.stack(code, 1), torch.stack(right, 1))


@torch.no_grad()
def measure_fit(writer: ZTokenHead, reading: Reading, texts: Sequence[Written]) -> Fit:
    """Measure a writer on texts.

    :param writer: The writer.
    :param reading: The frozen reader.
    :param texts: The texts, one at least.
    :return: The figures.
    """
    order = sorted(texts, key=lambda text: len(text.positions))
    found, gaps, anchors = [], [], []
    for start in range(0, len(order), BATCH):
        targets = targets_of(reading, order[start : start + BATCH])
        logits = targets.hidden @ reading.head.T
        nats = functional.cross_entropy(logits, targets.anchors, reduction="none")
        anchors.append(torch.stack((nats, (logits.argmax(dim=1) == targets.anchors).float())))
        found.append(losses_of(writer, targets))
        gaps.append(targets.gaps.cpu().numpy())
    every_gap = np.concatenate(gaps)
    return Fit(
        texts=len(texts),
        z_tokens=len(every_gap),
        usual_gap=float(np.bincount(every_gap).max() / len(every_gap)),
        gap_accuracy=_mean([one.gap_right for one in found]),
        gap_nats=_mean([one.gap for one in found]),
        codes=sum(one.code.numel() for one in found),
        code_accuracy=_mean([one.code_right for one in found]),
        code_nats=_mean([one.code for one in found]),
        anchor_accuracy=_mean([one[1] for one in anchors]),
        anchor_nats=_mean([one[0] for one in anchors]),
    )


def _mean(parts: Sequence[Tensor]) -> float:
    """Average over all parts; 0 if they are empty."""
    whole = torch.cat([part.float().flatten() for part in parts])
    return float(whole.mean()) if len(whole) else 0.0
