"""What a word is, which words say nothing, and when two are the same."""

import re

WORD = re.compile(r"\d+(?:[.,:/-]\d+)*\w*|\w+")  # 3.14, 12:30 and 2024-05-17 are one word
STOP_WORDS = frozenset(
    "a about above after all also an and any are as at be because been before being but by can could did do does "
    "doing for from had has have he her here hers him his how i if in into is it its just me more most my no nor "
    "not of on or other our she should so some such than that the their them then there these they this those to "
    "too us very was we were what when where which while who whom whose why will with would you your".split()
)
_SHORTEST_PLURAL = 4  # "is" and "gas" are none
_SHORTEST_STEM = 4
_ENDINGS = ("ing", "ed", "ly", "er", "ion")


def stem(word: str) -> str:
    """Fold case and strip a plural or another common ending, so that "designed" and "designer" are the same.

    :param word: A word.
    :return: What is left of it.
    """
    word = _singular(word.casefold())
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word[:-1] if word.endswith("e") and len(word) > _SHORTEST_STEM else word


def _singular(word: str) -> str:
    if len(word) < _SHORTEST_PLURAL or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ses", "xes", "zes", "ches", "shes")) else word[:-1]
