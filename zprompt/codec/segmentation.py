"""Choose the Z-tokens of a text: the cheapest path through all spans that could be dropped.

A window of n tokens is cut into Z-tokens; the one at t with gap g stands for the tokens t .. t + g. With the price of
each,

    best(t) = min over g of  price(t, g) + best(t + g + 1),   best(n) = 0

is a shortest path: the best tiling that these prices allow is found, not predicted. Gap 0 costs 1 everywhere, so
there is always a path. Three prices serve three wishes:

    exact      price = 1 if the span's residual fits, else infinite
    shorter    price = 1 + lossiness * (weight of the tokens that do not come back)
    clearer    price = 1 + plainness * (bits that the residual must add to the code), exact spans only

The first gives the fewest Z-tokens that restore everything. `lossiness` and `plainness` are exchange rates that are
bisected over all windows of a call at once, so that every document pays the same price for the same loss: one that is
hard to predict gets more Z-tokens. A ratio below the exact one is not met by waste: it buys Z-tokens that say more by
code and less by residual, which is what a reader sees.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Tiling = list[int]  # the gaps from left to right; sum of gap + 1 is the window's length

BISECTIONS = 20
LEAST, MOST = 1e-4, 1e4  # exchange rates: below and beyond these, nothing changes any more


@dataclass(frozen=True, slots=True)
class SpanCosts:
    """What dropping each span of one window would cost."""

    bits: Floats  # (n, G + 1): bits of residual that restore span (t, g); inf if it cannot be dropped or restored
    loss: Floats  # (n, G + 1): weight of its tokens that are wrong after the best use of the residual; inf: not allowed


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


@dataclass(frozen=True, slots=True)
class ExactPrice:
    """1 for every Z-token whose span can be restored."""

    budget: float  # bits of a residual

    def __call__(self, costs: SpanCosts) -> Floats:
        """Price the Z-tokens of a window.

        :param costs: The window's costs.
        :return: (n, G + 1).
        """
        return np.where(costs.bits <= self.budget, 1.0, np.inf)


@dataclass(frozen=True, slots=True)
class ClearerPrice:
    """As the exact price, and more for what the code leaves to the residual."""

    budget: float  # bits of a residual
    plainness: float  # Z-tokens that a bit of residual is worth

    def __call__(self, costs: SpanCosts) -> Floats:
        """Price the Z-tokens of a window.

        :param costs: The window's costs.
        :return: (n, G + 1).
        """
        return np.where(costs.bits <= self.budget, 1.0 + self.plainness * np.minimum(costs.bits, self.budget), np.inf)


@dataclass(frozen=True, slots=True)
class LossyPrice:
    """1 and the price of what does not come back."""

    lossiness: float  # Z-tokens that a lost token of weight 1 is worth

    def __call__(self, costs: SpanCosts) -> Floats:
        """Price the Z-tokens of a window.

        :param costs: The window's costs.
        :return: (n, G + 1).
        """
        allowed = np.isfinite(costs.loss)
        return np.where(allowed, 1.0 + self.lossiness * np.where(allowed, costs.loss, 0.0), np.inf)


Price = ExactPrice | ClearerPrice | LossyPrice


def count(windows: Sequence[SpanCosts], price: Price) -> int:
    """Count the Z-tokens of the cheapest tilings.

    :param windows: Costs of each window.
    :param price: How they are priced.
    :return: Z-tokens of all windows.
    """
    return sum(len(shortest_path(price(window))) for window in windows)


def bisect_price(windows: Sequence[SpanCosts], make: Callable[[float], Price], most: int) -> Price:
    """Find the highest exchange rate at which tilings are short enough; a higher rate makes them longer.

    :param windows: Costs of each window.
    :param make: Makes a price of a rate.
    :param most: Z-tokens that all windows may take together.
    :return: The price; that of rate 0 if no tiling is that short.
    """
    if count(windows, make(MOST)) <= most:
        return make(MOST)
    low, high = LEAST, MOST
    for _ in range(BISECTIONS):
        rate = (low * high) ** 0.5
        low, high = (rate, high) if count(windows, make(rate)) <= most else (low, rate)
    return make(low) if low > LEAST else make(0.0)
