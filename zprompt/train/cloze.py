"""Cloze tests: the reader fills in a name, a number or a date that is blanked in a sentence.

Only a few words on each side of the blank are shown, since each takes a position.
"""

import re
from dataclasses import dataclass

import numpy as np

WORDS_AROUND = 10  # on each side of the blank

_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = rf"(?:\d{{1,2}} )?(?:{_MONTH})(?: \d{{1,2}})?(?:,? \d{{4}})?"
_NUMBER = r"\d[\d,.]*\d|\d"
# A name follows a lower-case letter or a comma: the first word of a sentence is seldom one.
_NAME = r"(?<=[a-z,;:] )(?!(?:The|A|An|In|It)\b)[A-Z][\w’'-]+(?: (?:of |the |de |von )?[A-Z][\w’'-]+)*"
_ANSWER = re.compile(rf"\b(?:{_DATE})\b|(?<![\w.,])(?:{_NUMBER})(?![\w])|{_NAME}")
_SENTENCE = re.compile(r"[^\s][^\n]*?(?:[.!?](?=\s)|(?=\n)|$)")


@dataclass(frozen=True, slots=True)
class Cloze:
    """A question about a passage, and its answer, which the passage contains."""

    question: str
    answer: str


def cloze_questions(text: str, most: int, random: np.random.Generator) -> list[Cloze]:
    """Blank something in at most `most` sentences of a text, each with another answer."""
    clozes: dict[str, Cloze] = {}
    sentences = [match.group() for match in _SENTENCE.finditer(text)]
    for index in random.permutation(len(sentences)):
        sentence = sentences[index]
        answers = [match for match in _ANSWER.finditer(sentence) if sentence.count(match.group()) == 1]
        if answers and len(sentence.split()) > 5:
            answer = answers[random.integers(len(answers))]
            clozes.setdefault(answer.group(), _blank(sentence, answer))
        if len(clozes) == most:
            break
    return list(clozes.values())


def _blank(sentence: str, answer: re.Match[str]) -> Cloze:
    left = re.split(r"(?<=\s)", sentence[: answer.start()])[-WORDS_AROUND - 1 :]
    right = re.split(r"(?=\s)", sentence[answer.end() :])[: WORDS_AROUND + 1]
    return Cloze(f"What is missing in “{''.join(left).lstrip()}___{''.join(right)}”?", answer.group())
