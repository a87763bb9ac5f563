"""95 % intervals by the bootstrap: what a figure would be if other units (documents, questions, …) had been drawn.

interval = 2.5th and 97.5th percentile of  statistic(numbers of `count` units, drawn with replacement)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)

Statistic = Callable[[NDArray[np.int64]], float]


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


def resample(statistic: Statistic, count: int, resamples: int, seed: int) -> list[float]:
    """Compute a statistic of other draws of the units.

    :param statistic: Computes it from the numbers of the drawn units.
    :param count: Units, one at least.
    :param resamples: Draws.
    :param seed: Of the draws.
    :return: The statistic of each draw.
    """
    return [statistic(drawn) for drawn in np.random.default_rng(seed).integers(0, count, (resamples, count))]


def bootstrap(statistic: Statistic, count: int, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Give the interval in which a statistic lies if other units are drawn.

    :param statistic: Computes it from the numbers of the drawn units.
    :param count: Units, one at least.
    :param resamples: Draws.
    :param seed: Of the draws.
    :return: The 2.5th and the 97.5th percentile.
    """
    low, high = np.percentile(resample(statistic, count, resamples, seed), PERCENTILES)
    return Interval(float(low), float(high))
