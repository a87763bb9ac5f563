"""The floors that every other method has to beat: cut the text off, or drop words at random."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from zprompt.baselines.protocol import (
    DEFAULT_RATIO,
    Output,
    Shortened,
    check_ratio,
    check_text,
    default_tokenizer,
    target_tokens,
)
from zprompt.baselines.words import count_by_word, join_words, keep_best, split_words, words_of_tokens
from zprompt.errors import OptionError

if TYPE_CHECKING:
    from zprompt.llm import TextTokenizer

Keep: TypeAlias = Literal["start", "end"]


class Truncation:
    """Keeps as many tokens of one end of a text as the budget allows."""

    name = "truncation"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(
        self, keep: Keep = "start", ratio: float = DEFAULT_RATIO, tokenizer: TextTokenizer | None = None
    ) -> None:
        """Choose the end to keep.

        :param keep: Which end stays: "start" or "end".
        :param ratio: Source tokens per token of the result, without a budget.
        :param tokenizer: Counts tokens; None: the default backbone's.
        :raises OptionError: If an option has a value that is not allowed.
        """
        if keep not in ("start", "end"):
            raise OptionError(f"keep must be one of 'start', 'end', got {keep!r}.")
        check_ratio(ratio)
        self._keep, self._ratio, self._tokenizer = keep, ratio, tokenizer

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Cut a text off after the last token that fits, or before the first that does; the query is ignored."""
        check_text(text)
        tokenizer = self._tokenizer or default_tokenizer()
        ids, offsets = tokenizer.encode_with_offsets(text)
        target = target_tokens(len(ids), budget, self._ratio)
        if target >= len(ids):
            return Shortened(text, len(ids), len(ids), self.name)
        for piece in self._pieces(text, offsets, target):
            tokens = len(tokenizer.encode(piece))
            if tokens <= target:  # may be more than `target`: a token can become two once its neighbour is cut off
                return Shortened(piece, len(ids), tokens, self.name)
        return Shortened("", len(ids), 0, self.name)

    def _pieces(self, text: str, offsets: list[tuple[int, int]], target: int) -> Iterator[str]:
        """Yield the pieces that could stay, longest first."""
        for count in range(target, 0, -1):
            yield text[: offsets[count - 1][1]] if self._keep == "start" else text[offsets[-count][0] :]


class RandomPruning:
    """Keeps random words; the same text and seed give the same words, whatever was shortened before."""

    name = "random"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(self, seed: int = 0, ratio: float = DEFAULT_RATIO, tokenizer: TextTokenizer | None = None) -> None:
        """Choose the seed.

        :param seed: Decides the order in which words are kept.
        :param ratio: Source tokens per token of the result, without a budget.
        :param tokenizer: Counts tokens; None: the default backbone's.
        :raises OptionError: If an option has a value that is not allowed.
        """
        if not isinstance(seed, int):
            raise OptionError(f"seed must be an int, got {seed!r}.")
        check_ratio(ratio)
        self._seed, self._ratio, self._tokenizer = seed, ratio, tokenizer

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Drop words of a text; the query is ignored."""
        check_text(text)
        tokenizer = self._tokenizer or default_tokenizer()
        ids, offsets = tokenizer.encode_with_offsets(text)
        target = target_tokens(len(ids), budget, self._ratio)
        if target >= len(ids):
            return Shortened(text, len(ids), len(ids), self.name)
        words = split_words(text)
        order = list(range(len(words)))
        random.Random(self._seed).shuffle(order)
        costs = count_by_word(words_of_tokens(words, offsets), len(words))
        kept = keep_best(order, costs, target, lambda kept: len(tokenizer.encode(join_words(words, kept))))
        shortened = join_words(words, kept)
        return Shortened(shortened, len(ids), len(tokenizer.encode(shortened)), self.name)
