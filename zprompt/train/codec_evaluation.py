"""Evaluate codec heads as they are used: tile windows at the default rate, and count Z-tokens and residual bits.

The rank table (see zprompt/zspan/range_coder.py) is fitted to such tilings of training windows: the smoothed frequency
of each bucket among the tokens of the chosen spans, and once more with the tilings that the new table gives.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.codec import USUAL_RATE, USUAL_THRESHOLD, CodecHeads, Compressor, prices, shortest_path
from zprompt.llm import Backbone
from zprompt.zspan import BUCKETS, LITERAL_BUCKET, PRECISION, RankCode

ROUNDS = 2  # times that the table is fitted


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of tilings."""

    windows: int
    source_tokens: int
    z_tokens: int
    ratio: float  # source tokens per Z-token
    worst_ratio: float  # lowest ratio of a window
    bits_per_z_token: float  # with the residual
    bits_per_source_token: float
    right: float  # share of the dropped tokens that are the decompressor's first guess

    def to_dict(self) -> dict[str, float]:
        """Return the figures as a dict for JSON."""
        return asdict(self)


@torch.no_grad()
def evaluate(backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]) -> Evaluation:
    """Tile windows, (N, T) token ids, and return the figures."""
    lengths, symbols = _tile(backbone, heads, windows)
    residual = sum(RankCode(backbone.vocab_size, heads.settings.rank_table).costs(symbols))
    bits = heads.settings.alphabet(backbone.vocab_size).bits_per_z_token * sum(lengths) + residual
    source = windows.size
    return Evaluation(
        windows=len(windows),
        source_tokens=source,
        z_tokens=sum(lengths),
        ratio=source / sum(lengths),
        worst_ratio=windows.shape[1] / max(lengths),
        bits_per_z_token=bits / sum(lengths),
        bits_per_source_token=bits / source,
        right=float(np.mean(np.asarray(symbols) == 0)) if symbols else 1.0,
    )


@torch.no_grad()
def fit_rank_table(backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]) -> tuple[int, ...]:
    """Fit the rank table to tilings of windows, and put it into the heads' settings.

    :param backbone: The LLM.
    :param heads: The heads; their settings are replaced.
    :param windows: (N, T), training windows.
    :return: The table.
    """
    for _ in range(ROUNDS):
        _, symbols = _tile(backbone, heads, windows)
        buckets = [min(symbol.bit_length(), LITERAL_BUCKET) for symbol in symbols]
        heads.settings = replace(heads.settings, rank_table=frequencies(np.bincount(buckets, minlength=BUCKETS)))
    return heads.settings.rank_table


def frequencies(counts: NDArray[np.int64]) -> tuple[int, ...]:
    """Scale counts, (BUCKETS,), to positive integers with the sum that a rank table has."""
    total = 1 << PRECISION
    share = (counts + 0.5) / (counts + 0.5).sum()
    table = np.maximum(1, np.floor(share * total)).astype(np.int64)
    table[table.argmax()] += total - table.sum()  # the rounding error
    return tuple(int(entry) for entry in table)


def _tile(backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]) -> tuple[list[int], list[int]]:
    """Return the number of Z-tokens of each window, and the symbols of all dropped tokens."""
    heads.eval()
    compressor = Compressor(backbone, heads)
    lengths: list[int] = []
    symbols: list[int] = []
    for ids in windows.tolist():
        analysis = compressor.analyse(ids, compressor.hidden([ids])[0], USUAL_THRESHOLD)
        [written] = compressor.write([analysis], [shortest_path(prices(analysis.bits, USUAL_RATE))])
        lengths.append(len(written.tokens))
        symbols += written.symbols
    heads.train()
    return lengths, symbols
