"""The hierarchical mode: entries that use entries, from the most frequent pairs up (Re-Pair, many pairs at a time).

In each round every position has the priority of its pair: how often the pair occurs, ties broken at random. Pairs
that occur at least half as often as the most frequent one become entries, wherever their priority is the highest
nearby. Rounds go on until no pair occurs twice; then `grammar.prune` writes out what does not pay, which makes long
entries of chains of pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zprompt.baselines.ltsc.repeats import Ints

_SPREAD = 0x9E3779B97F4A7C15 >> 1 | 1  # an odd number that spreads the ids of pairs, for the ties
_SWEEPS = 4  # of choosing positions in a round
_RATIO = 0.5

Bools = NDArray[np.bool_]


def pair_up(symbols: Ints, base: int) -> tuple[list[list[int]], Ints]:
    """Replace pairs by entries.

    :param symbols: (T,), numbers from 0 on; a symbol that no entry may hold is one that occurs once.
    :param base: The symbol of the first entry; greater than all symbols.
    :return: The entries, each of two symbols, and the shortened sequence.
    """
    entries: list[list[int]] = []
    while len(symbols) > 3:
        firsts, ids, counts = _count_pairs(symbols)
        if counts.max(initial=0) < 2:
            break
        chosen = _choose(ids, counts)
        actual = np.bincount(ids[chosen], minlength=len(counts))
        chosen &= (ids >= 0) & (actual[ids] >= 2)
        pairs = np.flatnonzero(actual >= 2)
        names = np.zeros(len(counts), np.int64)
        names[pairs] = base + len(entries) + np.arange(len(pairs))
        left = firsts[pairs]
        entries += np.stack((symbols[left], symbols[left + 1]), 1).tolist()
        symbols = _replace(symbols, chosen, names[ids])
    return entries, symbols


def _count_pairs(symbols: Ints) -> tuple[Ints, Ints, Ints]:
    """Find the pairs: where each first occurs, which pair begins at each position (-1: none), how often each occurs."""
    keys = symbols[:-1] * (int(symbols.max()) + 1) + symbols[1:]
    # In a run such as aaaa, only every other position can begin a pair.
    new = np.concatenate(([True], keys[1:] != keys[:-1]))
    starts = np.maximum.accumulate(np.where(new, np.arange(len(keys)), 0))
    possible = np.flatnonzero((np.arange(len(keys)) - starts) % 2 == 0)
    _, firsts, inverse, counts = np.unique(keys[possible], return_index=True, return_inverse=True, return_counts=True)
    ids = np.full(len(keys), -1)
    ids[possible] = inverse
    return possible[firsts], ids, counts


def _choose(ids: Ints, counts: Ints) -> Bools:
    """Choose positions whose pairs are replaced in this round; no two are neighbours."""
    spread = (np.arange(len(counts)) * (_SPREAD % (1 << 31) | 1)) % (1 << 31)
    priority = counts * (1 << 31) + spread + 1
    priority[counts < max(2, counts.max() * _RATIO)] = 0
    waiting = np.zeros(len(ids) + 2, np.int64)  # a border on both sides
    waiting[1:-1] = np.where(ids >= 0, priority[ids], 0)
    chosen = np.zeros(len(ids), np.bool_)
    for _ in range(_SWEEPS):
        best = (waiting[1:-1] > waiting[:-2]) & (waiting[1:-1] > waiting[2:])
        if not best.any():
            break
        chosen |= best
        places = np.flatnonzero(best) + 1
        waiting[places] = waiting[places - 1] = waiting[places + 1] = 0
    return chosen


def _replace(symbols: Ints, chosen: Bools, names: Ints) -> Ints:
    """Put names in place of the pairs at the chosen positions."""
    places = np.flatnonzero(chosen)
    replaced = symbols.copy()
    replaced[places] = names[places]
    return np.delete(replaced, places + 1)
