"""Where Z-tokens go: which words are kept as anchors, and where in a text anchors are dense.

    kept       share of a class's tokens that are anchors; that of all tokens is 1 / ratio
    density    anchors per source token, along a text (in tenths) and along a window (its first tokens have no context)

Intervals are over texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zprompt.analysis.intervals import Estimate, Ints, estimate, quotient
from zprompt.analysis.sample import Sample
from zprompt.analysis.words import Classify

TENTHS = 10  # of a text
BINS = 16  # of a window


@dataclass(frozen=True, slots=True)
class ClassShare:
    """What becomes of one class of words."""

    name: str
    tokens: int
    share_of_tokens: float
    share_of_anchors: float
    share_of_dropped: float
    kept: Estimate


@dataclass(frozen=True, slots=True)
class Density:
    """Anchors per source token in one stretch."""

    start: float  # share of the text, or source token of the window
    tokens: int
    density: Estimate


def class_shares(sample: Sample, classify: Classify, classes: Sequence[str], seed: int) -> tuple[ClassShare, ...]:
    """Count anchors and dropped tokens of each class.

    :param sample: The texts.
    :param classify: Gives the class of each token of a text.
    :param classes: The classes, in the order of the result; those that do not occur are left out.
    :param seed: Of the bootstrap.
    :return: The figures.
    """
    place = {name: index for index, name in enumerate(classes)}
    labels = [np.array([place[name] for name in classify(d.text, d.offsets)], np.int64) for d in sample.documents]
    tokens, anchors = _count(sample, labels, len(classes))
    dropped = tokens - anchors
    return tuple(
        ClassShare(
            name=name,
            tokens=int(tokens[:, i].sum()),
            share_of_tokens=float(tokens[:, i].sum() / tokens.sum()),
            share_of_anchors=float(anchors[:, i].sum() / anchors.sum()),
            share_of_dropped=float(dropped[:, i].sum() / max(1, dropped.sum())),
            kept=kept,
        )
        for i, name in enumerate(classes)
        if (kept := _kept(tokens, anchors, i, seed)) is not None
    )


def density_over_text(sample: Sample, seed: int) -> tuple[Density, ...]:
    """Measure the density in each tenth of the texts.

    :param sample: The texts.
    :param seed: Of the bootstrap.
    :return: The tenths in which there are tokens.
    """
    labels = [np.arange(len(d.tile.ids)) * TENTHS // len(d.tile.ids) for d in sample.documents]
    return _densities(sample, labels, TENTHS, 1 / TENTHS, seed)


def density_over_window(sample: Sample, window: int, seed: int) -> tuple[Density, ...]:
    """Measure the density along the windows.

    :param sample: The texts.
    :param window: Source tokens of a window.
    :param seed: Of the bootstrap.
    :return: The stretches in which there are tokens.
    """
    size = -(-window // BINS)
    labels = [np.arange(len(d.tile.ids)) % window // size for d in sample.documents]
    return _densities(sample, labels, BINS, size, seed)


def _densities(sample: Sample, labels: Sequence[Ints], count: int, step: float, seed: int) -> tuple[Density, ...]:
    tokens, anchors = _count(sample, labels, count)
    return tuple(
        Density(round(i * step, 6), int(tokens[:, i].sum()), kept)
        for i in range(count)
        if (kept := _kept(tokens, anchors, i, seed)) is not None
    )


def _kept(tokens: Ints, anchors: Ints, column: int, seed: int) -> Estimate | None:
    return estimate(
        quotient(*(counts[:, column].astype(np.float64) for counts in (anchors, tokens))), len(tokens), seed
    )


def _count(sample: Sample, labels: Sequence[Ints], count: int) -> tuple[Ints, Ints]:
    """Count tokens, and anchors, of each label in each text: (texts, count) each."""
    pairs = list(zip(sample.documents, labels, strict=True))
    tokens = [np.bincount(own, minlength=count) for _, own in pairs]
    anchors = [np.bincount(own[document.anchors], minlength=count) for document, own in pairs]
    return np.array(tokens), np.array(anchors)
