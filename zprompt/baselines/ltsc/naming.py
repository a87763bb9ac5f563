"""From texts to the dictionaries that could stand before them: repeats are found among pieces, and get signs as names.

What an entry costs depends on the tokens of its sign, and how many entries there are, and so how long the later signs
become, on what an entry costs. So repeats are sought at the price of the first sign, and again at that of the last one;
the caller takes what turns out shorter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from zprompt.baselines.ltsc.discovery import Mode, find_grammar
from zprompt.baselines.ltsc.grammar import Grammar, Price, count_uses
from zprompt.baselines.ltsc.pieces import Tokenizer, count_tokens, cut
from zprompt.baselines.ltsc.readable import TextDictionary, usable_signs, write_readable
from zprompt.errors import OptionError

_FEWEST_SIGNS = 2  # of one entry and of the text


def write_texts(
    texts: Sequence[str], tokenizer: Tokenizer, modes: Collection[Mode]
) -> Iterator[tuple[TextDictionary, list[str]]]:
    """Write texts with a dictionary, in all ways that may be the shortest.

    :param texts: The texts.
    :param tokenizer: What cuts them, and counts.
    :param modes: FLAT and HIERARCHICAL, or one of them.
    :yields: A dictionary and the texts with references to it.
    :raises OptionError: If a mode has no dictionary.
    """
    if not {Mode.FLAT, Mode.HIERARCHICAL}.issuperset(modes):
        raise OptionError(
            f"modes are {sorted(mode.value for mode in modes)}. For a text they must be among 'flat' and "
            "'hierarchical': 'lzw' has no dictionary to be read. For that one, give ids to ltsc.compress."
        )
    signs = usable_signs("".join(texts))
    if len(signs) < _FEWEST_SIGNS:
        return
    pieces, documents = _numbered([cut(text, tokenizer) for text in texts])
    for mode in modes:
        for grammar in _grammars(documents, mode, signs, tokenizer):
            names = _names(grammar, mode, signs)
            yield write_readable(grammar, pieces, names, signs[len(names)])


def _numbered(texts: Sequence[Sequence[str]]) -> tuple[list[str], list[list[int]]]:
    """Give each piece the number of its first occurrence."""
    numbers: dict[str, int] = {}
    documents = [[numbers.setdefault(piece, len(numbers)) for piece in pieces] for pieces in texts]
    return list(numbers), documents


def _grammars(
    documents: Sequence[Sequence[int]], mode: Mode, signs: Sequence[str], tokenizer: Tokenizer
) -> Iterator[Grammar]:
    """Find the entries at the price of the first sign, and at that of the last."""
    most = len(signs) - 1
    first = _price(signs[0], tokenizer)
    grammar = find_grammar(documents, mode, most, first)
    if not grammar.entries:
        return
    yield grammar
    last = _price(signs[len(grammar.entries) - 1], tokenizer)
    if last.name > first.name and (grammar := find_grammar(documents, mode, most, last)).entries:
        yield grammar


def _price(sign: str, tokenizer: Tokenizer) -> Price:
    """Count the tokens of a sign, and of what sets its entry off."""
    name = count_tokens(sign, tokenizer)
    return Price(name, max(0, count_tokens(f"\n{sign}=", tokenizer) - name))


def _names(grammar: Grammar, mode: Mode, signs: Sequence[str]) -> list[str]:
    """Name the entries; the most used ones have the shortest signs, where their order is free."""
    uses = count_uses(grammar)
    order = sorted(range(len(uses)), key=lambda entry: -uses[entry] if mode is Mode.FLAT else entry)
    named = dict(zip(order, signs, strict=False))
    return [named[entry] for entry in range(len(uses))]
