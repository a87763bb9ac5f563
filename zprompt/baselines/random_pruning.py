"""Drop words at random: the floor for methods that say which words matter."""

from __future__ import annotations

import random
from typing import ClassVar, TYPE_CHECKING

from zprompt.baselines.fitting import keep_best
from zprompt.baselines.lengths import DEFAULT_RATIO, check_ratio, check_text, default_tokenizer, wanted_tokens
from zprompt.baselines.protocol import Output, Shortened
from zprompt.baselines.words import join_words, split_words, words_of_tokens
from zprompt.errors import OptionError

if TYPE_CHECKING:
    from zprompt.llm import TextTokenizer


class RandomPruning:
    """Keeps words by lot; the same text and seed give the same words, whatever was shortened before."""

    name = "random"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(self, seed: int = 0, ratio: float = DEFAULT_RATIO, tokenizer: TextTokenizer | None = None) -> None:
        """Choose the lot.

        :param seed: Of the lot.
        :param ratio: Source tokens per token of the result where no budget is given.
        :param tokenizer: Counts tokens; None: the default backbone's.
        :raises OptionError: If an option has a value that is not allowed.
        """
        if not isinstance(seed, int):
            raise OptionError(f"seed must be an int, got {seed!r}.")
        check_ratio(ratio)
        self._seed, self._ratio, self._tokenizer = seed, ratio, tokenizer

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Drop words of a text.

        :param text: The text.
        :param budget: Tokens that the result may have; None: as the ratio says.
        :param query: Ignored.
        :return: Whole words in their order.
        """
        check_text(text)
        tokenizer = self._tokenizer or default_tokenizer()
        ids, offsets = tokenizer.encode_with_offsets(text)
        wanted = wanted_tokens(len(ids), budget, self._ratio)
        if wanted >= len(ids):
            return Shortened(text, len(ids), len(ids), self.name)
        words = split_words(text)
        costs = [0] * len(words)
        for word in words_of_tokens(words, offsets):
            costs[word] += 1
        order = list(range(len(words)))
        random.Random(self._seed).shuffle(order)
        kept = keep_best(order, costs, wanted, lambda kept: len(tokenizer.encode(join_words(words, kept))))
        shortened = join_words(words, kept)
        return Shortened(shortened, len(ids), len(tokenizer.encode(shortened)), self.name)
