"""Choose the Z-tokens of a text: the cheapest path through all spans that could be dropped.

A window of n tokens is cut into Z-tokens; the one at t with gap g stands for the tokens t .. t + g. Dropping a span
costs bits of residual, keeping a token costs a Z-token, and `rate` is the exchange rate between the two:

    price(t, g) = 1 + rate * (bits of residual that restore span (t, g))
    best(t)     = min over g of  price(t, g) + best(t + g + 1),   best(n) = 0

The best tiling at a rate is found, not predicted, and every tiling restores the text exactly. A low rate swallows long
spans and leaves much to the residual, which a reader does not see; a high one keeps what the code cannot tell as
anchors. A wanted length is met by bisecting one rate over all windows of a call, so every document pays the same price
for the same bits, and one that is hard to predict gets more Z-tokens.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Tiling = list[int]  # the gaps from left to right; sum of gap + 1 is the window's length

USUAL_RATE = 1 / 8  # Z-tokens a bit: most of a text is then in anchors and codes, for a reader to read (docs/codec.md)
BISECTIONS = 20
LEAST, MOST = 1e-8, 1e4  # rates: below and beyond these, nothing changes any more


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
