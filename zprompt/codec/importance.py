"""How much a reader loses with each token that is dropped.

A tiling keeps the tokens with the largest  w[t] · bits[t]  (tiling.py), because a reader sees anchors and not the
residual; w is the largest weight that applies to any character of the token:

    PLAIN      any other word
    SALIENT    numbers and names: nothing else in the text tells a reader what they are
    infinite   what the caller protects: always an anchor, at any ratio
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

from zprompt.options import Protection
from zprompt.relevance import STOP_WORDS, WORD

PLAIN = 1.0
SALIENT = 2.0

_SENTENCE_BREAK = re.compile(r"[.!?…。！？\n]")


def token_weights(text: str, offsets: Sequence[tuple[int, int]], protect: Protection | None = None) -> list[float]:
    """Return the weight of each token: PLAIN, SALIENT or infinity.

    :param text: The text.
    :param offsets: Character range (start, end) of each token; an empty one counts as the character at its start.
    :param protect: What is always kept as anchors.
    :return: (n,), one for each token.
    """
    weights = [PLAIN] * len(text)  # of characters
    for start, end in _salient_words(text):
        weights[start:end] = [SALIENT] * (end - start)
    for start, end in protect.ranges(text) if protect else ():
        weights[start:end] = [math.inf] * (end - start)
    return [max(weights[start : max(end, start + 1)], default=PLAIN) for start, end in offsets]


def _salient_words(text: str) -> Iterator[tuple[int, int]]:
    """Find numbers and names; a capitalised word that opens a sentence is a name only if it is one elsewhere."""
    words = list(WORD.finditer(text))
    opening = [_opens_sentence(text, previous, word) for previous, word in pairwise(chain([None], words)) if word]
    names = {
        word.group() for word, opens in zip(words, opening, strict=True) if not opens and _is_capitalised(word.group())
    }
    for word in words:
        letters = word.group()
        # An inner capital makes NASA and McDonald names, also at the start of a sentence.
        if any(map(str.isdigit, letters)) or letters in names or any(map(str.isupper, letters[1:])):
            yield word.span()


def _opens_sentence(text: str, previous: re.Match[str] | None, word: re.Match[str]) -> bool:
    if previous is None:
        return True
    is_initial = len(previous.group()) == 1 and previous.group().isupper()  # J. Smith
    between = text[previous.end() : word.start()]
    return _SENTENCE_BREAK.search(between) is not None and not (is_initial and between.startswith("."))


def _is_capitalised(word: str) -> bool:
    return word[0].isupper() and word.casefold() not in STOP_WORDS
