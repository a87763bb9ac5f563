"""The names of entries in a text: signs that a tokenizer writes in few tokens, and that the text itself does not hold.

    sign  =  0 to 2 marks, then a letter            α   в   §α   §†β

Only its last character is a letter, so a sign says itself where it ends, and signs may stand side by side. A sign is
free if none of its characters occur in the source: then every occurrence of it in the shortened text is a reference,
and nothing needs an escape. The letters are those that look like no Latin one.
"""

from __future__ import annotations

from itertools import product

LETTERS = (
    "αβγδεζηθικλμπρστφχωΔбвгджзийклмнптфцчшщыьюя"  # one token each for the default backbone and for OpenAI's models
)
MARKS = "§†¬±•→×°"
_MOST_MARKS = 2
SIGN = f"[{MARKS}]{{0,{_MOST_MARKS}}}[{LETTERS}]"  # as a regex

Rank = tuple[int, ...]


def rank(sign: str) -> Rank:
    """Say where a sign stands in the order of all signs: the shorter first.

    :param sign: A sign.
    :return: What compares as the signs do.
    """
    return (len(sign), *map(MARKS.index, sign[:-1]), LETTERS.index(sign[-1]))


def free_signs(text: str, after: str = "") -> list[str]:
    """List the signs that a text leaves free, in their order.

    :param text: The text.
    :param after: A sign; only those after it are listed. Empty: all.
    :return: The signs of which no character occurs in the text.
    """
    held = set(text)
    letters = [letter for letter in LETTERS if letter not in held]
    marks = [mark for mark in MARKS if mark not in held]
    free = ["".join(sign) for n in range(_MOST_MARKS + 1) for sign in product(*[marks] * n, letters)]
    return [sign for sign in free if rank(sign) > rank(after)] if after else free
