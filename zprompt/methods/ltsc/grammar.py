"""A shortened sequence as a grammar: entries, and bodies that use them.

An entry of N symbols that is used K times is worth its place iff

    N · K > 1 + N + K

since it is written once, after its meta-token, and its uses are one symbol each. An entry that is not is written out
where it is used. Its users grow by that, and what it uses is used more often, so the rule is asked again until
nothing changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_ROUNDS = 16  # of asking again; a few do


def is_worthwhile(length: int, count: int) -> bool:
    """Say whether an entry saves anything.

    :param length: Its symbols.
    :param count: Its uses.
    :return: True if it does.
    """
    return length * count > 1 + length + count


@dataclass(frozen=True, slots=True)
class Grammar:
    """Entries and bodies; symbol `base + i` is entry i, symbols below are literals."""

    base: int
    entries: list[list[int]]  # an entry uses only those before it
    bodies: list[list[int]]

    @property
    def symbols(self) -> int:
        """Count what is written, without flags and escapes.

        :return: Symbols of all entries, with their meta-tokens, and of all bodies.
        """
        return sum(1 + len(entry) for entry in self.entries) + sum(map(len, self.bodies))


def prune(grammar: Grammar, limit: int | None = None) -> Grammar:
    """Write out the entries that are not worth their place.

    :param grammar: A grammar.
    :param limit: How many entries may stay; the ones that save least go.
    :return: The same sequences, no longer than before.
    """
    for _ in range(_ROUNDS):
        useless = _useless(grammar)
        if not useless:
            break
        grammar = _write_out(grammar, useless)
    if limit is not None and len(grammar.entries) > limit:
        uses = _uses(grammar)
        savings = [len(entry) * uses[i] - len(entry) - uses[i] for i, entry in enumerate(grammar.entries)]
        order = sorted(range(len(savings)), key=savings.__getitem__, reverse=True)
        grammar = _write_out(grammar, set(order[limit:]))
    return grammar


def _useless(grammar: Grammar) -> set[int]:
    """Find the entries that are not worth their place, judged by the lengths that they have without each other."""
    uses, useless = _uses(grammar), set()
    lengths: dict[int, int] = {}  # of the symbols that will be written out
    for i, entry in enumerate(grammar.entries):
        length = sum(lengths.get(symbol, 1) for symbol in entry)
        if not is_worthwhile(length, uses[i]):
            useless.add(i)
            lengths[grammar.base + i] = length
    return useless


def _uses(grammar: Grammar) -> list[int]:
    """Count the uses of each entry."""
    counts: Counter[int] = Counter()
    for sequence in (*grammar.entries, *grammar.bodies):
        counts.update(sequence)
    return [counts[grammar.base + i] for i in range(len(grammar.entries))]


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
    return Grammar(grammar.base, kept, [_replace(body, written) for body in grammar.bodies])


def _replace(sequence: Iterable[int], written: dict[int, list[int]]) -> list[int]:
    """Replace symbols by sequences."""
    replaced: list[int] = []
    for symbol in sequence:
        if symbol in written:
            replaced += written[symbol]
        else:
            replaced.append(symbol)
    return replaced
