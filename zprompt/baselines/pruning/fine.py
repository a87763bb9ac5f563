"""The fine step: which words of a passage say what the model did not expect.

Segment after segment, so that each is judged after what was kept before it and not after what was dropped:

    without a query     s[t] = −log p(x[t] | kept, x[<t])
    with a query        s[t] = −log p(x[t] | kept, x[<t]) + log p(x[t] | query, kept, x[<t]):    what the query explains

A word's score is the mean of its tokens'. Of each segment the best words stay, up to its part of the passage's share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zprompt.baselines.pruning.source import Source, cut_range
from zprompt.baselines.pruning.surprise import Listener, query_ids

if TYPE_CHECKING:
    from zprompt.baselines.pruning.coarse import Share
    from zprompt.baselines.pruning.options import PruningOptions
    from zprompt.llm import Backbone

UNKNOWN = float("-inf")  # the score of words whose passage was dropped


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known about a document's words; the judge goes on writing it."""

    scores: list[float]
    kept: list[bool]  # whether the fine step keeps the word
    costs: list[int]  # its tokens


@dataclass(slots=True)
class Judge:
    """Judges the words of all documents of a call, in order."""

    plain: Listener
    asked: Listener | None  # it has read the query first; None: there is no query
    segment: int  # tokens
    owed: float = 0.0  # tokens that may stay and do not yet: parts of words that did not fit

    @classmethod
    def of(cls, backbone: Backbone, query: str, options: PruningOptions) -> Judge:
        """Make a judge who has read nothing but the query.

        :param backbone: The model.
        :param query: What will be asked; empty: nothing is known of that.
        :param options: How to prune.
        :return: The judge.
        """
        asked = None
        if query:
            ids = query_ids(backbone, query, options.context // 4)
            asked = Listener(backbone, options.context, ids)
        return cls(Listener(backbone, options.context), asked, options.segment)

    @staticmethod
    def know_nothing(source: Source) -> Judgement:
        """Begin with a document.

        :param source: The document.
        :return: Its judgement, before any word is judged.
        """
        return Judgement([UNKNOWN] * len(source.words), [False] * len(source.words), source.costs())

    def judge(self, source: Source, share: Share, must: Sequence[bool], judgement: Judgement) -> None:
        """Judge the words of a passage.

        :param source: Its document.
        :param share: The passage, and how many tokens may stay.
        :param must: For each word of the document whether it stays whatever its score.
        :param judgement: What is known about the document; what is found is written there.
        """
        scores, kept, costs = judgement.scores, judgement.kept, judgement.costs
        rate = share.tokens / max(len(share.passage.tokens), 1)
        for first, last in cut_range(source, share.passage.first, share.passage.last, self.segment):
            scores[first:last] = self._scores(source, first, last)
            self.owed += rate * sum(costs[first:last])
            for word in sorted(range(first, last), key=lambda word: (not must[word], -scores[word], word)):
                if must[word] or costs[word] <= self.owed:
                    kept[word] = True
                    self.owed -= costs[word]
            self._read([source.ids[place] for place in source.tokens(first, last) if kept[source.owners[place]]])

    def _scores(self, source: Source, first: int, last: int) -> list[float]:
        """Score the words of a segment."""
        places = source.tokens(first, last)
        losses: list[float] = []
        # A word may be longer than a segment: then it is read in pieces, each as if the last one had not been there.
        for start in range(places.start, places.stop, self.segment):
            losses += self._losses(source.ids[start : min(start + self.segment, places.stop)])
        sums, counts = [0.0] * (last - first), [0] * (last - first)
        for place, loss in zip(places, losses, strict=True):
            if not source.blank[place]:
                sums[source.owners[place] - first] += loss
                counts[source.owners[place] - first] += 1
        return [total / count if count else 0.0 for total, count in zip(sums, counts, strict=True)]

    def _losses(self, ids: Sequence[int]) -> list[float]:
        """Score tokens."""
        plain = self.plain.surprisal(ids)
        if self.asked is None:
            return plain
        return [before - after for before, after in zip(plain, self.asked.surprisal(ids), strict=True)]

    def _read(self, ids: Sequence[int]) -> None:
        """Count what is kept as read."""
        for start in range(0, len(ids), self.segment):
            for listener in (self.plain, self.asked):
                if listener:
                    listener.read(ids[start : start + self.segment])
