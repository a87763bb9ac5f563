"""From a text to the tokens that are compressed, and from Z-tokens back to the characters they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from zprompt.codec.importance import token_weights
from zprompt.codec.tiling import Bools, Floats
from zprompt.llm import Backbone
from zprompt.options import CompressOptions
from zprompt.relevance import sentences
from zprompt.results import ExplainedToken
from zprompt.zspan import OffsetMap, ZSpan, measure


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text of n tokens."""

    text: str
    escaped: bool  # whether characters that the tokenizer would lose are escaped in the tokens
    ids: list[int]
    offsets: list[tuple[int, int]]  # character range of each token in `text`
    forced: Bools  # (n,): always kept: begins a unit, is protected, or a query needs its sentence
    protected: Bools  # (n,)
    weight: Floats  # (n,): see importance.py
    span: ZSpan | None = None  # the Z-span that the text came as


def read_source(text: str, backbone: Backbone, options: CompressOptions) -> SourceText:
    """Tokenize a text.

    :param text: The text.
    :param backbone: The LLM whose tokenizer is used.
    :param options: The options of the call: what they protect is always kept.
    :return: The text with its tokens.
    :raises InvalidTextError: If the text holds a lone surrogate, or does not survive the tokenizer in any form.
    """
    escaped = backbone.escape(text)
    ids, offsets = backbone.encode_with_offsets(escaped.text)
    if escaped.escaped:
        to_source = OffsetMap.of(escaped).to_source
        offsets = [(to_source(start), to_source(end)) for start, end in offsets]
    weight = np.array(token_weights(text, offsets, options.protection), np.float64)
    protected = np.isinf(weight)
    forced = protected.copy()
    forced[unit_starts(text, offsets)] = True
    return SourceText(text, escaped.escaped, ids, offsets, forced, protected, np.where(protected, 1.0, weight))


def unit_starts(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Return the index of the first token of each unit of a text: the one that holds the unit's first character."""
    ends = list(accumulate((end for _, end in offsets), max))
    indices = np.searchsorted(ends, [start for start, _ in sentences(text)], side="right")
    return [int(index) for index in indices if index < len(ends)]


def explain_tokens(source: SourceText, span: ZSpan) -> Iterator[ExplainedToken]:
    """Align the Z-tokens of a text with its characters.

    :param source: The text.
    :param span: Its Z-span.
    :yields: Each Z-token with the piece of text that it stands for.
    """
    # Tokens may share a character, each with some of its bytes: it belongs to the first of them.
    edges = [0, *accumulate((end for _, end in source.offsets), max)]
    edges[-1] = len(source.text)
    z_token_bits, symbol_bits = measure(span.tokens, span.symbols)
    start = first_symbol = 0
    for index, (token, bits) in enumerate(zip(span.tokens, z_token_bits, strict=True)):
        end = start + token.gap + 1
        residual_bits = sum(symbol_bits[first_symbol : first_symbol + token.gap])
        yield ExplainedToken(
            index=index,
            anchor=source.text[edges[start] : edges[start + 1]],
            start=edges[start],
            anchor_end=edges[start + 1],
            end=edges[end],
            gap=token.gap,
            code=token.code,
            residual_bits=residual_bits,
            cost=bits + residual_bits,
        )
        start, first_symbol = end, first_symbol + token.gap
