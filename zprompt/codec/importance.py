"""Say how much each token is worth keeping as an anchor, which a reader sees, before the residual, which it does not.

A tiling minimises  price = 1 + rate · Σ w[t] · (bits[t] + lost[t])  over dropped tokens (segmentation.py). Here is w,
the most that any of these say of a token's words, and `lost` is what a query adds (relevance.py):

    PLAIN      any other word
    SALIENT    numbers and names: nothing else in the text tells a reader what they are
    infinite   what the caller protects: always anchors, at any rate
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zprompt.options import Protection
from zprompt.relevance import STOP_WORDS, WORD, TokenIds, word_penalties

PLAIN = 1.0
SALIENT = 3.0

_SENTENCE_BREAK = re.compile(r"[.!?…。！？\n]")


class TokenImportance(NamedTuple):
    """What a token is worth to a reader."""

    weight: float = PLAIN  # of all bits
    lost: float = 0.0  # bits, beside those that restore it


def token_importance(
    text: str,
    offsets: Sequence[tuple[int, int]],
    encode: TokenIds,
    *,
    query: str | None = None,
    protect: Protection | None = None,
) -> list[TokenImportance]:
    """Say what each token of a text is worth.

    :param text: The text.
    :param offsets: Character range (start, end) of each token; an empty one counts as the character at its start.
    :param encode: Gives a word's token ids.
    :param query: A question that the text is to answer.
    :param protect: What is kept as anchors.
    :return: The worth of each token.
    """
    weights = token_weights(text, offsets, protect)
    lost = _by_token(word_penalties(text, query, encode), offsets) if query else [0.0] * len(weights)
    return [TokenImportance(*pair) for pair in zip(weights, lost, strict=True)]


def token_weights(text: str, offsets: Sequence[tuple[int, int]], protect: Protection | None = None) -> list[float]:
    """Weigh each token of a text by how much a bit of it counts.

    :param text: The text.
    :param offsets: As in `token_importance`.
    :param protect: What is kept as anchors.
    :return: A weight for each token: PLAIN, SALIENT or infinity.
    """
    weights = [PLAIN] * len(text)  # of characters
    for word in _words(text):
        if word.salient:
            weights[word.start : word.end] = [SALIENT] * (word.end - word.start)
    for start, end in protect.ranges(text) if protect else ():
        weights[start:end] = [math.inf] * (end - start)
    return [max(weights[start : max(end, start + 1)], default=PLAIN) for start, end in offsets]


def _by_token(ranges: Iterable[tuple[int, int, float]], offsets: Sequence[tuple[int, int]]) -> list[float]:
    """Give each token the value of the range that its last character is in; ranges leave no character out."""
    ends, values = zip(*((end, value) for _, end, value in ranges), strict=True) if offsets else ((), ())
    return [values[min(bisect_right(ends, max(start, end - 1)), len(ends) - 1)] for start, end in offsets]


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
    for match in WORD.finditer(text):
        yield before, match
        before = match


def _opens_sentence(text: str, before: re.Match[str] | None, word: re.Match[str]) -> bool:
    if before is None:
        return True
    is_initial = len(before.group()) == 1 and before.group().isupper()  # J. Smith
    between = text[before.end() : word.start()]
    return _SENTENCE_BREAK.search(between) is not None and not (is_initial and between.startswith("."))


def _is_capitalised(word: str) -> bool:
    return word[0].isupper() and word.casefold() not in STOP_WORDS


def _has_inner_capital(word: str) -> bool:
    """Tell NASA and McDonald, which are names wherever they stand."""
    return any(map(str.isupper, word[1:]))


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))
