"""Cut a text into words that are kept or dropped whole, and keep the best words that fit a budget.

A word is an unbroken run of letters, digits and marks, with the hyphens, apostrophes and points inside it ("e-mail",
"don't", "3.14", "a.load"), a URL, or a run of signs. Scripts that write without spaces (Chinese, Japanese, Thai …) have
no visible words: there each character with its marks is a word. A dropped word leaves no trace, except that a line
break stays a line break and two words are never fused.

The tokens of a text are not the sum of its words' tokens, since tokens depend on their neighbours. So `keep_best`
counts the tokens of every text that it tries, and uses the counts of single words only to decide what to try:

    1. the longest prefix of the order, best word first, that fits
    2. the next words that fit into the rest of the budget
    3. one kept word exchanged for one that is longer by exactly the rest
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TypeAlias

# Thai and Lao, Tibetan, Burmese, Khmer, kana, Chinese characters with their extensions
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS_END = 0x20000  # no plane after the second has marks that words need
_TRIES = 48  # of steps 2 and 3 each
_CLOSE = 0.002  # share of the budget that may stay unused: every further try tokenizes the whole text


@dataclass(frozen=True, slots=True)
class Word:
    """A word and the white space before it."""

    before: str
    text: str
    end: int  # one past its last character in the source


def split_words(text: str) -> list[Word]:
    """Cut a text into words; white space at its end belongs to none."""
    words, end = [], 0
    for match in _patterns()[0].finditer(text):
        words.append(Word(text[end : match.start()], match.group(), match.end()))
        end = match.end()
    return words


def join_words(words: Sequence[Word], kept: Sequence[bool]) -> str:
    """Join the kept words, with the white space of the source between words that were neighbours there."""
    parts: list[str] = []
    last = -1
    for index, word in enumerate(words):
        if kept[index]:
            parts += [_gap(words, last, index), word.text]
            last = index
    return "".join(parts)


def words_of_tokens(words: Sequence[Word], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Assign each token to the word that it ends in; white space belongs to the word after it.

    :param words: All words of a text.
    :param offsets: For each token, its first character and one past its last.
    :return: The index of each token's word, the last word for tokens behind it; empty if there are no words.
    """
    ends = [word.end for word in words]
    if not ends:
        return []
    return [min(bisect_left(ends, end), len(words) - 1) for _, end in offsets]


def count_by_word(owners: Sequence[int], words: int) -> list[int]:
    """Count the tokens of each word, given the word of each token."""
    counts = [0] * words
    for owner in owners:
        counts[owner] += 1
    return counts


def _gap(words: Sequence[Word], last: int, index: int) -> str:
    """Return what separates a kept word from the kept word before it."""
    word = words[index]
    if index == last + 1:
        return word.before
    if last < 0:
        return ""
    if "\n" not in word.before and any("\n" in dropped.before for dropped in words[last + 1 : index]):
        return "\n"
    return word.before or (" " if _would_fuse(words[last].text, word.text) else "")


def _would_fuse(left: str, right: str) -> bool:
    spaced = _patterns()[1]
    return bool(spaced.match(left[-1]) and spaced.match(right[0]))


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""Compile the pattern of a word, and that of a letter that could fuse with another.

    Combining marks and joiners are added to `\w`, which leaves them out although words go on after them.
    """
    marks = [chr(code) for code in range(_MARKS_END) if unicodedata.category(chr(code))[0] == "M"]
    joined = "".join(marks) + "\u200c\u200d"
    spaced = rf"(?:(?![{_UNSPACED}])[\w{joined}])"
    word = (
        r"https?://[^\s<>\"')\]]+"
        rf"|[{_UNSPACED}][{joined}]*"
        rf"|\d+(?:[.,:/-]\d+)+{spaced}*"
        rf"|{spaced}+(?:[-'’.@]{spaced}+)*"
        rf"|(?:(?![{_UNSPACED}])[^\w\s])+"
    )
    return re.compile(word), re.compile(spaced)


CountKept: TypeAlias = Callable[[Sequence[bool]], int]
"""Counts the tokens of the text that the kept words make."""


def keep_best(order: Sequence[int], costs: Sequence[int], budget: int, count: CountKept) -> list[bool]:
    """Choose the words that a budget has room for.

    :param order: The indices of all words, best first.
    :param costs: Tokens of each word, approximately.
    :param budget: Maximum tokens of the text.
    :param count: Counts the tokens of the text that the kept words make.
    :return: For each word whether it is kept; their text never exceeds the budget.
    """
    choice = _Choice(count, budget, [False] * len(costs), budget)
    prefix = _longest_prefix(choice, order, costs)
    _fill(choice, order[prefix:], costs)
    _exchange(choice, order[:prefix], order[prefix:], costs)
    return choice.kept


@dataclass(slots=True)
class _Choice:
    """The words kept so far."""

    count: CountKept
    budget: int
    kept: list[bool]
    room: int  # tokens of the budget that are unused

    @property
    def done(self) -> bool:
        return self.room <= self.budget * _CLOSE

    def replace(self, kept: Sequence[int] = (), dropped: Sequence[int] = ()) -> bool:
        """Keep and drop words if the text still fits and becomes no shorter; return whether it was done."""
        changed = list(self.kept)
        for index in kept:
            changed[index] = True
        for index in dropped:
            changed[index] = False
        room = self.budget - self.count(changed)
        if not 0 <= room <= self.room:
            return False
        self.kept, self.room = changed, room
        return True


def _longest_prefix(choice: _Choice, order: Sequence[int], costs: Sequence[int]) -> int:
    """Keep as many of the best words as fit, and return their number.

    The search alternates between the end that the costs suggest, which is nearly right, and the middle, which bounds
    the number of steps.
    """
    spent = [0, *accumulate(costs[index] for index in order)]
    low, high, guess = 0, len(order), True  # `low` words fit; more than `high` do not
    while low < high and not (low and choice.done):
        middle = bisect_left(spent, spent[low] + choice.room) if guess else (low + high + 1) // 2
        middle, guess = min(max(middle, low + 1), high), not guess
        if choice.replace(kept=order[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def _fill(choice: _Choice, rest: Sequence[int], costs: Sequence[int]) -> None:
    """Spend the rest of the budget on further words."""
    tries = 0
    for index in rest:
        if choice.done or tries == _TRIES:
            return
        if costs[index] <= choice.room:
            tries += 1
            choice.replace(kept=[index])


def _exchange(choice: _Choice, kept: Sequence[int], rest: Sequence[int], costs: Sequence[int]) -> None:
    """Spend the rest of the budget by exchanging one of the worst kept words for a word that uses it up."""
    by_cost: dict[int, int] = {}
    for index in rest:
        if not choice.kept[index]:
            by_cost.setdefault(costs[index], index)
    for index in list(reversed(kept))[:_TRIES]:
        if choice.done:
            return
        longer = by_cost.get(costs[index] + choice.room)
        if longer is not None and not choice.kept[longer]:
            choice.replace(kept=[longer], dropped=[index])
