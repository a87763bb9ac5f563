"""A shortened sequence as a grammar: entries, and bodies that use them.

An entry of N symbols that is used K times pays iff

    N · K > d + r + N + r · K

since it is written once, after its name of r symbols and with d symbols around it, and each use is its name. A
meta-token is one symbol and needs nothing around it: r = 1 and d = 0 give the paper's N · K > 1 + N + K. An entry that
does not pay is inlined where it is used. That makes its users longer and the entries that it uses more frequent, so the
rule is applied again until nothing changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from zprompt.errors import DamagedSequenceError

_Count = TypeVar("_Count", int, NDArray[np.int64])
_ROUNDS = 16  # of applying the rule, at most; a few suffice


@dataclass(frozen=True, slots=True)
class Price:
    """What entries cost, in symbols."""

    name: int = 1  # r: of each use, and once in the dictionary
    around: int = 0  # d: what separates an entry from the others

    def saving(self, length: int, count: _Count) -> _Count:
        """Return the symbols that an entry of `length` symbols and `count` uses saves; it pays if they are above 0."""
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
    """Inline the entries that do not pay and, beyond `limit` entries, those that save least."""
    for _ in range(_ROUNDS):
        useless = _useless(grammar, price)
        if not useless:
            break
        grammar = _inline(grammar, useless)
    if limit is not None and len(grammar.entries) > limit:
        savings = [
            price.saving(len(entry), uses) for entry, uses in zip(grammar.entries, count_uses(grammar), strict=True)
        ]
        order = sorted(range(len(savings)), key=savings.__getitem__, reverse=True)
        grammar = _inline(grammar, set(order[limit:]))
    return grammar


def count_uses(grammar: Grammar) -> list[int]:
    """Count the uses of each entry, in bodies and in other entries."""
    counts: Counter[int] = Counter()
    for sequence in (*grammar.entries, *grammar.bodies):
        counts.update(sequence)
    return [counts[grammar.base + i] for i in range(len(grammar.entries))]


def _useless(grammar: Grammar, price: Price) -> set[int]:
    """Find the entries that do not pay, at their lengths with the entries found so far inlined."""
    uses, useless = count_uses(grammar), set()
    lengths: dict[int, int] = {}  # of the symbols that will be inlined
    for i, entry in enumerate(grammar.entries):
        length = sum(lengths.get(symbol, 1) for symbol in entry)
        if price.saving(length, uses[i]) <= 0:
            useless.add(i)
            lengths[grammar.base + i] = length
    return useless


def _inline(grammar: Grammar, inlined: Collection[int]) -> Grammar:
    """Replace the uses of some entries by their symbols."""
    if not inlined:
        return grammar
    replacement: dict[int, list[int]] = {}  # of each entry's symbol
    kept: list[list[int]] = []
    for i, entry in enumerate(grammar.entries):
        replaced = _replace(entry, replacement)
        if i in inlined:
            replacement[grammar.base + i] = replaced
        else:
            replacement[grammar.base + i] = [grammar.base + len(kept)]
            kept.append(replaced)
    bodies = [_replace(body, replacement) for body in grammar.bodies]
    return Grammar(grammar.base, grammar.literals, kept, bodies)


def _replace(sequence: Iterable[int], replacement: dict[int, list[int]]) -> list[int]:
    replaced: list[int] = []
    for symbol in sequence:
        if symbol in replacement:
            replaced += replacement[symbol]
        else:
            replaced.append(symbol)
    return replaced


def expand(entries: Sequence[Sequence[int]], bodies: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
    """Expand the entries in bodies, up to a limit, since a forged dictionary can grow exponentially.

    :param entries: The symbols of each entry: ids, and ~i for an earlier entry i.
    :param bodies: The symbols of each body.
    :param limit: Maximum ids of all bodies together, and of all entries together.
    :return: The ids of each body.
    :raises DamagedSequenceError: If there would be more ids.
    """
    lengths: list[int] = []
    room = limit
    for entry in entries:
        lengths.append(_expanded_length(entry, lengths))
        room -= lengths[-1]
        _require_room(room, limit)  # at once, before the lengths become huge integers
    _require_room(limit - sum(_expanded_length(body, lengths) for body in bodies), limit)
    expanded: list[list[int]] = []
    for entry in entries:
        expanded.append(_expand_symbols(entry, expanded))
    return [_expand_symbols(body, expanded) for body in bodies]


def _expanded_length(symbols: Sequence[int], lengths: Sequence[int]) -> int:
    return sum(1 if symbol >= 0 else lengths[~symbol] for symbol in symbols)


def _require_room(room: int, limit: int) -> None:
    if room < 0:
        raise DamagedSequenceError(
            f"The sequence would expand to more than {limit:,} ids or characters. "
            "If you trust its source, raise max_tokens (for texts, max_characters)."
        )


def _expand_symbols(symbols: Sequence[int], expanded: Sequence[list[int]]) -> list[int]:
    ids: list[int] = []
    for symbol in symbols:
        if symbol >= 0:
            ids.append(symbol)
        else:
            ids += expanded[~symbol]
    return ids
