"""Sequences of ids in, shorter ones out, and back.

Each mode writes the sequences; the shortest wins, and where none is shorter they stay as they are:

    FLAT          the paper's: repeats, the longest first; entries of literals
    HIERARCHICAL  entries that use entries
    LZW           no dictionary at all; reader and writer grow the same one

Several documents share one dictionary, so that overlapping passages of a prompt share entries.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from zprompt.baselines.ltsc.alphabet import DEFAULT_ALPHABET, MetaAlphabet
from zprompt.baselines.ltsc.discovery import ALL_MODES, Mode, find_grammar
from zprompt.baselines.ltsc.expansion import expand
from zprompt.baselines.ltsc.form import read_body, read_dictionary, write_grammar
from zprompt.baselines.ltsc.lzw import read_lzw, write_lzw
from zprompt.errors import DamagedSequenceError, OptionError

MAX_TOKENS = 10_000_000  # that decompression gives for one call, unless it is told otherwise


@dataclass(frozen=True, slots=True)
class SharedSequences:
    """Shortened documents, and what they share."""

    head: tuple[int, ...]  # the dictionary, or the flag of the implicit one; empty: the documents are as they were
    bodies: tuple[tuple[int, ...], ...]
    mode: Mode | None  # None: no mode made them shorter

    @property
    def tokens(self) -> int:
        """Count all ids.

        :return: Of the head and the bodies.
        """
        return len(self.head) + sum(map(len, self.bodies))


def compress(
    ids: Sequence[int], alphabet: MetaAlphabet = DEFAULT_ALPHABET, modes: Collection[Mode] = ALL_MODES
) -> list[int]:
    """Shorten a sequence.

    :param ids: Token ids, from 0 on.
    :param alphabet: The meta-tokens; ids of the input may be such.
    :param modes: The modes to try.
    :return: The shortened sequence; at most one id longer than the input, and that only if the input begins with a
        control token.
    """
    shared = compress_documents([ids], alphabet, modes)
    body = list(shared.bodies[0])
    if shared.head:
        return [*shared.head, *body]
    controls = (alphabet.raw, alphabet.dictionary, alphabet.lzw)
    return [alphabet.raw, *body] if body and body[0] in controls else body


def decompress(
    ids: Sequence[int], alphabet: MetaAlphabet = DEFAULT_ALPHABET, max_tokens: int = MAX_TOKENS
) -> list[int]:
    """Give the sequence back.

    :param ids: What `compress` returned.
    :param alphabet: The meta-tokens that it was given.
    :param max_tokens: Ids that the sequence may have: a forged one grows exponentially.
    :return: The ids.
    :raises DamagedSequenceError: If `compress` does not write such, or the sequence would be too long.
    """
    ids = list(ids)
    place = 0
    if ids and ids[0] == alphabet.raw:
        return ids[1:]
    if ids and ids[0] == alphabet.lzw:
        place = 1
    elif ids and ids[0] == alphabet.dictionary:
        _, place = read_dictionary(ids, alphabet)
    shared = SharedSequences(tuple(ids[:place]), (tuple(ids[place:]),), None)
    return decompress_documents(shared, alphabet, max_tokens)[0]


def compress_documents(
    documents: Sequence[Sequence[int]],
    alphabet: MetaAlphabet = DEFAULT_ALPHABET,
    modes: Collection[Mode] = ALL_MODES,
) -> SharedSequences:
    """Shorten documents that may have repeats in common.

    :param documents: The ids of each, from 0 on.
    :param alphabet: The meta-tokens; ids of the documents may be such.
    :param modes: The modes to try.
    :return: The shortest form; together never longer than the documents.
    :raises OptionError: If an id is negative.
    """
    plain = [[operator.index(token) for token in document] for document in documents]
    if lowest := min((token for document in plain for token in document if token < 0), default=0):
        raise OptionError(f"Token ids must be from 0 on, got {lowest}. Leave out padding and labels.")
    best = SharedSequences((), tuple(map(tuple, plain)), None)
    for mode in ALL_MODES:
        if mode in modes:
            head, bodies = _write(plain, alphabet, mode)
            if len(head) + sum(map(len, bodies)) < best.tokens:
                best = SharedSequences(tuple(head), tuple(map(tuple, bodies)), mode)
    return best


def decompress_documents(
    shared: SharedSequences, alphabet: MetaAlphabet = DEFAULT_ALPHABET, max_tokens: int = MAX_TOKENS
) -> list[list[int]]:
    """Give the documents back.

    :param shared: What `compress_documents` returned.
    :param alphabet: The meta-tokens that it was given.
    :param max_tokens: Ids that all documents may have together.
    :return: The ids of each.
    :raises DamagedSequenceError: If `compress_documents` does not write such, or there would be too many ids.
    """
    if not shared.head:
        return [list(body) for body in shared.bodies]
    if shared.head == (alphabet.lzw,):
        return read_lzw(shared.bodies, alphabet, max_tokens)
    if shared.head[0] != alphabet.dictionary:
        raise DamagedSequenceError(
            f"The head begins with the id {shared.head[0]}, allowed are {alphabet.dictionary} and {alphabet.lzw}. "
            "Pass the alphabet that the documents were compressed with."
        )
    entries, _ = read_dictionary(shared.head, alphabet)
    return expand(entries, [read_body(body, len(entries), alphabet) for body in shared.bodies], max_tokens)


def _write(documents: list[list[int]], alphabet: MetaAlphabet, mode: Mode) -> tuple[list[int], list[list[int]]]:
    """Write documents in a mode."""
    if mode is Mode.LZW:
        return [alphabet.lzw], write_lzw(documents, alphabet)
    grammar = find_grammar(documents, mode, alphabet.entries)
    return write_grammar(grammar, alphabet)
