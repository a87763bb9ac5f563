"""Search with shortened queries for what they are about.

A query is what a user said in several turns; the documents are all facets of all topics, and one of them is the right
one. They are ranked by BM25, which reads words: Z-tokens are read as the words of their anchors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zprompt.eval.bm25 import Bm25
from zprompt.eval.figures import Share
from zprompt.eval.samples import Sample
from zprompt.eval.tasks.protocol import Left, Scores

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop

_FIRST = 10  # places that a reader looks at


class Queries:
    """Queries of several turns."""

    name, title, main = "queries", "Long queries", "MRR"
    figures = ("MRR", "first", "in first 10")
    restores = False

    def __init__(self, source: str, samples: Sequence[Sample], documents: Sequence[str]) -> None:
        """Index the documents.

        :param source: Where the samples are from.
        :param samples: One query each; its answer is a document.
        :param documents: All that is searched.
        """
        self.source, self.samples = source, samples
        self._documents = list(dict.fromkeys(documents))
        self._index = Bm25(self._documents)

    def score(self, left: Sequence[Left], workshop: Workshop) -> Scores:
        """Rank the right documents.

        :param left: What a method left of each query.
        :param workshop: Writes Z-tokens as words.
        :return: Mean reciprocal rank, and how often the right one is first, or among the first ten.
        """
        ranks = [
            self._index.rank(workshop.words(one.shortened[0]), self._documents.index(one.sample.answers[0]))
            for one in left
        ]
        return Scores(
            {
                "MRR": [Share(1 / rank) for rank in ranks],
                "first": [Share(float(rank == 1)) for rank in ranks],
                "in first 10": [Share(float(rank <= _FIRST)) for rank in ranks],
            }
        )
