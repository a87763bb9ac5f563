"""Cut a passage at some places, and go on from each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.old_reader.inputs import as_input
from benchmarks.old_reader.positions import concatenate, of_ids, of_z_tokens
from benchmarks.old_reader.rows import Branch, Expectation, Row
from benchmarks.old_reader.tiles import Tile

SHORTEST = 8  # tokens that a continuation has at least

Expect = Callable[[slice], Expectation]  # what a teacher expected of some tokens of the passage


@dataclass(frozen=True, slots=True)
class Continuation:
    """How continuations are made."""

    kind: str  # of input
    start_id: int  # the token that starts every text
    size: int  # tokens of a continuation

    def row(self, tile: Tile, cuts: Iterable[int], expect: Expect | None = None) -> Row | None:
        """Go on with a passage from some places.

        :param tile: The passage.
        :param cuts: Source tokens before each cut; the next Z-token begins the continuation.
        :param expect: Gives the teacher's expectations, if there is a teacher.
        :return: The row; None if no cut leaves enough.
        """
        given, edges, subcodes = as_input(tile, self.kind), tile.edges, len(tile.tokens[0].code)
        branches = []
        for edge in dict.fromkeys(int(np.searchsorted(edges, cut)) for cut in cuts):
            begin = int(edges[min(edge, len(tile.starts))])
            ids = tile.ids[begin : begin + self.size]
            if begin and len(ids) >= SHORTEST:
                known = expect(slice(begin, begin + len(ids))) if expect else None
                branches.append(Branch(1 + int(given.places[edge]), ids, 0, known))
        if not branches:
            return None
        seen = of_z_tokens(given.tokens[: branches[-1].fork - 1], subcodes)
        return Row("continuation", concatenate((of_ids([self.start_id], subcodes), seen)), tuple(branches))
