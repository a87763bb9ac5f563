"""Find all repeats of a sequence: a suffix array by prefix doubling, all steps in numpy.

After step k the rank of a position names the 2^k symbols from there. Two such ranks side by side are the next step's
name, so log2 (longest repeat) sorts do. The ranks of all steps give the longest common prefix of neighbouring suffixes
too: from the longest step to the shortest, go on by 2^k where the names agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SuffixArray:
    """The suffixes of a sequence in order, and what neighbours share."""

    positions: Ints  # (T,)
    shared: Ints  # (T,), symbols that a suffix shares with the one before it; 0 for the first


def sort_suffixes(symbols: Ints) -> SuffixArray:
    """Sort the suffixes of a sequence.

    :param symbols: (T,), numbers from 0 on.
    :return: The suffix array.
    """
    steps = [_rank(symbols)]
    while len(symbols) and steps[-1].max() < len(symbols) - 1:
        steps.append(_rank(_doubled(steps[-1], 1 << (len(steps) - 1))))
    positions = np.empty(len(symbols), np.int64)
    positions[steps[-1]] = np.arange(len(symbols))
    return SuffixArray(positions, _shared(positions, steps))


def _rank(keys: Ints) -> Ints:
    """Replace each key by its rank, equal ones alike."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    ranks = np.empty(len(keys), np.int64)
    ranks[order] = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1])))[: len(keys)]
    return ranks


def _doubled(ranks: Ints, length: int) -> Ints:
    """Join each rank with that of the position `length` on; past the end is less than all."""
    after = np.zeros(len(ranks), np.int64)
    if length < len(ranks):
        after[:-length] = ranks[length:] + 1
    return ranks * (len(ranks) + 1) + after


def _shared(positions: Ints, steps: list[Ints]) -> Ints:
    """Measure what neighbouring suffixes share."""
    count = len(positions)
    shared = np.zeros(count, np.int64)
    first, second = positions[:-1].copy(), positions[1:].copy()
    for k in range(len(steps) - 1, -1, -1):
        # Past the end is no position. A name at a position that is there also tells where the sequence ends, so equal
        # names of different positions are of 2^k symbols each.
        padded = np.concatenate((steps[k], np.full(1, -1)))
        agree = (padded[np.minimum(first, count)] == padded[np.minimum(second, count)]) & (first < count)
        agree &= second < count
        first += agree << k
        second += agree << k
    shared[1:] = second - positions[1:]
    return shared
