"""Spend one budget over the units of all passages of a call.

Units are taken in the order of their scores, as long as each brings the length nearer to the requested one, by ratio:
12 of 10 wanted tokens are as near as 10 of 12. So the best unit is always taken, however long. With a limit instead of
a ratio, a unit that does not fit is skipped.

Without a requested length, units are taken until their share of the sum of exp(score) over all units is `coverage`: few
if one unit stands out, many if none does (train/relevance.py calibrates it).

Some units bring another one with them, without which they might be misunderstood: a sentence that begins with a pronoun
or a connective brings the one before it, a row of a table its header, a later sentence of a record (a line of a log, a
search hit) the beginning of its line, which says when or where that was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from zprompt.relevance.features import Floats

Bools = NDArray[np.bool_]

_DEPENDENT = re.compile(
    r"[\"'“‘(\s]*(?:he|she|it|they|his|her|its|their|this|these|that|those|such|but|however|therefore|thus|hence|so|"
    r"instead|otherwise|nevertheless|nonetheless|consequently|moreover|furthermore|also|then|there)\b",
    re.IGNORECASE,
)
_ROW = re.compile(r"\s*\|")
_RECORD = re.compile(
    r"\s*\W?(?:\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|[\w./\\-]+[:(-]\d+[:)-])"
)  # a time, or a place in a file
_COLUMN = re.compile(r"[^\W\d][^,;\t\n]{0,39}")  # the name of a column
_DELIMITERS = {",": 2, ";": 1, "\t": 1}  # with the fewest of them per line; prose has commas, too
_QUOTED = re.compile(r'"[^"\n]*"')  # a value that may hold delimiters
_MIN_ROWS = 2  # without the header


def companions(texts: Sequence[str]) -> list[int | None]:
    """Return the index of the unit that each unit of a passage brings with it, or None, given the units' texts."""
    headers = _csv_headers(texts)
    needs: list[int | None] = []
    header: int | None = None
    record: int | None = None  # the first unit of the line, if that is a record
    for index, text in enumerate(texts):
        opens = not index or "\n" in texts[index - 1]
        record = (index if _RECORD.match(text) else None) if opens else record
        if _ROW.match(text):
            needs.append(header)
            header = index if header is None else header
            continue
        header = None
        if index in headers:
            needs.append(headers[index])
        elif not opens and record is not None:
            needs.append(record)
        else:
            needs.append(index - 1 if index and _DEPENDENT.match(text) else None)
    return needs


def _csv_headers(texts: Sequence[str]) -> dict[int, int]:
    """Return the index of the header of each row of delimited values, by the row's index."""
    headers: dict[int, int] = {}
    for delimiter, min_count in _DELIMITERS.items():
        counts = [_QUOTED.sub("", text).count(delimiter) for text in texts]
        start = 0
        for count, run in groupby(counts):
            end = start + len(list(run))
            names = texts[start].strip().split(delimiter)
            is_table = count >= min_count and end - start > _MIN_ROWS
            if is_table and all(_COLUMN.fullmatch(name.strip()) for name in names):
                headers |= dict.fromkeys(range(start + 1, end), start)
            start = end
    return headers


class _Selection:
    """The units taken so far, with those that they bring with them."""

    def __init__(self, costs: Sequence[int], needs: Sequence[int | None]) -> None:
        self.kept, self.total = np.zeros(len(costs), np.bool_), 0
        self._costs, self._needs = costs, needs

    def cost(self, index: int) -> int:
        """Return the tokens that taking a unit would add."""
        return sum(self._costs[unit] for unit in self._missing(index))

    def take(self, index: int) -> None:
        """Take a unit, and the one that it needs."""
        self.total += self.cost(index)
        self.kept[self._missing(index)] = True

    def _missing(self, index: int) -> list[int]:
        """Return a unit and the one that it needs, without those taken already."""
        return [unit for unit in (index, self._needs[index]) if unit is not None and not self.kept[unit]]


def choose_nearest(
    scores: Floats, costs: Sequence[int], needs: Sequence[int | None], wanted: float, always: Bools | None = None
) -> Bools:
    """Choose at least one unit, and so many that their costs sum to about the wanted length.

    :param scores: (n,).
    :param costs: (n,) tokens of each unit.
    :param needs: (n,) index of the unit that each brings with it, or None.
    :param wanted: Tokens.
    :param always: (n,) True for units that are always chosen, however long; None: none.
    :return: (n,) True for the chosen units.
    """
    selection = _Selection(costs, needs)
    for index in [] if always is None else np.flatnonzero(always).tolist():
        selection.take(index)
    for index in best_first(scores):
        if selection.total >= wanted:
            break
        new_total = selection.total + selection.cost(index)
        if not selection.total or new_total <= wanted or new_total * selection.total < wanted * wanted:
            selection.take(index)
    return selection.kept


def choose_within(scores: Floats, costs: Sequence[int], needs: Sequence[int | None], most: int) -> Bools:
    """Choose units whose costs sum to at most a limit, maybe none; (n,), as in `choose_nearest`."""
    selection = _Selection(costs, needs)
    for index in best_first(scores):
        if selection.total + selection.cost(index) <= most:
            selection.take(index)
    return selection.kept


def choose_covering(scores: Floats, costs: Sequence[int], needs: Sequence[int | None], coverage: float) -> Bools:
    """Choose the best units, at least one, until they reach a share `coverage` of exp(score); (n,) as above."""
    selection = _Selection(costs, needs)
    if len(scores):
        weights, order = np.exp(scores - scores.max()), best_first(scores)
        covered = np.cumsum(weights[order]) / weights.sum()
        for index in order[: int(np.searchsorted(covered, coverage)) + 1]:
            selection.take(index)
    return selection.kept


def best_first(scores: Floats) -> NDArray[np.int64]:
    """Return the indices of scores from the highest to the lowest, ties in their order."""
    return np.argsort(-scores, kind="stable")
