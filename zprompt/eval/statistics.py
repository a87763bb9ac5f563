"""Estimates over samples, each with its 95 % interval by the bootstrap.

    value    = sum of numerators / sum of denominators                over samples
    interval = 2.5th and 97.5th percentile of the value               of samples drawn with replacement
    worst    = the worst numerator / denominator of a single sample   the lowest, or the highest if less is better

Every figure but BLEU is such a quotient of sums, so one rule gives all values, intervals and worst cases: a mean has
denominators of 1, a compression ratio has source tokens over positions, a recall has found items over all items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)

Statistic = Callable[[NDArray[np.int64]], float]
"""Computes a figure from the indices of the units (documents, questions, …) that were drawn."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """What one sample adds to a figure."""

    numerator: float
    denominator: float = 1.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over samples."""

    value: float
    low: float  # of the 95 % interval
    high: float
    worst: float  # of a single sample
    samples: int  # that the figure is defined for


def bootstrap(statistic: Statistic, count: int, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Compute the 95 % interval of a statistic over `count` units, at least one."""
    return _interval([statistic(drawn) for drawn in _draw(count, resamples, seed)])


def estimate(ratios: Sequence[Ratio | None], seed: int, less_is_better: bool = False) -> Estimate | None:
    """Compute a figure with its interval and worst sample.

    :param ratios: What each sample adds; None, or a denominator of 0, where the figure is not defined.
    :param seed: Seed of the bootstrap.
    :param less_is_better: True if the worst sample is the one with the highest ratio.
    :return: The figure; None if it is defined for no sample.
    """
    known = [ratio for ratio in ratios if ratio is not None and ratio.denominator]
    if not known:
        return None
    interval = _interval(_quotients(known, _draw(len(known), RESAMPLES, seed)))
    worst = max if less_is_better else min
    return Estimate(
        value=float(_quotients(known, np.arange(len(known)))),
        low=interval.low,
        high=interval.high,
        worst=worst(ratio.numerator / ratio.denominator for ratio in known),
        samples=len(known),
    )


def paired_difference(ratios: Sequence[Ratio], other: Sequence[Ratio], seed: int = 0) -> Interval:
    """Compute the interval of the difference of two figures over the same samples, drawing the same for both."""
    drawn = _draw(len(ratios), RESAMPLES, seed)
    return _interval(_quotients(ratios, drawn) - _quotients(other, drawn))


def _draw(count: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """Return the indices of the units of each draw, (resamples, count)."""
    return np.random.default_rng(seed).integers(0, count, (resamples, count))


def _quotients(ratios: Sequence[Ratio], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide sums of numerators by sums of denominators; drawn is (…, count), the result (…)."""
    numerators = np.array([ratio.numerator for ratio in ratios], np.float64)
    denominators = np.array([ratio.denominator for ratio in ratios], np.float64)
    quotients: NDArray[np.float64] = numerators[drawn].sum(-1) / denominators[drawn].sum(-1)
    return quotients


def _interval(values: NDArray[np.float64] | Sequence[float]) -> Interval:
    low, high = np.percentile(values, PERCENTILES)
    return Interval(float(low), float(high))
