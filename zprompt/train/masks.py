"""Choose the spans to train on: those that the codec, as it is now, would choose.

Each token has a running estimate of what it costs to restore, in bits. A window is tiled with the fewest spans that
cost no more than a budget each, the same shortest path as in use (segmentation.py), for many windows at once; the
budget is drawn anew for each window, so short spans that must be perfect and long ones that may leave much to the
residual are both seen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNSEEN = 5.0  # bits that a token is taken to cost before it was trained on
MEMORY = 0.3  # share of the old estimate in the new one
NOISE = 0.25  # standard deviation of the log of the factor that estimates are blurred with

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
        """Start with no experience.

        :param shape: (N, T) of the training windows.
        """
        self.bits = np.full(shape, UNSEEN, np.float16)

    def update(self, windows: Indices, positions: Indices, bits: NDArray[np.float32]) -> None:
        """Learn what tokens cost now.

        :param windows: (R,), their windows.
        :param positions: (R,), their positions.
        :param bits: (R,), what they cost.
        """
        old = self.bits[windows, positions]
        self.bits[windows, positions] = (MEMORY * old + (1 - MEMORY) * bits).clip(0.05, 20.0)

    def blurred(self, windows: Indices, random: np.random.Generator) -> Floats:
        """Give the estimates of windows with noise, so that the same spans do not come again and again.

        :param windows: (B,), indices of windows.
        :param random: Where the noise comes from.
        :return: (B, T) bits.
        """
        bits = self.bits[windows].astype(np.float64)
        noisy: Floats = bits * np.exp(random.normal(0.0, NOISE, bits.shape))
        return noisy


def choose_spans(bits: Floats, budget: Floats, max_gap: int) -> Spans:
    """Tile windows with the fewest spans within budget.

    :param bits: (B, T), what each token costs.
    :param budget: (B,), what a span may cost.
    :param max_gap: Longest span, in tokens.
    :return: The spans; single anchors are left out.
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
    """Find the best gap at every position, the last anchor of a window always being kept: (B, T)."""
    rows, length = bits.shape
    total = np.concatenate((np.zeros((rows, 1)), bits.cumsum(1)), axis=1)
    best, steps = np.zeros((rows, length + 1)), np.zeros((rows, length), np.int64)
    for t in range(length - 1, -1, -1):
        longest = min(max_gap, length - t - 2) if t < length - 1 else 0
        spent = total[:, t + 1 : t + 2 + longest] - total[:, t + 1 : t + 2]
        price = np.where(spent <= budget[:, None], 1.0, np.inf) + best[:, t + 1 : t + 2 + longest]
        price[:, 0] = 1.0 + best[:, t + 1]
        steps[:, t] = longest - price[:, ::-1].argmin(1)  # of equal prices, the longest gap
        best[:, t] = price[np.arange(rows), steps[:, t]]
    return steps
