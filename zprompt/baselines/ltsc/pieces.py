"""Cut a text where its tokenizer does, in pieces that put together are the text again, whatever the tokenizer loses.

Repeats are sought among these pieces, so that an entry begins and ends with a token. What a tokenizer cannot say about
a text (it drops characters, or cleans up) only makes pieces larger or smaller, never wrong.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Protocol, runtime_checkable

_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_WORD = re.compile(r" ?\w+|\s+|[^\w\s]")
_MOST_TOKENS = 8  # of one piece, where a character takes several


class Tokenizer(Protocol):
    """What tells the tokens of a text; those of `tokenizers`, `transformers` and `tiktoken` do, and the backbone's."""

    def encode(self, text: str, /) -> list[int]:
        """Cut a text into tokens.

        :param text: A text without lone surrogates.
        :return: Token ids.
        """

    def decode(self, ids: list[int], /) -> str:
        """Put tokens together.

        :param ids: Token ids.
        :return: Their text.
        """


@runtime_checkable
class _OffsetTokenizer(Protocol):
    """A tokenizer that says where its tokens lie."""

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]: ...


def count_tokens(text: str, tokenizer: Tokenizer) -> int:
    """Count the tokens of a text.

    :param text: Any string; a lone surrogate counts as the replacement character.
    :param tokenizer: The tokenizer.
    :return: Tokens.
    """
    return len(tokenizer.encode(_SURROGATE.sub(_REPLACEMENT, text)))


def cut(text: str, tokenizer: Tokenizer) -> list[str]:
    """Cut a text into pieces of one token each, or of a few that share a character.

    :param text: Any string.
    :param tokenizer: The tokenizer.
    :return: The pieces; put together, they are the text.
    """
    valid = _SURROGATE.sub(_REPLACEMENT, text)
    if isinstance(tokenizer, _OffsetTokenizer):
        ends = [end for _, end in tokenizer.encode_with_offsets(valid)[1]]
    else:
        ends = _find_ends(valid, tokenizer)
    edges = sorted({0, len(text), *ends})
    return [text[start:end] for start, end in pairwise(edges)]


def _find_ends(text: str, tokenizer: Tokenizer) -> list[int]:
    """Find where tokens end by their texts; where these are not found in a row, words do instead."""
    ids = tokenizer.encode(text)
    ends: list[int] = []
    place = first = 0
    while first < len(ids):
        for last in range(first + 1, first + 1 + _MOST_TOKENS):
            piece = tokenizer.decode(ids[first:last])
            if piece and _REPLACEMENT not in piece and text.startswith(piece, place):
                break
        else:
            return ends + [match.end() for match in _WORD.finditer(text, place)]
        place += len(piece)
        ends.append(place)
        first = last
    return ends
