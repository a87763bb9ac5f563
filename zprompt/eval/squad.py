"""Score answers as SQuAD does: lower case, without punctuation and articles; the best of all right answers counts."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Write an answer in the form that is compared.

    :param answer: An answer.
    :return: Its words.
    """
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """Tell whether an answer is one of the right ones.

    :param answer: The answer.
    :param golds: All right answers.
    :return: 1 or 0.
    """
    return float(any(normalise(answer) == normalise(gold) for gold in golds))


def f1(answer: str, golds: Sequence[str]) -> float:
    """Say how many words an answer shares with a right one.

    :param answer: The answer.
    :param golds: All right answers.
    :return: The best F1 of words, 0 to 1.
    """
    return max(_f1(normalise(answer).split(), normalise(gold).split()) for gold in golds)


def _f1(words: list[str], gold: list[str]) -> float:
    if not words or not gold:
        return float(words == gold)
    shared = sum((Counter(words) & Counter(gold)).values())
    return 2 * shared / (len(words) + len(gold))
