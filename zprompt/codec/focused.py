"""Keep what a query needs word for word: all tokens of the sentences that relevance chooses.

    Z-token      ▮ ▮ ▮ ▮ (▮, 31) ▮ ▮ ▮ ▮ ▮ (▮, 88)      chosen tokens are anchors with gap 0; all others cost nothing

One budget over all documents of the call: `ratio` or `max_tokens`, less the first token of each window, which is always
an anchor; without either, as much as 95 % of the answers need. Whole sentences meet a ratio only roughly; what is left
of it goes to the tokens that are worth most elsewhere (tiling.py).

A text that comes as a Z-span needs no LLM: its dropped tokens have symbols, and an anchor that is dropped gets the
symbol that spells it out (zspan/stream.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zprompt.codec.source import SourceText
from zprompt.options import CompressOptions
from zprompt.relevance import Choice, Length, Passage, Relevance
from zprompt.results import KeptText
from zprompt.zspan import LITERALS, ZSpan


def focus_sources(
    sources: Sequence[SourceText], titles: Sequence[str], options: CompressOptions, relevance: Relevance, window: int
) -> tuple[list[SourceText], list[KeptText]]:
    """Choose the sentences that stay word for word, and force all of their tokens instead of each sentence's first.

    :param sources: The texts of the call.
    :param titles: The title of each; "" if it has none.
    :param options: Options with a query.
    :param relevance: Scores the sentences.
    :param window: Tokens per window.
    :return: The same texts, and what is kept of each.
    """
    token_maps = [_TokenMap(source) for source in sources]
    tokens = sum(len(source.ids) for source in sources)
    windows = sum(-(-len(source.ids) // window) for source in sources)  # the first token of each is an anchor
    protected = sum(int(source.protected.sum()) for source in sources)
    length = Length(
        wanted=None if options.ratio is None else max(1.0, tokens / options.ratio - windows),
        most=None if options.max_tokens is None else max(0, options.max_tokens - windows - protected),
    )
    choice = Choice(
        relevance,
        options.query or "",
        [Passage(source.text, title) for source, title in zip(sources, titles, strict=True)],
        lambda index, start, end: token_maps[index].cost(start, end),
    )
    kept = choice.choose(length)
    focused = [
        replace(source, forced=source.protected | token_map.mask(kept_text.ranges))
        for source, token_map, kept_text in zip(sources, token_maps, kept, strict=True)
    ]
    return focused, kept


def matching_span(span: ZSpan, ids: Sequence[int]) -> ZSpan | None:
    """Return a Z-span if its anchors fit the token ids of a text; None if it is another text's."""
    if span.source_tokens != len(ids):
        return None
    starts = np.cumsum([0, *(token.gap + 1 for token in span.tokens)])[:-1].tolist()
    return span if all(ids[start] == token.anchor for start, token in zip(starts, span.tokens, strict=True)) else None


def span_symbols(span: ZSpan) -> NDArray[np.int64]:
    """Return the symbol that restores each token of a text, (n,), from its Z-span, which has no codes."""
    symbols: list[int] = []
    first = 0  # symbol of the Z-token
    for token in span.tokens:
        symbols += [LITERALS + token.anchor, *span.symbols[first : first + token.gap]]
        first += token.gap
    return np.array(symbols, np.int64)


class _TokenMap:
    """Maps character ranges of a text to its tokens."""

    def __init__(self, source: SourceText) -> None:
        self._text = source.text
        self._starts = np.array([start for start, _ in source.offsets], np.int64)
        self._ends = np.maximum.accumulate(np.array([end for _, end in source.offsets], np.int64))

    def tokens(self, start: int, end: int) -> range:
        """Return the tokens with characters of a range, without the white space around it."""
        piece = self._text[start:end]
        stripped_start, stripped_end = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
        first = int(np.searchsorted(self._ends, stripped_start, side="right"))
        return range(first, max(first, int(np.searchsorted(self._starts, stripped_end, side="left"))))

    def cost(self, start: int, end: int) -> int:
        """Count the tokens of a range, with those of trailing white space, which stay between two neighbours."""
        tokens = self.tokens(start, end)
        return max(tokens.stop, int(np.searchsorted(self._ends, end, side="right"))) - tokens.start

    def mask(self, ranges: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
        """Mark the tokens of character ranges, (n,)."""
        mask = np.zeros(len(self._starts), np.bool_)
        for start, end in ranges:
            mask[self.tokens(start, end)] = True
        return mask
