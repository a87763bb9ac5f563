"""Score the sentences of a text by the words that they share with a question, and penalise the loss of each word.

    relevance(s) = sum over words w of the question that are in sentence s of  rarity(w) · (1 - spread(w) / 2)
                   / sum over all words of the question of rarity(w)

rarity is how many bits the word's tokens take by their rank in the vocabulary (a BPE vocabulary is sorted by frequency,
and frequency is about 1 / rank), so it depends on no other text; spread is the share of the text's sentences that have
the word. Between sentences that share the same words, the earlier one scores a little more: LEAD. If a word is not kept
as an anchor, its penalty is

    penalty = 2^(STEEPNESS · (relevance(s) + LEAD · share of the text after the start of s) - distance / HALF) - 1

bits on top of those that restore it, and 0 if s has no word of the question; distance is in words, to the nearest one
that it has. So at a given ratio the text around the question's words is kept word for word in the sentences that have
most of them, rather than a few words of each; the other sentences pay for it (codec/importance.py).
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from zprompt.relevance.units import STOP_WORDS, WORD, sentences, stem

STEEPNESS = 20.0  # doublings of the penalty, from a sentence with no word of the question to one with all
LEAD = 0.1
HALF = 12  # words
RAREST = 30.0  # bits; a word of many tokens is no better evidence than one of two

TokenIds = Callable[[str], list[int]]


class Sentence(NamedTuple):
    """A sentence, compared with a question."""

    start: int  # character
    end: int
    relevance: float  # lead included
    hits: tuple[int, ...]  # which of its words are the question's


def word_penalties(text: str, query: str, encode: TokenIds) -> Iterator[tuple[int, int, float]]:
    """Yield the penalty of each word of a text.

    :param text: The text.
    :param query: The question.
    :param encode: Returns a word's token ids.
    :yields: From left to right, of each word with what follows it, or a sentence without a word of the question: its
        first character, one past its last, and the penalty in bits of each of its tokens. The ranges cover the text.
    """
    for start, end, relevance, hits in relevant_sentences(text, query, encode):
        if not hits:
            yield start, end, 0.0
            continue
        _, *later = (match.start() for match in WORD.finditer(text, start, end))
        edges = [start, *later, end]
        for place, (first, last) in enumerate(pairwise(edges)):
            distance = min(abs(place - hit) for hit in _nearest(hits, place))
            yield first, last, max(0.0, 2 ** (STEEPNESS * relevance - distance / HALF) - 1)


def relevant_sentences(text: str, query: str, encode: TokenIds) -> Iterator[Sentence]:
    """Compare each sentence of a text with a question.

    :param text: The text.
    :param query: The question.
    :param encode: Returns a word's token ids.
    :yields: The sentences, from left to right; they cover the text.
    """
    found = list(sentences(text))
    asked = {stem(word): rarity(word, encode) for word in _content_words(query)}
    words = [[stem(match.group()) for match in WORD.finditer(text, *range_)] for range_ in found]
    spread = Counter(word for own in words for word in asked.keys() & set(own))
    total = sum(asked.values())
    for (start, end), own in zip(found, words, strict=True):
        shared = sum(asked[word] * (1 - spread[word] / len(found) / 2) for word in sorted(asked.keys() & set(own)))
        hits = tuple(place for place, word in enumerate(own) if word in asked)
        lead = LEAD * (1 - start / len(text))
        yield Sentence(start, end, shared / total + lead if hits else 0.0, hits)


def rarity(word: str, encode: TokenIds) -> float:
    """Estimate how rare a word is, in bits."""
    return min(RAREST, sum(math.log2(token + 2) for token in encode(f" {word.casefold()}")))


def _nearest(hits: tuple[int, ...], place: int) -> tuple[int, ...]:
    """Return the last hit before a place, and the first at or after it."""
    index = bisect_left(hits, place)
    return hits[max(0, index - 1) : index + 1]


def _content_words(query: str) -> Iterator[str]:
    words = (match.group() for match in WORD.finditer(query))
    return (word for word in words if word.casefold() not in STOP_WORDS)
