"""Keep the best words that a budget has room for, exactly.

    1. a beginning of the order, best first, that fits; as long as possible
    2. what is left of the budget goes to the next ones that still fit
    3. or to exchanging a kept word for one that is longer by just that much

The tokens of a text are not the sum of its words' tokens, since tokens depend on their neighbours. So every step counts
the text that it would give; the words' own costs only say what is worth trying.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

_TRIES = 48  # of steps 2 and 3 each
_CLOSE = 0.002  # share of the budget that may stay unused rather than be tried for: each try reads the whole text

Measure = Callable[[Sequence[bool]], int]
"""How many tokens the text of the kept words takes."""


def keep_best(order: Sequence[int], costs: Sequence[int], budget: int, measure: Measure) -> list[bool]:
    """Choose words within a budget.

    :param order: All words' places, the best first.
    :param costs: Tokens that each word takes, more or less.
    :param budget: Tokens that the text may take.
    :param measure: Counts the tokens of the text that the kept words make.
    :return: For each word whether it is kept; their text never exceeds the budget.
    """
    choice = _Choice(measure, budget, [False] * len(costs), budget)
    count = _longest_beginning(choice, order, costs)
    _fill(choice, order[count:], costs)
    _exchange(choice, order[:count], order[count:], costs)
    return choice.kept


@dataclass(slots=True)
class _Choice:
    """The words kept so far."""

    measure: Measure
    budget: int
    kept: list[bool]
    room: int  # tokens that are left

    @property
    def done(self) -> bool:
        """Say whether what is left is not worth more work.

        :return: True if it is not.
        """
        return self.room <= self.budget * _CLOSE

    def replace(self, kept: Sequence[int] = (), dropped: Sequence[int] = ()) -> bool:
        """Keep some words and drop others, if the text still fits and becomes no shorter.

        :param kept: Words to keep.
        :param dropped: Words to drop.
        :return: Whether that was done.
        """
        changed = list(self.kept)
        for place in kept:
            changed[place] = True
        for place in dropped:
            changed[place] = False
        room = self.budget - self.measure(changed)
        if not 0 <= room <= self.room:
            return False
        self.kept, self.room = changed, room
        return True


def _longest_beginning(choice: _Choice, order: Sequence[int], costs: Sequence[int]) -> int:
    """Keep as many of the best words as fit; give their number.

    Turns between where the costs say that the end is, which is nearly right, and the middle, which is never far off.
    """
    spent = [0, *accumulate(costs[place] for place in order)]
    low, high, guess = 0, len(order), True  # so many fit; not more than so many do
    while low < high and not (low and choice.done):
        middle = bisect_left(spent, spent[low] + choice.room) if guess else (low + high + 1) // 2
        middle, guess = min(max(middle, low + 1), high), not guess
        if choice.replace(kept=order[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def _fill(choice: _Choice, rest: Sequence[int], costs: Sequence[int]) -> None:
    """Spend what is left on further words."""
    tries = 0
    for place in rest:
        if choice.done or tries == _TRIES:
            return
        if costs[place] <= choice.room:
            tries += 1
            choice.replace(kept=[place])


def _exchange(choice: _Choice, kept: Sequence[int], rest: Sequence[int], costs: Sequence[int]) -> None:
    """Spend what is left by exchanging the least of the kept words for one that uses it up."""
    by_cost: dict[int, int] = {}
    for place in rest:
        if not choice.kept[place]:
            by_cost.setdefault(costs[place], place)
    for place in list(reversed(kept))[:_TRIES]:
        if choice.done:
            return
        longer = by_cost.get(costs[place] + choice.room)
        if longer is not None and not choice.kept[longer]:
            choice.replace(kept=[longer], dropped=[place])
