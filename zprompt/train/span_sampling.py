"""Sample the spans to train on: those that the codec, as it is now, would choose.

Each training token has a running estimate of what it costs to restore, in bits. A window is tiled with the fewest
spans that cost no more than a budget each:

    cost(t) = 1 + min over g with bits(t + 1 … t + g) <= budget of cost(t + g + 1)

which is the shortest path of zprompt/codec/tiling.py, for many windows at once. The budget is drawn for each window,
so the heads see both short spans that must be exact and long ones that leave much to the residual.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNSEEN = 5.0  # bits that a token is taken to cost before it was trained on
MEMORY = 0.3  # share of the old estimate in the new one
NOISE = 0.25  # standard deviation of the log of the noise factor on estimates

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of a batch of windows."""

    window: Indices  # (S,)
    start: Indices  # (S,): position of the anchor
    gap: Indices  # (S,): tokens, at least 1


class RunningCosts:
    """Estimates of what each training token costs to restore."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """Start with the same estimate for every token.

        :param shape: (N, T) of the training windows.
        """
        self.bits = np.full(shape, UNSEEN, np.float16)

    def update(self, windows: Indices, positions: Indices, bits: NDArray[np.float32]) -> None:
        """Move the estimates of tokens towards their present costs.

        :param windows: (R,)
        :param positions: (R,)
        :param bits: (R,)
        """
        old = self.bits[windows, positions]
        self.bits[windows, positions] = (MEMORY * old + (1 - MEMORY) * bits).clip(0.05, 20.0)

    def noisy(self, windows: Indices, random: np.random.Generator) -> Floats:
        """Return the estimates of windows with noise, so that the same spans do not recur.

        :param windows: (B,)
        :param random: Source of the noise.
        :return: (B, T) bits.
        """
        bits = self.bits[windows].astype(np.float64)
        noisy: Floats = bits * np.exp(random.normal(0.0, NOISE, bits.shape))
        return noisy


def choose_spans(bits: Floats, budget: Floats, max_gap: int) -> Spans:
    """Tile windows with the fewest spans within budget.

    :param bits: (B, T), cost of each token.
    :param budget: (B,), highest cost of a span.
    :param max_gap: Longest span, in tokens.
    :return: The spans; anchors without a span are left out.
    """
    steps = _best_gaps(bits, budget, max_gap)
    rows, length = bits.shape
    at, row = np.zeros(rows, np.int64), np.arange(rows)
    found: list[NDArray[np.int64]] = []
    while len(row):  # all windows walk their paths at the same time
        gap = steps[row, at]
        keep = gap > 0
        found.append(np.stack((row[keep], at[keep], gap[keep])))
        at = at + gap + 1
        row, at = row[at < length], at[at < length]
    return Spans(*np.concatenate(found, axis=1))


def _best_gaps(bits: Floats, budget: Floats, max_gap: int) -> Indices:
    """Return the best gap at every position, (B, T); the last token of a window is always an anchor."""
    rows, length = bits.shape
    total = np.concatenate((np.zeros((rows, 1)), bits.cumsum(1)), axis=1)
    best, steps = np.zeros((rows, length + 1)), np.zeros((rows, length), np.int64)
    for t in range(length - 1, -1, -1):
        longest = min(max_gap, length - t - 2) if t < length - 1 else 0
        spent = total[:, t + 1 : t + 2 + longest] - total[:, t + 1 : t + 2]
        cost = np.where(spent <= budget[:, None], 1.0, np.inf) + best[:, t + 1 : t + 2 + longest]
        cost[:, 0] = 1.0 + best[:, t + 1]
        steps[:, t] = longest - cost[:, ::-1].argmin(1)  # of equal costs, the longest gap
        best[:, t] = cost[np.arange(rows), steps[:, t]]
    return steps
