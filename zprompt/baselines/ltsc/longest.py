"""The paper's selection: repeats, the longest first, each judged by its occurrences that are still free.

For each length, from the longest repeat to 2: positions whose suffixes share that many symbols are a group. Its free
occurrences without overlap are taken if an entry saves anything (see `grammar`). What was taken before is at least as
long as what is judged now, so an occurrence is free iff its first and its last position are.

All lengths up to `_ALL` are tried. Above, at most `_LONG` of those at which a repeat ends, and what is found is
extended as long as its occurrences agree: this keeps the time near-linear on sequences that repeat at every length.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from zprompt.baselines.ltsc.grammar import META_TOKENS, Price
from zprompt.baselines.ltsc.repeats import Ints, SuffixArray, sort_suffixes

_ALL = 48
_LONG = 96


@dataclass(frozen=True, slots=True)
class Repeat:
    """A subsequence, and where it is replaced."""

    length: int
    starts: list[int]  # ascending, without overlap


def select(symbols: Ints, price: Price = META_TOKENS) -> list[Repeat]:
    """Choose the repeats that become entries.

    :param symbols: (T,), numbers from 0 on; a symbol that no repeat may hold is one that occurs once.
    :param price: What entries cost.
    :return: The repeats; no two of their occurrences overlap.
    """
    suffixes = sort_suffixes(symbols)
    taken = bytearray(len(symbols))
    listed = symbols.tolist()
    repeats = []
    for length in _lengths(suffixes, len(symbols)):
        if taken.count(0) < 2 * length:
            continue  # there is no room for two occurrences
        for group in _groups(suffixes, taken, length, price):
            starts = _free_starts(group, length, taken)
            if price.saving(length, len(starts)) <= 0:
                continue
            repeat = _extended(Repeat(length, starts), listed, taken)
            for start in repeat.starts:
                taken[start : start + repeat.length] = b"\1" * repeat.length
            repeats.append(repeat)
    return repeats


def _lengths(suffixes: SuffixArray, count: int) -> list[int]:
    """List the lengths to try, the longest first."""
    ends = np.unique(np.minimum(suffixes.shared, count // 2))
    longest = int(ends[-1]) if len(ends) else 0
    long = ends[ends > _ALL]
    if len(long) > _LONG:  # evenly on a logarithmic scale
        wanted = np.geomspace(long[0], long[-1], _LONG)
        long = np.unique(long[np.searchsorted(long, wanted).clip(0, len(long) - 1)])
    return [int(length) for length in long[::-1]] + list(range(min(_ALL, longest), 1, -1))


def _groups(suffixes: SuffixArray, taken: bytearray, length: int, price: Price) -> list[list[int]]:
    """Group the free positions that begin with the same symbols, the largest groups first."""
    group = np.cumsum(suffixes.shared < length)
    used = np.frombuffer(taken, np.uint8)
    last = np.minimum(suffixes.positions + length - 1, len(used) - 1)
    inside = suffixes.positions + length <= len(used)
    free = inside & (used[suffixes.positions] == 0) & (used[last] == 0)
    group, positions = group[free], suffixes.positions[free]
    sizes = np.bincount(group, minlength=1)
    keep = (price.saving(length, sizes) > 0)[group]
    group, positions = group[keep], positions[keep]
    if not len(group):
        return []
    order = np.lexsort((positions, group, -sizes[group]))
    group, positions = group[order], positions[order]
    cuts = np.flatnonzero(np.diff(group)) + 1
    ordered, edges = positions.tolist(), [0, *cuts.tolist(), len(positions)]
    return [ordered[a:b] for a, b in pairwise(edges)]


def _free_starts(positions: list[int], length: int, taken: bytearray) -> list[int]:
    """Keep the occurrences that are free and do not overlap, from left to right."""
    starts, following = [], 0
    for start in positions:
        if start >= following and not taken[start] and not taken[start + length - 1]:
            starts.append(start)
            following = start + length
    return starts


def _extended(repeat: Repeat, symbols: list[int], taken: bytearray) -> Repeat:
    """Extend a repeat to the right as long as all occurrences agree, are free and do not overlap."""
    starts, length = repeat.starts, repeat.length
    most = min(min((b - a for a, b in pairwise(starts)), default=0), len(symbols) - starts[-1])
    while length < most and len({symbols[start + length] for start in starts}) == 1:
        if any(taken[start + length] for start in starts):
            break
        length += 1
    return Repeat(length, starts)
