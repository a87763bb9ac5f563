"""Say how much each token is worth keeping as an anchor, which a reader sees, before the residual, which it does not.

A tiling minimises  price = 1 + rate · Σ w[t] · bits[t]  (segmentation.py); here is w, the most that any of these say of
a token's words:

    PLAIN      any other word
    SALIENT    numbers and names: nothing else in the text tells a reader what they are
    QUERIED    words that the query mentions
    infinite   what the caller protects: always anchors, at any rate
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zprompt.errors import OptionError

PLAIN = 1.0
SALIENT = 3.0
QUERIED = 5.0

_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*\w*|\w+")  # 3.14, 12:30 and 2024-05-17 are one word
_SENTENCE_BREAK = re.compile(r"[.!?…。！？\n]")
_STOP_WORDS = frozenset(
    "a about above after all also an and any are as at be because been before being but by can could did do does "
    "doing for from had has have he her here hers him his how i if in into is it its just me more most my no nor "
    "not of on or other our she should so some such than that the their them then there these they this those to "
    "too us very was we were what when where which while who whom whose why will with would you your".split()
)
_SHORTEST_PLURAL = 4  # "is" and "gas" are none


@dataclass(frozen=True, slots=True)
class Protection:
    """What is kept as anchors, wherever it stands."""

    pattern: re.Pattern[str] | None = None
    literals: tuple[str, ...] = ()

    @classmethod
    def of(cls, protect: str | re.Pattern[str] | Sequence[str] | None) -> Protection:
        """Make a protection from what a caller may give.

        :param protect: A regular expression, a compiled one, or a sequence of strings that are meant literally.
        :return: The protection; None protects nothing.
        :raises OptionError: If the regular expression is not valid, or a literal is no string or empty.
        """
        match protect:
            case None:
                return cls()
            case str():
                return cls(pattern=_compile(protect))
            case re.Pattern(pattern=str()):
                return cls(pattern=protect)
            case Sequence() if not isinstance(protect, bytes) and all(
                isinstance(item, str) and item for item in protect
            ):
                return cls(literals=tuple(protect))
        raise OptionError(
            f"protect={protect!r} is not allowed. Give a regular expression as a str, a compiled pattern of str, "
            "or a list of strings, none of them empty."
        )

    def ranges(self, text: str) -> list[tuple[int, int]]:
        """Find what is protected in a text.

        :param text: The text.
        :return: Character ranges (start, end), from left to right, without overlap and not empty.
        """
        found = [match.span() for match in self.pattern.finditer(text)] if self.pattern else []
        for literal in self.literals:
            found += _occurrences(literal, text)
        return _merge(found)


def token_weights(
    text: str, offsets: Sequence[tuple[int, int]], *, query: str | None = None, protect: Protection | None = None
) -> list[float]:
    """Weigh each token of a text by how much a bit of it counts.

    :param text: The text.
    :param offsets: Character range (start, end) of each token; an empty one counts as the character at its start.
    :param query: A question that the text is to answer; its words weigh more.
    :param protect: What is kept as anchors.
    :return: A weight for each token: PLAIN, SALIENT, QUERIED or infinity.
    """
    weights = [PLAIN] * len(text)  # of characters
    asked = _query_words(query or "")
    for word in _words(text):
        weight = QUERIED if _stem(word.text) in asked else SALIENT if word.salient else PLAIN
        if weight > PLAIN:
            weights[word.start : word.end] = [weight] * (word.end - word.start)
    for start, end in protect.ranges(text) if protect else ():
        weights[start:end] = [math.inf] * (end - start)
    return [max(weights[start : max(end, start + 1)], default=PLAIN) for start, end in offsets]


@dataclass(frozen=True, slots=True)
class _Word:
    """A word in a text."""

    text: str
    start: int
    end: int
    salient: bool  # a number or a name


def _words(text: str) -> Iterator[_Word]:
    """Find the words; a capital where a sentence begins makes a name only if the word has one elsewhere, too."""
    found = [(match, _opens_sentence(text, before, match)) for before, match in _with_predecessors(text)]
    names = {match.group() for match, opens in found if not opens and _is_capitalised(match.group())}
    for match, _ in found:
        word = match.group()
        salient = _has_digit(word) or word in names or _has_inner_capital(word)
        yield _Word(word, *match.span(), salient)


def _with_predecessors(text: str) -> Iterator[tuple[re.Match[str] | None, re.Match[str]]]:
    before = None
    for match in _WORD.finditer(text):
        yield before, match
        before = match


def _opens_sentence(text: str, before: re.Match[str] | None, word: re.Match[str]) -> bool:
    if before is None:
        return True
    is_initial = len(before.group()) == 1 and before.group().isupper()  # J. Smith
    between = text[before.end() : word.start()]
    return _SENTENCE_BREAK.search(between) is not None and not (is_initial and between.startswith("."))


def _is_capitalised(word: str) -> bool:
    return word[0].isupper() and word.casefold() not in _STOP_WORDS


def _has_inner_capital(word: str) -> bool:
    """Tell NASA and McDonald, which are names wherever they stand."""
    return any(map(str.isupper, word[1:]))


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))


def _query_words(query: str) -> set[str]:
    words = (match.group() for match in _WORD.finditer(query))
    return {_stem(word) for word in words if word.casefold() not in _STOP_WORDS}


def _stem(word: str) -> str:
    """Fold case and strip a plural ending."""
    word = word.casefold()
    if len(word) < _SHORTEST_PLURAL or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ses", "xes", "zes", "ches", "shes")) else word[:-1]


def _compile(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise OptionError(
            f"protect={expression!r} is not a valid regular expression: {error}. "
            "To protect a string literally, put it into a list."
        ) from error


def _occurrences(literal: str, text: str) -> Iterator[tuple[int, int]]:
    """Find a literal, also where it overlaps itself."""
    start = text.find(literal)
    while start >= 0:
        yield start, start + len(literal)
        start = text.find(literal, start + 1)


def _merge(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        elif end > start:
            merged.append((start, end))
    return merged
