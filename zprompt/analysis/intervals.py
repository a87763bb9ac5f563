"""95 % intervals: what a figure would be if other units had been drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval."""

    value: float
    low: float  # 2.5th percentile of the bootstrap
    high: float  # 97.5th


def estimate(figure: Callable[[Ints], float], count: int, seed: int) -> Estimate | None:
    """Compute a figure and its bootstrap interval.

    :param figure: Computes it from the numbers of the units that are drawn; nan where they do not allow it.
    :param count: Units.
    :param seed: Of the draws.
    :return: The figure; None if the units do not allow it.
    """
    value = figure(np.arange(count)) if count else np.nan
    if not np.isfinite(value):
        return None
    random = np.random.default_rng(seed)
    drawn = np.array([figure(random.integers(count, size=count)) for _ in range(RESAMPLES)])
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high))


def quotient(dividends: Floats, divisors: Floats) -> Callable[[Ints], float]:
    """Make the figure that is one sum over another.

    :param dividends: (units,).
    :param divisors: (units,), not negative.
    :return: The figure, for `estimate`.
    """

    def figure(drawn: Ints) -> float:
        total = float(divisors[drawn].sum())
        return float(dividends[drawn].sum()) / total if total else float("nan")

    return figure
