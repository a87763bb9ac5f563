"""Tiling: choose the Z-tokens of a text, as many as were asked for.

A window of n tokens is cut into Z-tokens; the one at t with gap g stands for the tokens t .. t + g. Dropping a span
costs bits of residual, keeping a token costs a Z-token, and `rate` is the exchange rate between the two:

    price(t, g) = 1 + rate * (bits of residual that restore span (t, g))
    best(t)     = min over g of  price(t, g) + best(t + g + 1),   best(n) = 0

This is a shortest path: the best tiling at a rate is found, not predicted, and every tiling restores the text exactly.
A low rate swallows long spans and leaves much to the residual, which a reader does not see; a high one keeps what the
code cannot tell as anchors.

Rate control finds the rate. Without a wanted length it is `USUAL_RATE`, and windows are tiled batch after batch. With
one, all windows of the call are analysed first, and one rate for all of them is bisected, so every document pays the
same price for the same bits, and one that is hard to predict gets more Z-tokens. A ratio below the usual one is met as
well; a number of Z-tokens is a limit, and one that leaves room to spare changes nothing. A ratio of 1 needs no
analysis: all tokens are anchors.

A query makes no text longer. Without a wanted length each window gets the Z-tokens that it would have without the query
(what else is in the call must not matter), and a rate of its own, by which they go to what the query is about.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from zprompt.codec.compressor import Analysis, Compressor, Floats, TiledWindow
from zprompt.codec.importance import TokenImportance
from zprompt.errors import OptionError
from zprompt.options import CompressOptions
from zprompt.progress import Progress
from zprompt.zspan import ZToken

Tiling = list[int]  # the gaps from left to right; sum of gap + 1 is the window's length

USUAL_RATE = 1 / 8  # Z-tokens a bit: most of a text is then in anchors and codes, for a reader to read (docs/codec.md)
BISECTIONS = 20
LEAST, MOST = 1e-8, 1e4  # rates: below and beyond these, nothing changes any more

# Pruning thresholds (span_costs.py)
USUAL_THRESHOLD = 40.0  # bits: at the usual rate, spans that the LLM alone needs more for are next to never chosen
WIDE_THRESHOLD = 16.0  # bits for each source token that a Z-token is to stand for
USUAL_RATIO = 4.0  # source tokens per Z-token at the usual rate, about


def shortest_path(price: Floats) -> Tiling:
    """Tile one window at the lowest price.

    :param price: (n, G + 1), price of the Z-token at t with gap g; inf where it is not allowed.
    :return: The gaps of the Z-tokens.
    """
    n, gaps = price.shape
    best = np.full(n + gaps, np.inf)
    best[n] = 0.0
    step = np.zeros(n, np.int64)
    for t in range(n - 1, -1, -1):
        total = price[t] + best[t + 1 : t + 1 + gaps]
        step[t] = np.argmin(total)
        best[t] = total[step[t]]
    tiling, t = [], 0
    while t < n:
        tiling.append(int(step[t]))
        t += tiling[-1] + 1
    return tiling


def prices(bits: Floats, rate: float) -> Floats:
    """Return the price of each Z-token of a window, (n, G + 1).

    :param bits: (n, G + 1), bits of residual that restore span (t, g); inf where it cannot be dropped.
    :param rate: Z-tokens that a bit is worth.
    :return: The prices; inf where a span cannot be dropped.
    """
    possible = np.isfinite(bits)
    return np.where(possible, 1.0 + rate * np.where(possible, bits, 0.0), np.inf)


def count_z_tokens(windows: Sequence[Floats], rate: float) -> int:
    """Count the Z-tokens of the cheapest tilings of windows, given the bits of their spans."""
    return sum(len(shortest_path(prices(bits, rate))) for bits in windows)


def highest_rate(windows: Sequence[Floats], most: int) -> float:
    """Find the highest rate at which tilings are short enough; a higher rate makes them longer.

    :param windows: Bits of the spans of each window.
    :param most: Z-tokens that all windows may take together.
    :return: The rate; 0 if no tiling is that short, or only the shortest.
    """
    if count_z_tokens(windows, MOST) <= most:
        return MOST
    low, high = LEAST, MOST
    for _ in range(BISECTIONS):
        rate = (low * high) ** 0.5
        low, high = (rate, high) if count_z_tokens(windows, rate) <= most else (low, rate)
    return low if low > LEAST else 0.0


@dataclass(frozen=True, slots=True)
class RateControl:
    """Tiles the windows of one call of `compress`."""

    compressor: Compressor
    windows: Sequence[Sequence[int]]  # token ids
    importance: Sequence[Sequence[TokenImportance] | None]  # of each token
    batch_size: int  # windows a pass
    progress: Progress | None = None  # called with ("compress", windows done, windows in all)

    def tile(self, options: CompressOptions) -> Iterator[TiledWindow]:
        """Tile all windows, in order."""
        if options.ratio == 1.0:
            yield from self._keep_all()
        elif options.has_length:
            yield from self._tile_to_length(options)
        elif options.query is None:
            for batch in self.analyses(USUAL_THRESHOLD):
                yield from self.write(batch, repeat(USUAL_RATE))
        else:
            importance = iter(self.importance)
            for batch in self.analyses(WIDE_THRESHOLD * USUAL_RATIO):
                met = [self._meet([analysis], [next(importance)], _usual_length([analysis])) for analysis in batch]
                yield from self.write([analysis for [analysis], _ in met], [rate for _, rate in met])

    def analyses(self, threshold: float) -> Iterator[list[Analysis]]:
        """Analyse the windows, batch after batch, with a pruning threshold in bits."""
        for first in range(0, len(self.windows), self.batch_size):
            states = self.compressor.hidden(self.windows[first : first + self.batch_size])
            batch = []
            for index, hidden in enumerate(states, first):
                batch.append(self.compressor.analyse(self.windows[index], hidden, threshold, self.importance[index]))
                if self.progress:
                    self.progress("compress", index + 1, len(self.windows))
            yield batch

    def write(self, analyses: Sequence[Analysis], rates: Iterable[float]) -> list[TiledWindow]:
        """Tile analysed windows, each at its rate, and write them; there may be more rates than windows."""
        tilings = [shortest_path(prices(analysis.bits, rate)) for analysis, rate in zip(analyses, rates, strict=False)]
        return self.compressor.write(analyses, tilings)

    def _keep_all(self) -> Iterator[TiledWindow]:
        no_code = (0,) * self.compressor.settings.subcodes
        for done, ids in enumerate(self.windows, 1):
            yield TiledWindow([ZToken(token, 0, no_code) for token in ids], [])
            if self.progress:
                self.progress("compress", done, len(self.windows))

    def _tile_to_length(self, options: CompressOptions) -> Iterator[TiledWindow]:
        """Tile all windows at one rate."""
        source_tokens = sum(map(len, self.windows))
        most = options.max_tokens or max(1, int(source_tokens / (options.ratio or 1.0)))
        threshold = max(USUAL_THRESHOLD, WIDE_THRESHOLD * source_tokens / most)
        analyses = [analysis for batch in self.analyses(threshold) for analysis in batch]
        if options.max_tokens is not None and options.query is not None:
            most = min(most, _usual_length(analyses))
        analyses, rate = self._meet(analyses, self.importance, most)
        if options.max_tokens is not None:
            rate = min(rate, USUAL_RATE)
            _require_length(count_z_tokens([analysis.bits for analysis in analyses], rate), options)
        for first in range(0, len(analyses), self.batch_size):
            yield from self.write(analyses[first : first + self.batch_size], repeat(rate))

    def _meet(
        self, analyses: list[Analysis], importance: Sequence[Sequence[TokenImportance] | None], most: int
    ) -> tuple[list[Analysis], float]:
        """Find the highest rate that gives so few Z-tokens; analyse without pruning only where that is needed."""
        rate = highest_rate([analysis.bits for analysis in analyses], most)
        if rate == 0.0:
            analyses = [
                self.compressor.analyse(analysis.ids, analysis.hidden, float("inf"), own)
                for analysis, own in zip(analyses, importance, strict=True)
            ]
            rate = highest_rate([analysis.bits for analysis in analyses], most)
        return analyses, rate


def _usual_length(analyses: Sequence[Analysis]) -> int:
    """Count the Z-tokens that windows have at the usual rate if all tokens are equally important."""
    return count_z_tokens([analysis.plain for analysis in analyses], USUAL_RATE)


def _require_length(needed: int, options: CompressOptions) -> None:
    if options.max_tokens is not None and needed > options.max_tokens:
        raise OptionError(
            f"max_tokens is {options.max_tokens}, but these documents need {needed} Z-tokens at least"
            f"{' with what is protected' if options.protect is not None else ''}. "
            "Allow more, or compress fewer documents."
        )
