"""Measure heads the way they are used: tile windows exactly, count the Z-tokens, and fit the rank table.

The rank table (residual.py) is fitted on training windows: the frequency of each bucket among the tokens of the
chosen spans, smoothed, and again with the tilings that the new table gives.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.backbone import Backbone
from zprompt.codec.compressor import Compressor
from zprompt.codec.heads import CodecHeads
from zprompt.codec.residual import BUCKETS, PRECISION
from zprompt.codec.segmentation import ExactPrice

ROUNDS = 2  # times that the table is fitted


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of exact tilings."""

    windows: int
    source_tokens: int
    z_tokens: int
    ratio: float  # source tokens per Z-token
    worst_ratio: float  # of a window
    bits_per_z_token: int
    bits_per_source_token: float
    right: float  # share of the dropped tokens that need no residual

    def to_dict(self) -> dict[str, float]:
        """Give the figures as JSON-able values.

        :return: One entry for each figure.
        """
        return asdict(self)


@torch.no_grad()
def evaluate(backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]) -> Evaluation:
    """Tile windows exactly.

    :param backbone: The LLM.
    :param heads: The heads.
    :param windows: (N, T), token ids.
    :return: The figures.
    """
    lengths, ranks = _exact_tilings(backbone, heads, windows)
    bits = heads.settings.alphabet(backbone.vocab_size).bits_per_z_token
    source = windows.size
    return Evaluation(
        windows=len(windows),
        source_tokens=source,
        z_tokens=sum(lengths),
        ratio=source / sum(lengths),
        worst_ratio=windows.shape[1] / max(lengths),
        bits_per_z_token=bits,
        bits_per_source_token=bits * sum(lengths) / source,
        right=float(np.mean(np.asarray(ranks) == 0)) if ranks else 1.0,
    )


@torch.no_grad()
def fit_rank_table(backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]) -> tuple[int, ...]:
    """Fit the frequencies of the rank buckets to exact tilings.

    :param backbone: The LLM.
    :param heads: The heads; their settings' table is replaced.
    :param windows: (N, T), training windows.
    :return: The table.
    """
    for _ in range(ROUNDS):
        _, ranks = _exact_tilings(backbone, heads, windows)
        buckets = [rank.bit_length() for rank in ranks]
        heads.settings = replace(heads.settings, rank_table=frequencies(np.bincount(buckets, minlength=BUCKETS)))
    return heads.settings.rank_table


def frequencies(counts: NDArray[np.int64]) -> tuple[int, ...]:
    """Scale counts to positive integers with the sum that a rank table has.

    :param counts: (BUCKETS,), how often each bucket was seen.
    :return: The table.
    """
    total = 1 << PRECISION
    share = (counts + 0.5) / (counts + 0.5).sum()
    table = np.maximum(1, np.floor(share * total)).astype(np.int64)
    table[table.argmax()] += total - table.sum()  # what rounding left or took
    return tuple(int(entry) for entry in table)


def _exact_tilings(backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]) -> tuple[list[int], list[int]]:
    """Give the Z-tokens of each window, and the ranks of all dropped tokens."""
    heads.eval()
    compressor = Compressor(backbone, heads)
    lengths: list[int] = []
    ranks: list[int] = []
    for window in windows:
        ids: Sequence[int] = window.tolist()
        analysis = compressor.analyse(ids, compressor.hidden([ids])[0])
        [tiling] = compressor.tile([analysis], ExactPrice(compressor.budget))
        lengths.append(len(tiling))
        ranks += [rank for span in compressor.exact_ranks(analysis, tiling) for rank in span]
    heads.train()
    return lengths, ranks
