"""A text on its way into Z-tokens, and Z-tokens laid back over their text."""

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
    offsets: list[tuple[int, int]]  # of each token, in characters of `text`
    forced: Bools  # (n,): always kept, as it begins a unit, is protected, or a query needs its sentence
    protected: Bools  # (n,)
    weight: Floats  # (n,): see importance.py
    span: ZSpan | None = None  # of the text, if it was compressed before


def read_source(text: str, backbone: Backbone, options: CompressOptions) -> SourceText:
    """Cut a text into tokens.

    :param text: The text.
    :param backbone: The LLM whose tokens they are.
    :param options: What was asked for, which decides how important each token is.
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
    """Return which token is the first of each unit of a text: the one that has the unit's first character."""
    ends = list(accumulate((end for _, end in offsets), max))
    places = np.searchsorted(ends, [start for start, _ in sentences(text)], side="right")
    return [int(place) for place in places if place < len(ends)]


def explain_tokens(source: SourceText, span: ZSpan) -> Iterator[ExplainedToken]:
    """Lay the Z-tokens of a text over it.

    :param source: The text.
    :param span: Its Z-span.
    :yields: Each Z-token with the piece of text that it stands for.
    """
    # Tokens may share a character (its bytes): it belongs to the first of them, and the others have none.
    edges = [0, *accumulate((end for _, end in source.offsets), max)]
    edges[-1] = len(source.text)
    z_token_bits, symbol_bits = measure(span.tokens, span.symbols)
    start = place = 0
    for index, (token, bits) in enumerate(zip(span.tokens, z_token_bits, strict=True)):
        end = start + token.gap + 1
        residual_bits = sum(symbol_bits[place : place + token.gap])
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
        start, place = end, place + token.gap
