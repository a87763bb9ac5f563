"""Spend one budget over the units of all passages of a call.

Units are taken in the order of their scores, as long as each brings the length nearer to what was asked for, by ratio:
12 of 10 wanted tokens are as near as 10 of 12. So the best unit is always there, however long. With a limit instead of
a ratio, a unit that does not fit is passed over.

Without a wanted length, units are taken until they have a share `coverage` of what all units together have of
exp(score): few where one unit stands out, many where nothing does (train/relevance.py calibrates it).

Some units bring another one with them, without which they could be read as saying something else: a sentence that
begins with a pronoun or a connective the one before it, a row of a table its header, a later sentence of a record (a
line of a log, a hit of a search) the beginning of its line, which says when or where that was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from zprompt.relevance.features import Floats

Bools = NDArray[np.bool_]

_LEANS = re.compile(
    r"[\"'“‘(\s]*(?:he|she|it|they|his|her|its|their|this|these|that|those|such|but|however|therefore|thus|hence|so|"
    r"instead|otherwise|nevertheless|nonetheless|consequently|moreover|furthermore|also|then|there)\b",
    re.IGNORECASE,
)
_ROW = re.compile(r"\s*\|")
_RECORD = re.compile(
    r"\s*\W?(?:\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|[\w./\\-]+[:(-]\d+[:)-])"
)  # a time, or a place in a file
_COLUMN = re.compile(r"[^\W\d][^,;\t\n]{0,39}")  # the name of one
_DELIMITERS = {",": 2, ";": 1, "\t": 1}  # and how many of them a line has at least; prose has commas, too
_LEAST_ROWS = 2  # beside the header


def companions(texts: Sequence[str]) -> list[int | None]:
    """Return which unit of a passage each brings with it, given the units' texts; None: none."""
    headers = _csv_headers(texts)
    found: list[int | None] = []
    header: int | None = None
    record: int | None = None  # the beginning of the line, if it is one
    for index, text in enumerate(texts):
        opens = not index or "\n" in texts[index - 1]
        record = (index if _RECORD.match(text) else None) if opens else record
        if _ROW.match(text):
            found.append(header)
            header = index if header is None else header
            continue
        header = None
        if index in headers:
            found.append(headers[index])
        elif not opens and record is not None:
            found.append(record)
        else:
            found.append(index - 1 if index and _LEANS.match(text) else None)
    return found


def _csv_headers(texts: Sequence[str]) -> dict[int, int]:
    """Return the header of each line that is a row of values with delimiters."""
    headers: dict[int, int] = {}
    for delimiter, least in _DELIMITERS.items():
        counts = [text.count(delimiter) for text in texts]
        start = 0
        for count, run in groupby(counts):
            end = start + len(list(run))
            names = texts[start].strip().split(delimiter)
            if count >= least and end - start > _LEAST_ROWS and all(_COLUMN.fullmatch(name.strip()) for name in names):
                headers |= dict.fromkeys(range(start + 1, end), start)
            start = end
    return headers


class _Basket:
    """Units that were taken so far, with what they brought with them."""

    def __init__(self, costs: Sequence[int], needs: Sequence[int | None]) -> None:
        self.kept, self.total = np.zeros(len(costs), np.bool_), 0
        self._costs, self._needs = costs, needs

    def cost(self, index: int) -> int:
        """Return what a unit would add."""
        return sum(self._costs[one] for one in self._with(index))

    def take(self, index: int) -> None:
        """Take a unit, and what it needs."""
        self.total += self.cost(index)
        self.kept[self._with(index)] = True

    def _with(self, index: int) -> list[int]:
        needed = self._needs[index]
        return [one for one in (index, needed) if one is not None and not self.kept[one]]


def choose_nearest(
    scores: Floats, costs: Sequence[int], needs: Sequence[int | None], wanted: float, always: Bools | None = None
) -> Bools:
    """Choose units whose costs sum to about what is wanted; one at least.

    :param scores: (n,).
    :param costs: (n,) tokens of each unit.
    :param needs: (n,) which unit each brings with it.
    :param wanted: Tokens.
    :param always: (n,) which units are there in any case, however long; None: none.
    :return: (n,).
    """
    basket = _Basket(costs, needs)
    for index in [] if always is None else np.flatnonzero(always).tolist():
        basket.take(index)
    for index in best_first(scores):
        if basket.total >= wanted:
            break
        longer = basket.total + basket.cost(index)
        if not basket.total or longer <= wanted or longer * basket.total < wanted * wanted:
            basket.take(index)
    return basket.kept


def choose_within(scores: Floats, costs: Sequence[int], needs: Sequence[int | None], most: int) -> Bools:
    """Choose units whose costs sum to a limit at most; it may be none."""
    basket = _Basket(costs, needs)
    for index in best_first(scores):
        if basket.total + basket.cost(index) <= most:
            basket.take(index)
    return basket.kept


def choose_covering(scores: Floats, costs: Sequence[int], needs: Sequence[int | None], coverage: float) -> Bools:
    """Choose the best units until they have a share of all that speaks for any; one at least."""
    basket = _Basket(costs, needs)
    if len(scores):
        weights, order = np.exp(scores - scores.max()), best_first(scores)
        covered = np.cumsum(weights[order]) / weights.sum()
        for index in order[: int(np.searchsorted(covered, coverage)) + 1]:
            basket.take(index)
    return basket.kept


def best_first(scores: Floats) -> NDArray[np.int64]:
    """Return the places of scores, the highest first; of equal ones the first."""
    return np.argsort(-scores, kind="stable")
