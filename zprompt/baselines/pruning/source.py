"""Cut documents into words and passages, and say which tokens each has.

A passage is what the coarse step keeps or drops: a whole document if there are several, else a paragraph, else a
sentence; and never more than the model can read at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zprompt.baselines.words import Word, split_words, words_of_tokens

if TYPE_CHECKING:
    from zprompt.codec import Protection
    from zprompt.llm import TextTokenizer

_SENTENCE_ENDS = ".!?…。！？"
_CLOSING = "\"'”’»)]"


@dataclass(frozen=True, slots=True)
class Source:
    """A document, its tokens and its words."""

    text: str
    ids: list[int]
    blank: list[bool]  # tokens of nothing but white space: they are part of a word, and say nothing about it
    words: list[Word]
    owners: list[int]  # the word of each token, from left to right

    @classmethod
    def of(cls, text: str, tokenizer: TextTokenizer) -> Source:
        """Read a document.

        :param text: The document.
        :param tokenizer: Cuts it into tokens.
        :return: The source.
        """
        ids, offsets = tokenizer.encode_with_offsets(text)
        words = split_words(text)
        blank = [not text[start:end].strip() for start, end in offsets]
        return cls(text, ids, blank, words, words_of_tokens(words, offsets))

    def tokens(self, first: int, last: int) -> range:
        """Say which tokens some words have.

        :param first: The first word.
        :param last: One past the last word.
        :return: Places of the tokens.
        """
        return range(bisect_left(self.owners, first), bisect_left(self.owners, last))

    def costs(self) -> list[int]:
        """Count the tokens of each word.

        :return: One number for each word.
        """
        costs = [0] * len(self.words)
        for owner in self.owners:
            costs[owner] += 1
        return costs

    def protected(self, protection: Protection) -> list[bool]:
        """Say which words are protected.

        :param protection: What is.
        :return: One value for each word; a word that is protected in part is so as a whole.
        """
        marked = [False] * len(self.words)
        ends = [word.end for word in self.words]
        for start, end in protection.ranges(self.text):
            for place in range(bisect_left(ends, start + 1), len(ends)):
                word = self.words[place]
                if word.end - len(word.text) >= end:
                    break
                marked[place] = True
        return marked


@dataclass(frozen=True, slots=True)
class Passage:
    """Some words of a document that belong together."""

    document: int
    first: int  # word
    last: int  # one past the last word
    tokens: range  # places of its tokens in the document


def cut_passages(sources: Sequence[Source], limit: int) -> list[Passage]:
    """Cut documents into passages.

    :param sources: The documents.
    :param limit: Tokens that a passage may have; a word that is longer stays whole.
    :return: The passages, in order; together they have all words.
    """
    passages = []
    for document, source in enumerate(sources):
        starts = [0] if len(sources) > 1 or not source.words else _starts(source.words)
        for begin, end in zip(starts, [*starts[1:], len(source.words)], strict=True):
            for first, last in cut_range(source, begin, end, limit):
                passages.append(Passage(document, first, last, source.tokens(first, last)))
    return passages


def _starts(words: Sequence[Word]) -> list[int]:
    """Say where paragraphs begin, or sentences where there is only one paragraph."""
    paragraphs = [place for place, word in enumerate(words) if place == 0 or word.before.count("\n") > 1]
    if len(paragraphs) > 1:
        return paragraphs
    return [place for place in range(len(words)) if place == 0 or _ends_sentence(words[place - 1], words[place])]


def _ends_sentence(word: Word, following: Word) -> bool:
    """Say whether a sentence ends between two words."""
    end = word.text.rstrip(_CLOSING)[-1:]
    return "\n" in following.before or (
        bool(end) and end in _SENTENCE_ENDS and (bool(following.before) or end in "。！？")
    )


def cut_range(source: Source, first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut some words of a document into runs.

    :param source: The document.
    :param first: The first word.
    :param last: One past the last word.
    :param size: Tokens that a run may have; a word that is longer stays whole.
    :return: Ranges of words, none of them empty.
    :yields: The first word and one past the last.
    """
    start = first
    for place in range(first + 1, last):
        if len(source.tokens(start, place + 1)) > size:
            yield start, place
            start = place
    if last > start:
        yield start, last
