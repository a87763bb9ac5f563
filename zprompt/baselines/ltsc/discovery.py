"""Find what repeats in sequences, in one of two ways, and keep what pays.

The sequences are joined, each with an end of its own that occurs once, so that no repeat reaches from one into the
next: what several documents have in common becomes one entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

from zprompt.baselines.ltsc.grammar import META_TOKENS, Grammar, Price, prune
from zprompt.baselines.ltsc.longest import select
from zprompt.baselines.ltsc.pairs import pair_up
from zprompt.baselines.ltsc.repeats import Ints


class Mode(Enum):
    """A way of writing repeats."""

    FLAT = "flat"
    HIERARCHICAL = "hierarchical"
    LZW = "lzw"


ALL_MODES = (Mode.FLAT, Mode.HIERARCHICAL, Mode.LZW)


def find_grammar(
    documents: Sequence[Sequence[int]], mode: Mode, limit: int | None = None, price: Price = META_TOKENS
) -> Grammar:
    """Find the entries of sequences.

    :param documents: The ids of each, from 0 on.
    :param mode: FLAT or HIERARCHICAL; LZW has no entries to be found.
    :param limit: How many entries there may be.
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
    """Join the documents, their ids numbered from 0 on, each with an end of its own that no repeat can hold."""
    flat = np.array([token for document in documents for token in document], np.int64)
    literals, symbols = np.unique(flat, return_inverse=True)
    ends = np.cumsum([len(document) for document in documents], dtype=np.int64)
    return literals.tolist(), np.insert(symbols, ends, len(literals) + np.arange(len(documents))).astype(np.int64)


def _split(joined: Ints, first: int, base: int) -> list[list[int]]:
    """Split what was joined; symbols from `first` to `base` end documents."""
    ends = np.flatnonzero((joined >= first) & (joined < base))
    return [piece[: len(piece) - 1].tolist() for piece in np.split(joined, ends + 1)[: len(ends)]]


def _flat(symbols: Ints, base: int, price: Price) -> tuple[list[list[int]], Ints]:
    """Replace repeats, the longest first."""
    entries: list[list[int]] = []
    replaced, keep = symbols.copy(), np.ones(len(symbols), np.bool_)
    for repeat in select(symbols, price):
        start = repeat.starts[0]
        for place in repeat.starts:
            keep[place : place + repeat.length] = False
        keep[repeat.starts] = True
        replaced[repeat.starts] = base + len(entries)
        entries.append(symbols[start : start + repeat.length].tolist())
    return entries, replaced[keep]
