"""Choose which units of some passages stay word for word, and write them as text.

    score (relevance.py) ─► one budget over all passages (selection.py) ─► character ranges ─► text with elisions

The text form has the chosen units in their order, whole, with their own white space where they are neighbours. Where
something is left out between two of them stands ELISION, so that no two sentences are joined to say what nobody said;
on a line of its own where a line break is left out, so that no sentence seems to stand on the line of another.
A passage of which nothing stays is NOTHING, which takes one token. A text is never longer than it was.
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
    """How long the result is to be; without either, as long as 95 % of the answers need."""

    wanted: float | None = None  # tokens, to be met to the nearest unit
    most: int | None = None  # tokens that must not be exceeded


class Choice:
    """The scored units of some passages, of which some are chosen."""

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
        :param cost: Returns the tokens of a unit, given the index of its passage, its start and its end.
        :param always: Character ranges of each passage whose units always stay.
        :raises OptionError: If what is to score them cannot.
        """
        if not isinstance(relevance, Relevance):
            raise OptionError(
                f"relevance must be a zprompt.relevance.Relevance, got {type(relevance).__name__}. "
                "To use an embedder, give Relevance.from_pretrained(embedder=…)."
            )
        self._scored = relevance.score(question, passages)
        self._coverage = relevance.weights.coverage
        self._owner: list[int] = []  # of each unit
        self._units: list[tuple[int, int]] = []
        self._needs: list[int | None] = []
        for index, (passage, own) in enumerate(zip(passages, self._scored, strict=True)):
            texts = [passage.text[start:end] for start, end in own.units]
            first = len(self._units)
            self._needs += [None if need is None else first + need for need in companions(texts)]
            self._owner += [index] * len(texts)
            self._units += own.units
        places = list(zip(self._owner, self._units, strict=True))
        self._costs = [cost(index, start, end) for index, (start, end) in places]
        reached = [merge_ranges(own) for own in always] if always else [[] for _ in passages]
        self._forced = np.array([_overlaps(reached[index], start, end) for index, (start, end) in places], np.bool_)
        self._scores: Floats = np.concatenate([np.zeros(0), *(own.scores for own in self._scored)])

    def choose(self, length: Length) -> list[KeptText]:
        """Choose what stays word for word of each passage.

        :param length: How long all that stays may be together.
        :return: What stays of each passage.
        :raises OptionError: If what always stays is longer than it may be.
        """
        if length.most is None:
            return self._kept(self._wanted(length))
        forced_first = np.where(self._forced, np.inf, self._scores)
        within = choose_within(forced_first, self._costs, self._needs, length.most)
        if (self._forced & ~within).any():
            raise OptionError(
                f"max_tokens leaves {length.most} tokens for sentences, but what is protected needs more. Allow more."
            )
        enough = within & self._wanted(length)  # a limit that leaves room to spare changes nothing
        return self._kept(enough if enough.any() else within)

    def _wanted(self, length: Length) -> Bools:
        if length.wanted is not None:
            return choose_nearest(self._scores, self._costs, self._needs, length.wanted, self._forced)
        return choose_covering(self._scores, self._costs, self._needs, self._coverage) | self._forced

    def _kept(self, kept: Bools) -> list[KeptText]:
        """Return what is kept of each passage, neighbours as one range, and the score of each of its units."""
        stays = iter(kept.tolist())
        texts = []
        for own in self._scored:
            units = tuple(
                ScoredSentence(start, end, probability, next(stays))
                for (start, end), probability in zip(own.units, own.probabilities.tolist(), strict=True)
            )
            ranges = merge_ranges((one.start, one.end) for one in units if one.kept)
            texts.append(KeptText(tuple(ranges), own.relevance, units))
        return texts


def _overlaps(ranges: Ranges, start: int, end: int) -> bool:
    """Return whether one of the ranges, which are disjoint and in order, has a part of another one."""
    first = bisect_right(ranges, start, key=lambda own: own[1])
    return first < len(ranges) and ranges[first][0] < end


def cost_as_text(passages: Sequence[Passage], count: CountTokens) -> Callable[[int, int, int], int]:
    """Return the cost of a unit that `Choice` takes, where it is written as text: a space, and its own."""
    return lambda index, start, end: count(f" {passages[index].text[start:end].strip()}")


def elide(text: str, kept: KeptText, count: CountTokens) -> tuple[str, KeptText]:
    """Write what stays of a text, and the mark where something is left out.

    :param text: The text.
    :param kept: What stays of it.
    :param count: Counts tokens.
    :return: The text as written, and what stays of it now: all, where the mark would take as much as the text.
    """
    written = "".join(_with_marks(text, kept.ranges)).lstrip("\r\n").rstrip() or NOTHING  # code keeps its indentation
    if count(written) >= count(text):
        units = tuple(replace(one, kept=True) for one in kept.sentences)
        return text, replace(kept, ranges=KeptText.whole(text).ranges, sentences=units)
    return written, kept


def _with_marks(text: str, ranges: Ranges) -> Iterator[str]:
    """Yield what stays of a text, and the marks between."""
    last: int | None = None  # where what was yielded ends, white space apart
    for start, end in ranges:
        if last is not None:
            yield f"\n{ELISION}\n" if "\n" in text[last:start] else f" {ELISION} "
        last = start + len(text[start:end].rstrip())
        yield text[start:last]
