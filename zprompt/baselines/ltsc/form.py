"""The serialized form of a grammar, as the paper has it: the dictionary first, then the body.

    DICTIONARY  entry 0, its symbols …  entry 1, its symbols …  END   body

An entry begins with the meta-token that no entry before it has, so it needs no length. It may use the entries before
it. Literals that are meta-tokens themselves stand after ESCAPE, in entries and bodies alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from zprompt.baselines.ltsc.alphabet import MetaAlphabet
from zprompt.baselines.ltsc.grammar import Grammar
from zprompt.errors import DamagedSequenceError


def write_grammar(grammar: Grammar, alphabet: MetaAlphabet) -> tuple[list[int], list[list[int]]]:
    """Write a grammar as ids.

    :param grammar: The grammar.
    :param alphabet: The meta-tokens.
    :return: The dictionary, and the bodies.
    """
    written = [alphabet.literal(token) for token in grammar.literals]
    written += [[0]] * (grammar.base - len(grammar.literals))  # separators, which no entry and no body holds
    written += [[alphabet.first_entry + i] for i in range(len(grammar.entries))]

    def write(sequence: Sequence[int]) -> list[int]:
        return [token for symbol in sequence for token in written[symbol]]

    head = [alphabet.dictionary]
    for i, entry in enumerate(grammar.entries):
        head += [alphabet.first_entry + i, *write(entry)]
    return [*head, alphabet.end], [write(body) for body in grammar.bodies]


def read_dictionary(ids: Sequence[int], alphabet: MetaAlphabet) -> tuple[list[list[int]], int]:
    """Read the dictionary that a sequence begins with.

    :param ids: Ids, of which the first is the dictionary token.
    :param alphabet: The meta-tokens.
    :return: The symbols of each entry: ids, and ~i where entry i is used; and where the body begins.
    :raises DamagedSequenceError: If the dictionary does not have its form.
    """
    entries: list[list[int]] = []
    place = 1
    while place < len(ids) and ids[place] != alphabet.end:
        symbol, place = _read(ids, place, alphabet)
        if symbol == ~len(entries):
            entries.append([])
            continue
        if not entries:
            raise DamagedSequenceError(
                f"The dictionary begins with the id {ids[1]}, allowed is the first entry's, {alphabet.first_entry}. "
                "Pass what `compress` returned, with the alphabet that it was given."
            )
        # An entry that used itself or a later one would never end.
        _require_known(symbol, len(entries) - 1)
        entries[-1].append(symbol)
    if place == len(ids):
        raise DamagedSequenceError(
            f"The dictionary has no end: the id {alphabet.end} is missing in {len(ids)} ids. Pass the whole sequence."
        )
    return entries, place + 1


def read_body(ids: Sequence[int], entries: int, alphabet: MetaAlphabet) -> list[int]:
    """Read a body.

    :param ids: Its ids.
    :param entries: How many entries the dictionary has.
    :param alphabet: The meta-tokens.
    :return: Ids, and ~i where entry i is used.
    :raises DamagedSequenceError: If the body uses what is not in the dictionary.
    """
    symbols, place = [], 0
    while place < len(ids):
        symbol, place = _read(ids, place, alphabet)
        _require_known(symbol, entries)
        symbols.append(symbol)
    return symbols


def _read(ids: Sequence[int], place: int, alphabet: MetaAlphabet) -> tuple[int, int]:
    """Read one symbol; give it and the place after it."""
    token = ids[place]
    if token < alphabet.first:
        return token, place + 1
    if token >= alphabet.first_entry:
        return ~(token - alphabet.first_entry), place + 1
    if token != alphabet.escape or place + 1 == len(ids):
        raise DamagedSequenceError(
            f"The id {token} at position {place} is a control token that cannot stand there. "
            "Pass what `compress` returned, whole and unchanged."
        )
    return ids[place + 1], place + 2


def _require_known(symbol: int, entries: int) -> None:
    """Refuse the use of an entry that is not there."""
    if symbol < 0 and ~symbol >= entries:
        raise DamagedSequenceError(
            f"Entry {~symbol} is used where only the first {entries} are known. "
            "Pass the bodies with the dictionary that they were written with."
        )
