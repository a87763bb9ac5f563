"""Turn what single samples gave into figures: with sample size, 95 % interval and worst case.

    figure = sum of tops / sum of bottoms        over samples
    interval = bootstrap over samples            the same samples are drawn for tops and bottoms
    worst = the worst top / bottom of a sample   the lowest, or the highest where less is better

A mean has bottoms of 1; a positions ratio has source tokens over positions; facts kept have found over all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zprompt.eval.statistics import RESAMPLES, Interval, bootstrap


@dataclass(frozen=True, slots=True)
class Share:
    """What one sample adds to a figure."""

    top: float
    bottom: float = 1.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure over samples."""

    value: float
    low: float  # of the 95 % interval ...
    high: float
    worst: float  # of the samples
    samples: int  # that say something about it

    def to_dict(self) -> dict[str, Any]:
        """Turn the figure into a dict for JSON.

        :return: The fields under their names.
        """
        return {name: getattr(self, name) for name in ("value", "low", "high", "worst", "samples")}


def summarise(shares: Sequence[Share | None], seed: int, less_is_better: bool = False) -> Figure | None:
    """Give the figure of samples.

    :param shares: What each adds; None where it says nothing.
    :param seed: Of the bootstrap.
    :param less_is_better: Whether the worst case is the highest.
    :return: The figure; None if no sample says anything.
    """
    known = [share for share in shares if share is not None and share.bottom]
    if not known:
        return None
    tops, bottoms = np.array([share.top for share in known]), np.array([share.bottom for share in known])

    def value(rows: NDArray[np.int64]) -> float:
        return float(tops[rows].sum() / bottoms[rows].sum())

    interval: Interval = bootstrap(value, len(known), RESAMPLES, seed)
    each = tops / bottoms
    worst = each.max() if less_is_better else each.min()
    return Figure(value(np.arange(len(known))), interval.low, interval.high, float(worst), len(known))
