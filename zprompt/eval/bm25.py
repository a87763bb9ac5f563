"""Rank documents by a query's words.

score = sum over query words of idf(w) · f · (k + 1) / (f + k · (1 - b + b · length / mean length))
idf(w) = ln(1 + (N - n + 0.5) / (n + 0.5))
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

K, B = 1.2, 0.75
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """List the words of a text.

    :param text: The text.
    :return: Its words in lower case.
    """
    return _WORD.findall(text.lower())


class Bm25:
    """An index of documents."""

    def __init__(self, documents: Sequence[str]) -> None:
        """Count words.

        :param documents: The documents, one at least.
        """
        self._counts = [Counter(words(document)) for document in documents]
        self._lengths = [counts.total() for counts in self._counts]
        self._mean = max(1.0, sum(self._lengths) / len(documents))
        self._holding = Counter(word for counts in self._counts for word in counts)

    def rank(self, query: str, wanted: int) -> int:
        """Say where a document stands for a query.

        :param query: The query.
        :param wanted: The document's number.
        :return: 1 for the first; where scores are equal, as if the others came first.
        """
        asked = words(query)
        scores = [self._score(asked, number) for number in range(len(self._counts))]
        return sum(score >= scores[wanted] for score in scores)

    def _score(self, asked: Sequence[str], number: int) -> float:
        """Score one document."""
        counts, length = self._counts[number], self._lengths[number] / self._mean
        score = 0.0
        for word in asked:
            if frequency := counts[word]:
                holding = self._holding[word]
                rarity = math.log(1 + (len(self._counts) - holding + 0.5) / (holding + 0.5))
                score += rarity * frequency * (K + 1) / (frequency + K * (1 - B + B * length))
        return score
