"""Choose which units of some passages stay word for word, and write them as text.

    score (relevance.py) ─► one budget over all passages (selection.py) ─► character ranges ─► text with elisions

The text form has the chosen units in their order, whole, with their own white space where they are neighbours. Where
something is left out between two of them there is an ELISION, so that no two sentences are joined to say what nobody
said; it is on a line of its own if a line break is left out, so that no sentence seems to be on another's line. A
passage of which nothing stays becomes NOTHING, which takes one token. A text never gets longer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zprompt.counting import CountTokens
from zprompt.errors import OptionError
from zprompt.options import merge_ranges
from zprompt.relevance.features import Floats
from zprompt.relevance.relevance import Passage, Relevance
from zprompt.relevance.selection import (
    Bools,
    choose_covering,
    choose_nearest,
    choose_within,
    companions,
)
from zprompt.results import KeptText, ScoredSentence

ELISION = "[…]"
NOTHING = "…"

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Length:
    """The requested length of the result; without either limit, as long as 95 % of the answers need."""

    wanted: float | None = None  # tokens, met to the nearest unit
    most: int | None = None  # tokens that must not be exceeded


class Choice:
    """Scores the units of passages once, and chooses which of them stay."""

    def __init__(
        self,
        relevance: Relevance,
        question: str,
        passages: Sequence[Passage],
        cost: Callable[[int, int, int], int],
        always: Sequence[Ranges] | None = None,
    ) -> None:
        """Score the units.

        :param relevance: Scores them.
        :param question: The question.
        :param passages: The passages.
        :param cost: Returns the number of tokens of a unit, given the index of its passage, its start and its end.
        :param always: Character ranges of each passage whose units always stay.
        :raises OptionError: If `relevance` is no `Relevance`.
        """
        if not isinstance(relevance, Relevance):
            raise OptionError(
                f"relevance must be a zprompt.relevance.Relevance, got {type(relevance).__name__}. "
                "To use an embedder, pass Relevance.from_pretrained(embedder=…)."
            )
        self._scored = relevance.score(question, passages)
        self._coverage = relevance.weights.coverage
        units: list[tuple[int, int, int]] = []  # index of the passage, start, end
        self._needs: list[int | None] = []
        for index, (passage, scored) in enumerate(zip(passages, self._scored, strict=True)):
            texts = [passage.text[start:end] for start, end in scored.units]
            self._needs += [None if need is None else len(units) + need for need in companions(texts)]
            units += [(index, start, end) for start, end in scored.units]
        self._costs = [cost(index, start, end) for index, start, end in units]
        forced = [merge_ranges(ranges) for ranges in always] if always else [[] for _ in passages]
        self._forced = np.array([_overlaps(forced[index], start, end) for index, start, end in units], np.bool_)
        self._scores: Floats = np.concatenate([np.zeros(0), *(scored.scores for scored in self._scored)])

    def choose(self, length: Length) -> list[KeptText]:
        """Choose what stays word for word of each passage.

        :param length: The length of all that stays together.
        :return: What stays of each passage.
        :raises OptionError: If what always stays exceeds the limit.
        """
        if length.most is None:
            return self._kept(self._wanted(length))
        forced_first = np.where(self._forced, np.inf, self._scores)
        within = choose_within(forced_first, self._costs, self._needs, length.most)
        if (self._forced & ~within).any():
            raise OptionError(
                f"max_tokens leaves {length.most} tokens for sentences, but what is protected needs more. Raise it."
            )
        enough = within & self._wanted(length)  # a limit that is not reached changes nothing
        return self._kept(enough if enough.any() else within)

    def _wanted(self, length: Length) -> Bools:
        if length.wanted is not None:
            return choose_nearest(self._scores, self._costs, self._needs, length.wanted, self._forced)
        return choose_covering(self._scores, self._costs, self._needs, self._coverage) | self._forced

    def _kept(self, kept: Bools) -> list[KeptText]:
        """Return what is kept of each passage, neighbours as one range, with the score of each unit."""
        flags = iter(kept.tolist())
        kept_texts = []
        for scored in self._scored:
            sentences = tuple(
                ScoredSentence(start, end, probability, next(flags))
                for (start, end), probability in zip(scored.units, scored.probabilities.tolist(), strict=True)
            )
            ranges = merge_ranges((sentence.start, sentence.end) for sentence in sentences if sentence.kept)
            kept_texts.append(KeptText(tuple(ranges), scored.relevance, sentences))
        return kept_texts


def _overlaps(ranges: Ranges, start: int, end: int) -> bool:
    """Return whether a range overlaps one of `ranges`, which are disjoint and in order."""
    index = bisect_right(ranges, start, key=lambda other: other[1])
    return index < len(ranges) and ranges[index][0] < end


def cost_as_text(passages: Sequence[Passage], count: CountTokens) -> Callable[[int, int, int], int]:
    """Return the `cost` of a `Choice` for units written as text: the tokens of a space and the unit."""
    return lambda index, start, end: count(f" {passages[index].text[start:end].strip()}")


def elide(text: str, kept: KeptText, count: CountTokens) -> tuple[str, KeptText]:
    """Write what stays of a text, with a mark where something is left out.

    :param text: The text.
    :param kept: What stays of it.
    :param count: Counts tokens.
    :return: The written text, and what stays: everything, if with the marks it would not be shorter.
    """
    written = "".join(_with_marks(text, kept.ranges)).lstrip("\r\n").rstrip() or NOTHING  # code keeps its indentation
    if count(written) >= count(text):
        sentences = tuple(replace(sentence, kept=True) for sentence in kept.sentences)
        return text, replace(kept, ranges=KeptText.whole(text).ranges, sentences=sentences)
    return written, kept


def _with_marks(text: str, ranges: Ranges) -> Iterator[str]:
    """Yield the ranges of a text that stay, and the marks between them."""
    previous_end: int | None = None  # without trailing white space
    for start, end in ranges:
        if previous_end is not None:
            yield f"\n{ELISION}\n" if "\n" in text[previous_end:start] else f" {ELISION} "
        previous_end = start + len(text[start:end].rstrip())
        yield text[start:previous_end]
