"""Which sub-code of a Z-token describes which tokens of its span.

A code has M sub-codes; a span has g tokens. Sub-code m describes one *segment*:

    g >= M    the span is cut into M runs of neighbouring tokens, and sub-code m describes run m
    g <  M    every token has one sub-code or more: its *stages*, each of which describes what the ones before it
              left over (residual vector quantisation)

So a sub-code's value depends on its segment alone and not on the span around it: the same words get the same sub-code
in every span, each segment of a text is classified only once, and a reader can learn what a value means. The *role* of
a sub-code is its stage, or the size of its segment; roles do not share values. A *place* is a token's position within a
role: one of the stages, or the i-th token of a segment of that size.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a span that one sub-code describes."""

    start: int  # first token, counted from the span's first
    size: int  # tokens
    stage: int  # number of sub-codes before this one that describe the same token


def segments(gap: int, subcodes: int) -> list[Segment]:
    """Cut a span of `gap` tokens, at least 1, into the segments of its sub-codes, from left to right."""
    if gap < subcodes:
        tokens = [m * gap // subcodes for m in range(subcodes)]
        return [Segment(token, 1, m - tokens.index(token)) for m, token in enumerate(tokens)]
    edges = [-(-m * gap // subcodes) for m in range(subcodes + 1)]
    return [Segment(start, end - start, 0) for start, end in pairwise(edges)]


@dataclass(frozen=True, slots=True)
class Layout:
    """The segments of every gap as index tables, for `subcodes` M and `max_gap` G."""

    start: Indices  # (G + 1, M): first token of each segment
    role: Indices  # (G + 1, M): role of each sub-code
    place: Indices  # (G + 1, G): place of each token; a token with several stages has the place of the last
    follower: Indices  # (G + 1, G): role of the sub-code after those of a token, -1 if there is none
    follower_start: Indices  # (G + 1, G): first token of that sub-code's segment
    sizes: tuple[int, ...]  # segment size of each role; the first M roles are the stages
    first_place: tuple[int, ...]  # place of the first token of each role

    @property
    def places(self) -> int:
        """Return the number of places."""
        return self.first_place[-1] + self.sizes[-1]


@lru_cache(maxsize=8)
def layout(subcodes: int, max_gap: int) -> Layout:
    """Build the tables for M sub-codes and spans of up to G tokens."""
    longest = max(1, -(-max_gap // subcodes))
    sizes = (1,) * subcodes + tuple(range(2, longest + 1))
    first_place = tuple(sum(sizes[:role]) for role in range(len(sizes)))
    start, role = (np.zeros((max_gap + 1, subcodes), np.int64) for _ in range(2))
    place, follower, follower_start = (np.full((max_gap + 1, max_gap), -1, np.int64) for _ in range(3))
    for gap in range(1, max_gap + 1):
        cut = segments(gap, subcodes)
        for m, segment in enumerate(cut):
            role[gap, m] = segment.stage if segment.size == 1 else subcodes + segment.size - 2
            start[gap, m] = segment.start
            for i in range(segment.size):
                token = segment.start + i
                place[gap, token] = first_place[role[gap, m]] + i
                follower[gap, token], follower_start[gap, token] = -1, 0
                if m + 1 < subcodes:  # overwritten by the next stage, if there is one
                    after = cut[m + 1]
                    follower[gap, token] = after.stage if after.size == 1 else subcodes + after.size - 2
                    follower_start[gap, token] = after.start
    return Layout(start, role, place, follower, follower_start, sizes, first_place)
