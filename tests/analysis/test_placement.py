"""Anchors are counted where they are."""

import pytest

from tests.analysis.conftest import sample_of
from zprompt.analysis.placement import class_shares, density_over_text, density_over_window
from zprompt.analysis.words import CLASSES, word_classes

SAMPLE = sample_of(
    ("then Anna saw 7 dogs there", [1, 2, 3, 4, 5, 6], [(0, (0,)), (1, (1,)), (0, (0,)), (1, (1,))]),
    ("dogs run in Rome now", [5, 7, 8, 9, 6], [(2, (0,)), (1, (0,))]),
)


def test_what_becomes_of_each_class_is_counted() -> None:
    shares = {share.name: share for share in class_shares(SAMPLE, word_classes, CLASSES, seed=0)}

    assert shares["name"].kept.value == 1  # Anna and Rome
    assert shares["number"].tokens == 1
    assert shares["function word"].kept.value == 0  # there, in
    assert shares["other word"].tokens == 6  # then saw dogs dogs run now
    assert shares["other word"].share_of_anchors == pytest.approx(3 / 6)  # then dogs dogs
    assert sum(share.share_of_tokens for share in shares.values()) == pytest.approx(1)
    assert sum(share.share_of_dropped for share in shares.values()) == pytest.approx(1)


def test_density_is_measured_along_texts_and_windows() -> None:
    text = density_over_text(SAMPLE, seed=0)
    window = density_over_window(SAMPLE, window=32, seed=0)

    assert sum(stretch.tokens for stretch in text) == 11
    assert text[0].density.value == 1  # both begin with an anchor
    assert [(stretch.start, stretch.tokens) for stretch in window] == [(0, 4), (2, 4), (4, 3)]
    assert window[0].density.value == pytest.approx(3 / 4)
