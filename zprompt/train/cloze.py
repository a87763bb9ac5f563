"""Cloze tests: a name, a number or a date is blanked in a sentence, and is to be filled in.

What surrounds the blank is cut to a few words on each side: positions cost.
"""

import re
from dataclasses import dataclass

import numpy as np

WORDS_AROUND = 10  # on each side of the blank

_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = rf"(?:\d{{1,2}} )?(?:{_MONTH})(?: \d{{1,2}})?(?:,? \d{{4}})?"
_NUMBER = r"\d[\d,.]*\d|\d"
# A name stands after a small letter or a comma: what begins a sentence is seldom one.
_NAME = r"(?<=[a-z,;:] )(?!(?:The|A|An|In|It)\b)[A-Z][\w’'-]+(?: (?:of |the |de |von )?[A-Z][\w’'-]+)*"
_ANSWER = re.compile(rf"\b(?:{_DATE})\b|(?<![\w.,])(?:{_NUMBER})(?![\w])|{_NAME}")
_SENTENCE = re.compile(r"[^\s][^\n]*?(?:[.!?](?=\s)|(?=\n)|$)")


@dataclass(frozen=True, slots=True)
class Cloze:
    """A question about a passage, and its answer, which stands in the passage."""

    question: str
    answer: str


def cloze_questions(text: str, most: int, random: np.random.Generator) -> list[Cloze]:
    """Blank something in at most so many sentences of a text, each with another answer."""
    found: dict[str, Cloze] = {}
    sentences = [match.group() for match in _SENTENCE.finditer(text)]
    for index in random.permutation(len(sentences)):
        sentence = sentences[index]
        spots = [match for match in _ANSWER.finditer(sentence) if sentence.count(match.group()) == 1]
        if spots and len(sentence.split()) > 5:
            spot = spots[random.integers(len(spots))]
            found.setdefault(spot.group(), _blank(sentence, spot))
        if len(found) == most:
            break
    return list(found.values())


def _blank(sentence: str, spot: re.Match[str]) -> Cloze:
    left = re.split(r"(?<=\s)", sentence[: spot.start()])[-WORDS_AROUND - 1 :]
    right = re.split(r"(?=\s)", sentence[spot.end() :])[: WORDS_AROUND + 1]
    return Cloze(f"What is missing in “{''.join(left).lstrip()}___{''.join(right)}”?", spot.group())
