"""Cut a text into the words that pruning keeps or drops whole, and put the kept ones together again.

A word is an unbroken run of letters, digits and marks, with the hyphens, apostrophes and points inside it ("e-mail",
"don't", "3.14", "a.load"), a URL, or a run of signs. Scripts that write without spaces (Chinese, Japanese, Thai …)
have no visible words: there each character with its marks stands for itself.

What is dropped leaves no traces but these: a line break stays one, and two words do not grow together.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

# Thai and Lao, Tibetan, Burmese, Khmer, kana, Chinese characters with their extensions
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS_END = 0x20000  # no plane after the second has marks that words need


@dataclass(frozen=True, slots=True)
class Word:
    """A word and the white space before it."""

    before: str
    text: str
    end: int  # one past its last character in the source


def split_words(text: str) -> list[Word]:
    """Cut a text into words.

    :param text: The text.
    :return: Its words in order; white space at the end belongs to none.
    """
    words, end = [], 0
    for match in _word_pattern().finditer(text):
        words.append(Word(text[end : match.start()], match.group(), match.end()))
        end = match.end()
    return words


def join_words(words: Sequence[Word], kept: Sequence[bool]) -> str:
    """Write the words that are kept.

    :param words: All words of a text.
    :param kept: Whether each is kept.
    :return: The kept words in order, with the white space that they had where their neighbour is kept, too.
    """
    parts: list[str] = []
    last = -1
    for place, word in enumerate(words):
        if not kept[place]:
            continue
        parts += [_gap(words, last, place), word.text]
        last = place
    return "".join(parts)


def words_of_tokens(words: Sequence[Word], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Say which word each token belongs to; white space belongs to the word after it.

    :param words: All words of a text.
    :param offsets: Of each token, its first and one past its last character.
    :return: For each token the place of its word; the last word for what comes after it. Empty without words.
    """
    ends = [word.end for word in words]
    if not ends:
        return []
    return [min(bisect_left(ends, end), len(words) - 1) for _, end in offsets]


def _gap(words: Sequence[Word], last: int, place: int) -> str:
    """Give what stands between a kept word and the kept one before it."""
    word = words[place]
    if place == last + 1:
        return word.before
    if last < 0:
        return ""
    if "\n" not in word.before and any("\n" in dropped.before for dropped in words[last + 1 : place]):
        return "\n"
    return word.before or (" " if _would_fuse(words[last].text, word.text) else "")


def _would_fuse(left: str, right: str) -> bool:
    """Say whether two words without space between them would read as one."""
    spaced = _patterns()[1]
    return bool(spaced.match(left[-1]) and spaced.match(right[0]))


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Compile what a word is, and what a letter that could grow together with another is."""
    marks = _marks()
    spaced = rf"(?:(?![{_UNSPACED}])[\w{marks}])"
    word = (
        r"https?://[^\s<>\"')\]]+"
        rf"|[{_UNSPACED}][{marks}]*"
        rf"|\d+(?:[.,:/-]\d+)+{spaced}*"
        rf"|{spaced}+(?:[-'’.@]{spaced}+)*"
        rf"|(?:(?![{_UNSPACED}])[^\w\s])+"
    )
    return re.compile(word), re.compile(spaced)


def _word_pattern() -> re.Pattern[str]:
    return _patterns()[0]


def _marks() -> str:
    r"""List combining marks and joiners, which `\w` leaves out although words go on after them."""
    marks = [chr(code) for code in range(_MARKS_END) if unicodedata.category(chr(code))[0] == "M"]
    return "".join(marks) + "\u200c\u200d"
