"""Sentences, words and stems: how the project splits text and compares words."""

import re
from collections.abc import Iterator

WORD = re.compile(r"\d+(?:[.,:/-]\d+)*\w*|\w+")  # 3.14, 12:30 and 2024-05-17 are one word
STOP_WORDS = frozenset(
    "a about above after all also an and any are as at be because been before being but by can could did do does "
    "doing for from had has have he her here hers him his how i if in into is it its just me more most my no nor "
    "not of on or other our she should so some such than that the their them then there these they this those to "
    "too us very was we were what when where which while who whom whose why will with would you your".split()
)
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+|\n+")
_MIN_PLURAL = 4  # letters: "is" and "gas" are no plurals
_MIN_STEM = 4
_ENDINGS = ("ing", "ed", "ly", "er", "ion")


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Split a text after each sentence and line.

    :param text: The text.
    :yields: The character ranges (start, end) of the sentences, which are adjacent and cover the text.
    """
    start = 0
    for match in _SENTENCE_END.finditer(text):
        yield start, match.end()
        start = match.end()
    if start < len(text):
        yield start, len(text)


def stem(word: str) -> str:
    """Fold case and strip a plural or another common ending, so that "designed" and "designer" are the same."""
    word = _singular(word.casefold())
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _MIN_STEM:
            return word[: -len(ending)]
    return word[:-1] if word.endswith("e") and len(word) > _MIN_STEM else word


def _singular(word: str) -> str:
    if len(word) < _MIN_PLURAL or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ses", "xes", "zes", "ches", "shes")) else word[:-1]
