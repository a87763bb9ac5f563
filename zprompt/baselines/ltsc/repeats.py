"""Find the repeats of sequences, in one of two modes, and keep those that pay.

FLAT is the paper's selection: repeats, longest first, each judged by its occurrences that are still free. For each
length, from the longest repeat to 2, positions whose suffixes share that many symbols are a group; its free occurrences
without overlap are taken if an entry saves anything (`grammar.Price`). What was taken before is at least as long as
what is judged now, so an occurrence is free iff its first and last positions are. All lengths up to `_ALL` are tried.
Of longer ones, at most `_LONG` at which a repeat ends are tried, and each repeat is extended as long as its occurrences
agree: this keeps the time near-linear on sequences that repeat at every length.

HIERARCHICAL is Re-Pair, many pairs at a time: entries use entries, from the most frequent pairs up. In each round the
pairs that occur at least half as often as the most frequent one become entries, wherever their priority (how often they
occur, ties broken by a fixed hash) is the highest nearby. Rounds go on until no pair occurs twice; then `grammar.prune`
inlines what does not pay, which turns chains of pairs into long entries.

Sequences are joined, each followed by an end symbol that occurs once, so that no repeat spans two of them. What several
documents have in common becomes one entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from zprompt.baselines.ltsc.grammar import META_TOKENS, Grammar, Price, prune

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

_ALL = 48  # every length up to this one is tried
_LONG = 96  # longer lengths that are tried, at most
_SPREAD = 0x3FA53E0B  # an odd number that spreads the ids of pairs, for the ties
_SWEEPS = 4  # passes over the positions in a round
_RATIO = 0.5  # pairs with this share of the most frequent pair's occurrences become entries in the same round


class Mode(Enum):
    """A way to encode repeats."""

    FLAT = "flat"
    HIERARCHICAL = "hierarchical"
    LZW = "lzw"


ALL_MODES = (Mode.FLAT, Mode.HIERARCHICAL, Mode.LZW)


def find_grammar(
    documents: Sequence[Sequence[int]], mode: Mode, limit: int | None = None, price: Price = META_TOKENS
) -> Grammar:
    """Find the entries that pay.

    :param documents: The ids of each document, at least 0.
    :param mode: FLAT or HIERARCHICAL; LZW has no entries.
    :param limit: Maximum number of entries; None: any number.
    :param price: What entries cost.
    :return: The grammar; its bodies are the documents.
    """
    literals, symbols = _joined(documents)
    base = len(literals) + len(documents)
    if mode is Mode.FLAT:
        entries, joined = _flat(symbols, base, price)
    else:
        entries, joined = pair_up(symbols, base)
    grammar = Grammar(base, literals, entries, _split(joined, len(literals), base))
    return prune(grammar, limit, price)


def _joined(documents: Sequence[Sequence[int]]) -> tuple[list[int], Ints]:
    """Join documents, with ids renumbered from 0 on, each followed by an end symbol that no repeat can contain."""
    flat = np.array([token for document in documents for token in document], np.int64)
    literals, symbols = np.unique(flat, return_inverse=True)
    ends = np.cumsum([len(document) for document in documents], dtype=np.int64)
    return literals.tolist(), np.insert(symbols, ends, len(literals) + np.arange(len(documents))).astype(np.int64)


def _split(joined: Ints, first: int, base: int) -> list[list[int]]:
    """Split a joined sequence; symbols from `first` to `base` end documents."""
    ends = np.flatnonzero((joined >= first) & (joined < base))
    return [piece[: len(piece) - 1].tolist() for piece in np.split(joined, ends + 1)[: len(ends)]]


def _flat(symbols: Ints, base: int, price: Price) -> tuple[list[list[int]], Ints]:
    """Replace repeats, longest first."""
    entries: list[list[int]] = []
    replaced, keep = symbols.copy(), np.ones(len(symbols), np.bool_)
    for repeat in select(symbols, price):
        first = repeat.starts[0]
        for start in repeat.starts:
            keep[start : start + repeat.length] = False
        keep[repeat.starts] = True
        replaced[repeat.starts] = base + len(entries)
        entries.append(symbols[first : first + repeat.length].tolist())
    return entries, replaced[keep]


@dataclass(frozen=True, slots=True)
class SuffixArray:
    """The suffixes of a sequence in lexicographic order, and what neighbours share."""

    positions: Ints  # (T,)
    shared: Ints  # (T,), length of the prefix that a suffix shares with the one before it; 0 for the first


def sort_suffixes(symbols: Ints) -> SuffixArray:
    """Sort the suffixes of a sequence of numbers from 0 on, (T,), by prefix doubling.

    After step k the rank of a position names the 2^k symbols from there. Two such ranks side by side are the next
    step's name, so log2(longest repeat) sorts suffice.
    """
    steps = [_rank(symbols)]
    while len(symbols) and steps[-1].max() < len(symbols) - 1:
        steps.append(_rank(_doubled(steps[-1], 1 << (len(steps) - 1))))
    positions = np.empty(len(symbols), np.int64)
    positions[steps[-1]] = np.arange(len(symbols))
    return SuffixArray(positions, _shared(positions, steps))


def _rank(keys: Ints) -> Ints:
    """Replace each key by its rank; equal keys have equal ranks."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    ranks = np.empty(len(keys), np.int64)
    ranks[order] = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1])))[: len(keys)]
    return ranks


def _doubled(ranks: Ints, length: int) -> Ints:
    """Combine each rank with that of the position `length` further on; a position past the end ranks lowest."""
    after = np.zeros(len(ranks), np.int64)
    if length < len(ranks):
        after[:-length] = ranks[length:] + 1
    return ranks * (len(ranks) + 1) + after


def _shared(positions: Ints, steps: list[Ints]) -> Ints:
    """Count the symbols that neighbouring suffixes share: from the longest step down, add 2^k where names agree."""
    count = len(positions)
    shared = np.zeros(count, np.int64)
    first, second = positions[:-1].copy(), positions[1:].copy()
    for k in range(len(steps) - 1, -1, -1):
        # Past the end there is no position. The name of a position depends on where the sequence ends, too, so equal
        # names of different positions stand for 2^k symbols each.
        padded = np.concatenate((steps[k], np.full(1, -1)))
        agree = (padded[np.minimum(first, count)] == padded[np.minimum(second, count)]) & (first < count)
        agree &= second < count
        first += agree << k
        second += agree << k
    shared[1:] = second - positions[1:]
    return shared


@dataclass(frozen=True, slots=True)
class Repeat:
    """A subsequence that repeats, and where it is replaced."""

    length: int
    starts: list[int]  # ascending, without overlap


def select(symbols: Ints, price: Price = META_TOKENS) -> list[Repeat]:
    """Choose the repeats of (T,) numbers from 0 on that become entries; no two of their occurrences overlap."""
    suffixes = sort_suffixes(symbols)
    taken = bytearray(len(symbols))
    symbol_list = symbols.tolist()
    repeats = []
    for length in _lengths(suffixes, len(symbols)):
        if taken.count(0) < 2 * length:
            continue  # there is no room for two occurrences
        for group in _groups(suffixes, taken, length, price):
            starts = _free_starts(group, length, taken)
            if price.saving(length, len(starts)) <= 0:
                continue
            repeat = _extended(Repeat(length, starts), symbol_list, taken)
            for start in repeat.starts:
                taken[start : start + repeat.length] = b"\1" * repeat.length
            repeats.append(repeat)
    return repeats


def _lengths(suffixes: SuffixArray, count: int) -> list[int]:
    """List the lengths to try, longest first."""
    ends = np.unique(np.minimum(suffixes.shared, count // 2))
    longest = int(ends[-1]) if len(ends) else 0
    long = ends[ends > _ALL]
    if len(long) > _LONG:  # evenly on a logarithmic scale
        wanted = np.geomspace(long[0], long[-1], _LONG)
        long = np.unique(long[np.searchsorted(long, wanted).clip(0, len(long) - 1)])
    return [int(length) for length in long[::-1]] + list(range(min(_ALL, longest), 1, -1))


def _groups(suffixes: SuffixArray, taken: bytearray, length: int, price: Price) -> list[list[int]]:
    """Group the free positions whose next `length` symbols are equal, largest groups first."""
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
    starts, end = [], 0  # of the last one kept
    for start in positions:
        if start >= end and not taken[start] and not taken[start + length - 1]:
            starts.append(start)
            end = start + length
    return starts


def _extended(repeat: Repeat, symbols: list[int], taken: bytearray) -> Repeat:
    """Extend a repeat to the right as long as all occurrences agree, are free and do not overlap."""
    starts, length = repeat.starts, repeat.length
    limit = min(min((b - a for a, b in pairwise(starts)), default=0), len(symbols) - starts[-1])
    while length < limit and len({symbols[start + length] for start in starts}) == 1:
        if any(taken[start + length] for start in starts):
            break
        length += 1
    return Repeat(length, starts)


def pair_up(symbols: Ints, base: int) -> tuple[list[list[int]], Ints]:
    """Replace frequent pairs by entries until no pair occurs twice.

    :param symbols: (T,), numbers from 0 on.
    :param base: The symbol of the first entry, above all others.
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
    """Find where each pair first occurs, which pair begins at each position (-1: none), and each pair's count."""
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
    """Choose the positions whose pairs are replaced in this round; no two are adjacent."""
    spread = np.arange(len(counts)) * _SPREAD % (1 << 31)
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
        positions = np.flatnonzero(best) + 1
        waiting[positions] = waiting[positions - 1] = waiting[positions + 1] = 0
    return chosen


def _replace(symbols: Ints, chosen: Bools, names: Ints) -> Ints:
    """Replace the pairs at the chosen positions by their names."""
    positions = np.flatnonzero(chosen)
    replaced = symbols.copy()
    replaced[positions] = names[positions]
    return np.delete(replaced, positions + 1)
