"""A shortened sequence as a grammar: entries, and bodies that use them.

An entry of N symbols that is used K times is worth its place iff

    N · K > d + r + N + r · K

since it is written once, after its name of r symbols and with d symbols around it, and each of its uses is its name. A
meta-token is one symbol and needs nothing around it: r = 1 and d = 0 give the paper's N · K > 1 + N + K. An entry that
is not worth its place is written out where it is used. Its users grow by that, and what it uses is used more often, so
the rule is asked again until nothing changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Count = TypeVar("_Count", int, NDArray[np.int64])
_ROUNDS = 16  # of asking again; a few do


@dataclass(frozen=True, slots=True)
class Price:
    """What it costs to have entries, in symbols."""

    name: int = 1  # r: of each use, and once in the dictionary
    around: int = 0  # d: what sets an entry off from the others

    def saving(self, length: int, count: _Count) -> _Count:
        """Count what an entry saves.

        :param length: Its symbols.
        :param count: Its uses; of many entries, an array.
        :return: Symbols; an entry is worth its place if they are more than 0.
        """
        return count * (length - self.name) - (self.around + self.name + length)


META_TOKENS = Price()  # the paper's


@dataclass(frozen=True, slots=True)
class Grammar:
    """Entries and bodies; symbol `base + i` is entry i, symbol i below `len(literals)` is literal i."""

    base: int
    literals: list[int]  # ids
    entries: list[list[int]]  # an entry uses only those before it
    bodies: list[list[int]]


def prune(grammar: Grammar, limit: int | None = None, price: Price = META_TOKENS) -> Grammar:
    """Write out the entries that are not worth their place.

    :param grammar: A grammar.
    :param limit: How many entries may stay; the ones that save least go.
    :param price: What entries cost.
    :return: The same sequences, no longer than before.
    """
    for _ in range(_ROUNDS):
        useless = _useless(grammar, price)
        if not useless:
            break
        grammar = _write_out(grammar, useless)
    if limit is not None and len(grammar.entries) > limit:
        savings = [
            price.saving(len(entry), uses) for entry, uses in zip(grammar.entries, count_uses(grammar), strict=True)
        ]
        order = sorted(range(len(savings)), key=savings.__getitem__, reverse=True)
        grammar = _write_out(grammar, set(order[limit:]))
    return grammar


def count_uses(grammar: Grammar) -> list[int]:
    """Count the uses of each entry, in bodies and in other entries.

    :param grammar: A grammar.
    :return: The uses of each entry.
    """
    counts: Counter[int] = Counter()
    for sequence in (*grammar.entries, *grammar.bodies):
        counts.update(sequence)
    return [counts[grammar.base + i] for i in range(len(grammar.entries))]


def _useless(grammar: Grammar, price: Price) -> set[int]:
    """Find the entries that are not worth their place, judged by the lengths that they have without each other."""
    uses, useless = count_uses(grammar), set()
    lengths: dict[int, int] = {}  # of the symbols that will be written out
    for i, entry in enumerate(grammar.entries):
        length = sum(lengths.get(symbol, 1) for symbol in entry)
        if price.saving(length, uses[i]) <= 0:
            useless.add(i)
            lengths[grammar.base + i] = length
    return useless


def _write_out(grammar: Grammar, gone: Collection[int]) -> Grammar:
    """Replace the uses of some entries by what they stand for."""
    if not gone:
        return grammar
    written: dict[int, list[int]] = {}  # what to put in place of a symbol
    kept: list[list[int]] = []
    for i, entry in enumerate(grammar.entries):
        replaced = _replace(entry, written)
        if i in gone:
            written[grammar.base + i] = replaced
        else:
            written[grammar.base + i] = [grammar.base + len(kept)]
            kept.append(replaced)
    return Grammar(grammar.base, grammar.literals, kept, [_replace(body, written) for body in grammar.bodies])


def _replace(sequence: Iterable[int], written: dict[int, list[int]]) -> list[int]:
    """Replace symbols by sequences."""
    replaced: list[int] = []
    for symbol in sequence:
        if symbol in written:
            replaced += written[symbol]
        else:
            replaced.append(symbol)
    return replaced
