"""Measure loss against length: what comes back when Z-tokens are made to stand for more than they can hold.

Each ratio is one call of `compress` on all documents, so they share one exchange rate; then free decoding, in which a
wrong token changes the context of all that follow. Metrics: see metrics.py.
"""

import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.documents import Document
from benchmarks.metrics import CorpusBleu, Interval, Recall, bootstrap, correct_tokens, names, numbers, recall
from benchmarks.plan import Plan
from benchmarks.restoring import Restored, restore_ids, source_ids
from zprompt import Codec


@dataclass(frozen=True, slots=True)
class LossyDocument:
    """One document at one ratio."""

    name: str
    wanted: float
    source_tokens: int
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
    bits_per_source_token: float
    identical: float  # share of the documents that came back byte for byte
    bleu: float
    bleu_interval: Interval
    median_bleu: float  # of the documents
    worst_bleu: float
    worst_document: str
    accuracy: float
    accuracy_interval: Interval
    worst_accuracy: float
    numbers: float | None  # recall
    names: float | None


@dataclass(frozen=True, slots=True)
class RateDistortion:
    """The curve."""

    bits_per_z_token: int
    sampled: int  # documents
    source_tokens: int
    exact_ratio: float  # of the same documents in exact mode
    points: tuple[RatePoint, ...]
    documents: tuple[LossyDocument, ...]


def measure(codec: Codec, documents: Sequence[Document], plan: Plan) -> RateDistortion:
    """Measure the curve.

    :param codec: The codec.
    :param documents: The documents.
    :param plan: The ratios.
    :return: The curve.
    """
    exact = codec.compress([document.text for document in documents]).stats
    points, rows = [], []
    for wanted in plan.ratios:
        point, found = _point(codec, documents, wanted, plan)
        points.append(point)
        rows += found
    bits = codec.alphabet.bits_per_z_token
    return RateDistortion(bits, len(documents), exact.source_tokens, exact.ratio, tuple(points), tuple(rows))


def _point(
    codec: Codec, documents: Sequence[Document], wanted: float, plan: Plan
) -> tuple[RatePoint, list[LossyDocument]]:
    """Compress and restore at one ratio."""
    texts = [document.text for document in documents]
    result = codec.compress(texts, ratio=wanted)
    restored = restore_ids(codec, result.documents)
    bleu = CorpusBleu(texts, [back.text for back in restored])
    rows = [
        _row(codec, document, wanted, back, bleu.score([index]))
        for index, (document, back) in enumerate(zip(documents, restored, strict=True))
    ]
    accuracy = functools.partial(_accuracy, rows)
    interval = functools.partial(bootstrap, count=len(rows), resamples=plan.resamples, seed=plan.seed)
    judged = [(row.bleu, row.name) for row in rows if row.bleu is not None]
    return RatePoint(
        wanted=wanted,
        ratio=result.stats.ratio,
        bits_per_source_token=result.stats.bits_per_source_token,
        identical=statistics.mean(row.identical for row in rows),
        bleu=bleu.score() or 0.0,
        bleu_interval=interval(lambda chosen: bleu.score(chosen) or 0.0),
        median_bleu=statistics.median(score for score, _ in judged),
        worst_bleu=min(judged)[0],
        worst_document=min(judged)[1],
        accuracy=accuracy(np.arange(len(rows))),
        accuracy_interval=interval(accuracy),
        worst_accuracy=min(row.correct_tokens / row.source_tokens for row in rows),
        numbers=Recall.sum(row.numbers for row in rows).share,
        names=Recall.sum(row.names for row in rows).share,
    ), rows


def _row(codec: Codec, document: Document, wanted: float, back: Restored, bleu: float | None) -> LossyDocument:
    """Compare one document with its source."""
    ids = source_ids(codec, document.text)
    return LossyDocument(
        name=document.name,
        wanted=wanted,
        source_tokens=len(ids),
        correct_tokens=correct_tokens(ids, back.ids),
        identical=back.text == document.text,
        bleu=bleu,
        numbers=recall(numbers(document.text), numbers(back.text)),
        names=recall(names(document.text), names(back.text)),
    )


def _accuracy(rows: Sequence[LossyDocument], chosen: NDArray[np.int64]) -> float:
    """Give the token accuracy of documents; a document that was drawn twice counts twice."""
    drawn = [rows[int(index)] for index in chosen]
    correct, total = sum(row.correct_tokens for row in drawn), sum(row.source_tokens for row in drawn)
    return correct / total
