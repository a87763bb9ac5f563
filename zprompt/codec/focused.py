"""Keep what a query needs word for word: all tokens of the sentences that relevance chooses.

    Z-token      ▮ ▮ ▮ ▮ (▮, 31) ▮ ▮ ▮ ▮ ▮ (▮, 88)      what is chosen is anchors with gap 0; what is not costs nothing

One budget over all documents of the call: `ratio` or `max_tokens`, less the first token of each window, which is an
anchor in any case; without either, as much as 95 % of the answers need. Sentences are whole, so they meet a ratio only
about; what is left of it goes to the tokens that are worth most elsewhere (tiling.py).

A text that comes as a Z-span needs no LLM: what it dropped has its symbols, and an anchor that goes gets one that says
which token it is (zspan/stream.py).
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
    """Choose what stays word for word, and have all of its tokens kept, and no first token of a sentence beside it.

    :param sources: The texts of the call.
    :param titles: Of each; "" if it has none.
    :param options: With a query.
    :param relevance: Scores the sentences.
    :param window: Tokens of a window.
    :return: The same texts, and what is kept of each.
    """
    places = [_Places(source) for source in sources]
    tokens, firsts = (
        sum(len(source.ids) for source in sources),
        sum(-(-len(source.ids) // window) for source in sources),
    )
    others = sum(int(source.protected.sum()) for source in sources)  # kept in any case, wherever they stand
    length = Length(
        wanted=None if options.ratio is None else max(1.0, tokens / options.ratio - firsts),
        most=None if options.max_tokens is None else max(0, options.max_tokens - firsts - others),
    )
    choice = Choice(
        relevance,
        options.query or "",
        [Passage(source.text, title) for source, title in zip(sources, titles, strict=True)],
        lambda index, start, end: places[index].cost(start, end),
    )
    kept = choice.choose(length)
    focused = [
        replace(source, forced=source.protected | own.mask(chosen.ranges))
        for source, own, chosen in zip(sources, places, kept, strict=True)
    ]
    return focused, kept


def matching_span(span: ZSpan, ids: Sequence[int]) -> ZSpan | None:
    """Return a Z-span if its anchors are those of a text of some token ids, else None: then it is another text's."""
    if span.source_tokens != len(ids):
        return None
    starts = np.cumsum([0, *(token.gap + 1 for token in span.tokens)])[:-1].tolist()
    return span if all(ids[at] == token.anchor for at, token in zip(starts, span.tokens, strict=True)) else None


def span_symbols(span: ZSpan) -> NDArray[np.int64]:
    """Return what restores each token of a text, (n,), if it is dropped, from a Z-span of it without codes."""
    symbols: list[int] = []
    place = 0
    for token in span.tokens:
        symbols += [LITERALS + token.anchor, *span.symbols[place : place + token.gap]]
        place += token.gap
    return np.array(symbols, np.int64)


class _Places:
    """Where the tokens of a text lie."""

    def __init__(self, source: SourceText) -> None:
        self._text = source.text
        self._starts = np.array([start for start, _ in source.offsets], np.int64)
        self._ends = np.maximum.accumulate(np.array([end for _, end in source.offsets], np.int64))

    def of(self, start: int, end: int) -> range:
        """Return which tokens have characters of a range, without the white space around it."""
        piece = self._text[start:end]
        first, last = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
        begin = int(np.searchsorted(self._ends, first, side="right"))
        return range(begin, max(begin, int(np.searchsorted(self._starts, last, side="left"))))

    def cost(self, start: int, end: int) -> int:
        """Count the tokens of a range; those of white space at its end, too, which stay between two neighbours."""
        own = self.of(start, end)
        return max(own.stop, int(np.searchsorted(self._ends, end, side="right"))) - own.start

    def mask(self, ranges: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
        """Mark the tokens of some ranges, (n,)."""
        mask = np.zeros(len(self._starts), np.bool_)
        for start, end in ranges:
            mask[self.of(start, end)] = True
        return mask
