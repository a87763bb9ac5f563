"""Measure heads the way they are used: tile windows at the usual rate, count the Z-tokens, and fit the rank table.

The rank table (residual.py) is fitted on training windows: the frequency of each bucket among the tokens of the
chosen spans, smoothed, and again with the tilings that the new table gives.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.codec import USUAL_RATE, USUAL_REACH, CodecHeads, Compressor, prices, shortest_path
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
    worst_ratio: float  # of a window
    bits_per_z_token: float  # Z-tokens and residual
    bits_per_source_token: float
    right: float  # share of the dropped tokens that are the decompressor's first guess

    def to_dict(self) -> dict[str, float]:
        """Give the figures as JSON-able values.

        :return: One entry for each figure.
        """
        return asdict(self)


@torch.no_grad()
def evaluate(backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]) -> Evaluation:
    """Tile windows.

    :param backbone: The LLM.
    :param heads: The heads.
    :param windows: (N, T), token ids.
    :return: The figures.
    """
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
    """Fit the frequencies of the buckets of symbols to tilings.

    :param backbone: The LLM.
    :param heads: The heads; their settings' table is replaced.
    :param windows: (N, T), training windows.
    :return: The table.
    """
    for _ in range(ROUNDS):
        _, symbols = _tile(backbone, heads, windows)
        buckets = [min(symbol.bit_length(), LITERAL_BUCKET) for symbol in symbols]
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


def _tile(backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]) -> tuple[list[int], list[int]]:
    """Give the number of Z-tokens of each window, and the symbols of all dropped tokens."""
    heads.eval()
    compressor = Compressor(backbone, heads)
    lengths: list[int] = []
    symbols: list[int] = []
    for ids in windows.tolist():
        analysis = compressor.analyse(ids, compressor.hidden([ids])[0], USUAL_REACH)
        [written] = compressor.write([analysis], [shortest_path(prices(analysis.bits, USUAL_RATE))])
        lengths.append(len(written.tokens))
        symbols += written.symbols
    heads.train()
    return lengths, symbols
