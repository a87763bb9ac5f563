"""95 % intervals: what a figure would be if other units had been drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zprompt.eval import PERCENTILES, RESAMPLES, Statistic, resample

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval."""

    value: float
    low: float  # 2.5th percentile of the bootstrap
    high: float  # 97.5th


def estimate(figure: Statistic, count: int, seed: int) -> Estimate | None:
    """Compute a figure and its bootstrap interval.

    :param figure: Computes it from the numbers of the units that are drawn; nan where they do not allow it.
    :param count: Units.
    :param seed: Of the draws.
    :return: The figure; None if the units do not allow it.
    """
    value = figure(np.arange(count)) if count else np.nan
    if not np.isfinite(value):
        return None
    low, high = np.nanpercentile(resample(figure, count, RESAMPLES, seed), PERCENTILES)
    return Estimate(float(value), float(low), float(high))


def quotient(dividends: Floats, divisors: Floats) -> Statistic:
    """Make the figure that is one sum over another.

    :param dividends: (units,).
    :param divisors: (units,), not negative.
    :return: The figure, for `estimate`.
    """

    def figure(drawn: Ints) -> float:
        total = float(divisors[drawn].sum())
        return float(dividends[drawn].sum()) / total if total else float("nan")

    return figure
