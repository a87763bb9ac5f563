"""Reconstruct texts: how much of them can be had again.

A lossless method gives its text back, and that is compared with the source. The others have no way back: what they left
is all that there is, and it is compared as it stands. BLEU never stands alone: positions ratio, bits and the share of
texts that are back byte for byte are given in the same row (`cells`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zprompt.eval.figures import Figure, Share
from zprompt.eval.metrics import CorpusBleu, names, numbers, recall
from zprompt.eval.samples import Sample
from zprompt.eval.statistics import RESAMPLES, bootstrap
from zprompt.eval.tasks.protocol import Left, Scores

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop


class Reconstruction:
    """Texts of several kinds."""

    name, title, main = "reconstruction", "Reconstruction", "BLEU-4"
    figures = ("BLEU-4", "numbers kept", "names kept")
    restores = True

    def __init__(self, source: str, samples: Sequence[Sample]) -> None:
        """Hold the samples.

        :param source: Where they are from.
        :param samples: One text each.
        """
        self.source, self.samples = source, samples

    def score(self, left: Sequence[Left], workshop: Workshop) -> Scores:
        """Compare what is back with the sources.

        :param left: What a method left of each sample.
        :param workshop: Has the seed of the bootstrap.
        :return: BLEU-4, and the share of numbers and names that are there.
        """
        pairs = [(one.sample.texts[0], one.back[0]) for one in left]
        scores = Scores()
        for title, found in (("numbers kept", numbers), ("names kept", names)):
            recalls = [recall(found(source), found(back)) for source, back in pairs]
            scores.shares[title] = [Share(one.found, one.total) for one in recalls]
        if bleu := _bleu(pairs, workshop.seed):
            scores.whole["BLEU-4"] = bleu
        else:
            scores.missing["BLEU-4"] = "no text has four words in a row"
        return scores


def _bleu(pairs: Sequence[tuple[str, str]], seed: int) -> Figure | None:
    """Give the BLEU of a corpus; it is not the mean of its texts' BLEU."""
    corpus = CorpusBleu([source for source, _ in pairs], [back for _, back in pairs])
    value = corpus.score()
    if value is None:
        # The counts of n-grams are those of what came back: an empty text has none, and is as bad as can be.
        return Figure(0.0, 0.0, 0.0, 0.0, len(pairs)) if any(source.split()[3:] for source, _ in pairs) else None

    def of(rows: NDArray[np.int64]) -> float:
        return corpus.score(rows) or 0.0

    interval = bootstrap(of, len(pairs), RESAMPLES, seed)
    worst = min(of(np.array([row])) for row in range(len(pairs)))
    return Figure(value, interval.low, interval.high, worst, len(pairs))
