"""Choose the Z-tokens of a text: the cheapest path through all spans that could be dropped.

A window of n tokens is cut into Z-tokens; the one at t with gap g stands for the tokens t .. t + g. With the price of each,

    best(t) = min over g of  price(t, g) + best(t + g + 1),   best(n) = 0

is a shortest path: the best tiling that these prices allow is found, not predicted. Gap 0 costs 1 everywhere, so there
is always a path. Three prices serve three wishes:

    exact      price = 1 if the span's residual fits, else infinite
    shorter    price = 1 + lossiness * (weight of the tokens that do not come back)
    clearer    price = 1 + plainness * (bits that the residual must add to the code), exact spans only

The first gives the fewest Z-tokens that restore everything. `lossiness` and `plainness` are exchange rates that are bisected
over all windows of a call at once, so that every document pays the same price for the same loss: one that is hard to
predict gets more Z-tokens. A ratio below the exact one is not met by waste: it buys Z-tokens that say more by
code and less by residual, which is what a reader sees.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Prices = Sequence[Floats]
Tiling = list[int]  # the gaps from left to right; sum of gap + 1 is the window's length

BISECTIONS = 24
MOST = 1e6  # the highest exchange rate: beyond it, nothing is traded


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


def exact_price(costs: SpanCosts, budget: float) -> Floats:
    """Price Z-tokens so that the fewest that restore everything are cheapest.

    :param costs: The window's costs.
    :param budget: Bits of a residual.
    :return: (n, G + 1).
    """
    return np.where(costs.bits <= budget, 1.0, np.inf)


def clearer_price(costs: SpanCosts, budget: float, plainness: float) -> Floats:
    """Price exact Z-tokens by what their code leaves to the residual.

    :param costs: The window's costs.
    :param budget: Bits of a residual.
    :param plainness: Z-tokens that a bit of residual is worth.
    :return: (n, G + 1).
    """
    return np.where(costs.bits <= budget, 1.0 + plainness * np.minimum(costs.bits, budget), np.inf)


def lossy_price(costs: SpanCosts, lossiness: float) -> Floats:
    """Price Z-tokens by what they lose.

    :param costs: The window's costs.
    :param lossiness: Z-tokens that a lost token of weight 1 is worth.
    :return: (n, G + 1).
    """
    return 1.0 + np.where(np.isinf(costs.loss), np.inf, lossiness * np.where(np.isinf(costs.loss), 0.0, costs.loss))


def tile_exactly(windows: Sequence[SpanCosts], budget: float) -> list[Tiling]:
    """Tile windows with the fewest Z-tokens that restore everything.

    :param windows: Costs of each window.
    :param budget: Bits of a residual.
    :return: A tiling of each window.
    """
    return [shortest_path(exact_price(window, budget)) for window in windows]


def tile_to_length(windows: Sequence[SpanCosts], budget: float, most: int, clearer: bool) -> list[Tiling]:
    """Tile windows with at most a number of Z-tokens in all, and lose as little as that allows.

    :param windows: Costs of each window.
    :param budget: Bits of a residual.
    :param most: Z-tokens that all windows may take together.
    :param clearer: Whether to spend what an exact tiling would leave over on clearer Z-tokens.
    :return: A tiling of each window; longer in all than `most` only if no tiling is that short.
    """
    exact = tile_exactly(windows, budget)
    if count(exact) > most:
        return _bisect(lambda rate: [shortest_path(lossy_price(window, rate)) for window in windows], most)
    if not clearer:
        return exact
    return _bisect(lambda rate: [shortest_path(clearer_price(window, budget, rate)) for window in windows], most)


def count(tilings: Sequence[Tiling]) -> int:
    """Count the Z-tokens of tilings.

    :param tilings: The tilings.
    :return: Their Z-tokens.
    """
    return sum(len(tiling) for tiling in tilings)


def _bisect(tile: Callable[[float], list[Tiling]], most: int) -> list[Tiling]:
    """Find the highest exchange rate whose tilings are short enough: the rate makes them longer."""
    low, high = 0.0, MOST
    chosen = tile(low)
    for _ in range(BISECTIONS):
        # The first halvings are of the exponent: useful rates lie between 1e-3 and 1e2.
        rate = (low * high) ** 0.5 if low else high * 1e-4 if high > 1e-4 else high / 2
        tilings = tile(rate)
        if count(tilings) <= most:
            low, chosen = rate, tilings
        else:
            high = rate
        if high - low <= 1e-4 * high:
            break
    return chosen
