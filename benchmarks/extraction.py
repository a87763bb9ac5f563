"""Passages shortened to the sentences that share most with the question: what a question-aware codec has to beat.

The codec keeps the very sentences word for word that this keeps (zprompt/codec/relevance.py scores both), but spends
some positions on all others, from which they can be restored. Here they are gone, and all positions go to sentences.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from zprompt import Codec
from zprompt.relevance import relevant_sentences
from benchmarks.old_reader.examples import Asked
from benchmarks.old_reader.prompts import Titled
from benchmarks.old_reader.tiles import Tile

Encode = Callable[[str], list[int]]


def extract(asked: Sequence[Asked], codec: Codec) -> list[Asked]:
    """Shorten the passages of each question to as many tokens as they have Z-tokens together.

    :param asked: The questions.
    :param codec: Its tokenizer counts tokens.
    :return: The same questions; their passages are what is left, without Z-tokens.
    """
    return [_extract(one, codec.backbone.encode) for one in asked]


def choose(texts: Sequence[str], query: str, budget: int, encode: Encode) -> list[str]:
    """Keep the sentences that share most with a question, and fit.

    :param texts: The texts.
    :param query: The question.
    :param budget: Tokens of all that is kept.
    :param encode: Gives token ids.
    :return: What is left of each text, in its order.
    """
    found = [(index, one) for index, text in enumerate(texts) for one in relevant_sentences(text, query, encode)]
    ranked = [(index, one.start, one.end) for index, one in sorted(found, key=lambda each: -each[1].relevance)]
    kept: list[list[tuple[int, int]]] = [[] for _ in texts]
    lengths = [0] * len(texts)
    for index, start, end in ranked:
        longer = sorted([*kept[index], (start, end)])
        length = len(encode(_join(texts[index], longer)))
        if sum(lengths) - lengths[index] + length <= budget:
            kept[index], lengths[index] = longer, length
    return [_join(text, own) for text, own in zip(texts, kept, strict=True)]


def _extract(asked: Asked, encode: Encode) -> Asked:
    texts = [tile.text for _, tile in asked.passages]
    budget = sum(len(tile.tokens) for _, tile in asked.passages)
    short = choose(texts, asked.question, budget, encode)
    passages = tuple(
        Titled(title, _plain_tile(text, encode)) for (title, _), text in zip(asked.passages, short, strict=True)
    )
    return replace(asked, passages=passages)


def _plain_tile(text: str, encode: Encode) -> Tile:
    """Make a tile that can only be given as text."""
    ids = np.array(encode(text), np.int64)
    return Tile(text, "", ids, (), np.zeros(0, np.int64))


def _join(text: str, ranges: Sequence[tuple[int, int]]) -> str:
    return "".join(text[start:end] for start, end in ranges).strip()
