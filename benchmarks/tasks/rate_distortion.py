"""Measure what a ratio costs: how many bits Z-tokens and residual take, and how much code and anchors say alone.

Each ratio is one call of `compress` on all documents, so they share one exchange rate; then free decoding, in which a
wrong token would change the context of all that follow. Every text is to come back at every ratio: identical, BLEU-4,
accuracy, numbers and names (metrics.py) say whether it does. What a ratio costs is

    bits per Z-token, per source token   of Z-tokens and residual
    first guesses                        share of the dropped tokens that the decompressor has right without a residual,
                                         as long as what is before them is right: what code and anchors say
"""

import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.documents import Document
from benchmarks.plan import Plan
from benchmarks.restoring import Restored, restore_ids, source_ids
from zprompt import Codec
from zprompt.eval import CorpusBleu, Interval, Recall, bootstrap, correct_tokens, names, numbers, recall


@dataclass(frozen=True, slots=True)
class RateDocument:
    """One document at one ratio."""

    name: str
    wanted: float
    source_tokens: int
    dropped_tokens: int
    first_guesses: int
    correct_tokens: int
    identical: bool
    bleu: float | None
    numbers: Recall
    names: Recall


@dataclass(frozen=True, slots=True)
class RatePoint:
    """All documents at one ratio."""

    wanted: float
    ratio: float  # reached
    bits_per_z_token: float
    bits_per_source_token: float
    first_guesses: float  # share of the dropped tokens; 1 if there are none
    first_guesses_interval: Interval
    identical: float  # share of the documents that came back byte for byte
    bleu: float
    accuracy: float  # share of the tokens
    numbers: float | None  # recall
    names: float | None


@dataclass(frozen=True, slots=True)
class RateDistortion:
    """The curve."""

    sampled: int  # documents
    source_tokens: int
    usual_ratio: float  # of the same documents without a wanted ratio
    points: tuple[RatePoint, ...]
    documents: tuple[RateDocument, ...]


def measure(codec: Codec, documents: Sequence[Document], plan: Plan) -> RateDistortion:
    """Measure the curve.

    :param codec: The codec.
    :param documents: The documents.
    :param plan: The ratios.
    :return: The curve.
    """
    usual = codec.compress([document.text for document in documents]).stats
    points, rows = [], []
    for wanted in plan.ratios:
        point, found = _point(codec, documents, wanted, plan)
        points.append(point)
        rows += found
    return RateDistortion(len(documents), usual.source_tokens, usual.ratio, tuple(points), tuple(rows))


def _point(
    codec: Codec, documents: Sequence[Document], wanted: float, plan: Plan
) -> tuple[RatePoint, list[RateDocument]]:
    """Compress and restore at one ratio."""
    texts = [document.text for document in documents]
    result = codec.compress(texts, ratio=wanted)
    restored = restore_ids(codec, result.documents)
    bleu = CorpusBleu(texts, [back.text for back in restored])
    rows = [
        _row(codec, document, wanted, back, bleu.score([index]))
        for index, (document, back) in enumerate(zip(documents, restored, strict=True))
    ]
    guesses = functools.partial(_first_guesses, rows)
    return RatePoint(
        wanted=wanted,
        ratio=result.stats.ratio,
        bits_per_z_token=result.stats.bits_per_z_token,
        bits_per_source_token=result.stats.bits_per_source_token,
        first_guesses=guesses(np.arange(len(rows))),
        first_guesses_interval=bootstrap(guesses, len(rows), plan.resamples, plan.seed),
        identical=statistics.mean(row.identical for row in rows),
        bleu=bleu.score() or 0.0,
        accuracy=sum(row.correct_tokens for row in rows) / sum(row.source_tokens for row in rows),
        numbers=Recall.sum(row.numbers for row in rows).share,
        names=Recall.sum(row.names for row in rows).share,
    ), rows


def _row(codec: Codec, document: Document, wanted: float, back: Restored, bleu: float | None) -> RateDocument:
    """Compare one document with its source."""
    ids = source_ids(codec, document.text)
    return RateDocument(
        name=document.name,
        wanted=wanted,
        source_tokens=len(ids),
        dropped_tokens=len(back.symbols),
        first_guesses=back.symbols.count(0),
        correct_tokens=correct_tokens(ids, back.ids),
        identical=back.text == document.text,
        bleu=bleu,
        numbers=recall(numbers(document.text), numbers(back.text)),
        names=recall(names(document.text), names(back.text)),
    )


def _first_guesses(rows: Sequence[RateDocument], chosen: NDArray[np.int64]) -> float:
    """Give the share of first guesses of documents; a document that was drawn twice counts twice."""
    drawn = [rows[int(index)] for index in chosen]
    right, total = sum(row.first_guesses for row in drawn), sum(row.dropped_tokens for row in drawn)
    return right / total if total else 1.0
