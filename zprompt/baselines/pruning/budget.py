"""Choose the words of all documents of a call, within their one budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from zprompt.baselines.fitting import keep_best
from zprompt.baselines.words import join_words
from zprompt.errors import OptionError

if TYPE_CHECKING:
    from zprompt.baselines.pruning.source import Source
    from zprompt.llm import TextTokenizer


@dataclass(frozen=True, slots=True)
class Rank:
    """How much a word is worth keeping."""

    protected: bool
    number: bool  # and numbers come first
    kept: bool  # by the fine step
    score: float

    @property
    def key(self) -> tuple[bool, bool, bool, float]:
        """Give what to sort by: what is worth more comes first.

        :return: The key.
        """
        return (not self.protected, not self.number, not self.kept, -self.score)


class Budget:
    """Tokens that documents may take together."""

    def __init__(self, tokenizer: TextTokenizer, sources: Sequence[Source], tokens: int) -> None:
        """Set the limit.

        :param tokenizer: Counts tokens.
        :param sources: The documents.
        :param tokens: For all of them.
        """
        self._tokenizer, self._sources, self._tokens = tokenizer, sources, tokens
        self._starts = [0, *accumulate(len(source.words) for source in sources)]

    def spend(self, ranks: Sequence[Rank]) -> list[str]:
        """Choose words.

        :param ranks: For each word of all documents, in order, how much it is worth.
        :return: The text of each document.
        :raises OptionError: If what is protected does not fit.
        """
        needed = self._measure([rank.protected for rank in ranks])
        if needed > self._tokens:
            raise OptionError(
                f"The budget is {self._tokens} tokens, but what is protected takes {needed}. Allow more, or protect "
                "less."
            )
        order = sorted(range(len(ranks)), key=lambda place: (ranks[place].key, place))
        costs = [cost for source in self._sources for cost in source.costs()]
        return self._texts(keep_best(order, costs, self._tokens, self._measure))

    def _texts(self, kept: Sequence[bool]) -> list[str]:
        """Write the kept words of each document."""
        return [
            join_words(source.words, kept[start : start + len(source.words)])
            for source, start in zip(self._sources, self._starts, strict=False)
        ]

    def _measure(self, kept: Sequence[bool]) -> int:
        """Count the tokens of the kept words."""
        return sum(len(self._tokenizer.encode(text)) for text in self._texts(kept))
