"""The analysis of codes finds the meanings that the test data have."""

import numpy as np
import pytest

from zprompt.train.codes_analysis import Uses, consistency, measure


def uses_of(values: list[int], runs: list[int], vectors: list[tuple[float, float]]) -> Uses:
    array = np.array(vectors, np.float32)
    return Uses(np.array(values), np.zeros(len(values), np.int64), np.array(runs), array)


def test_values_with_one_meaning_are_consistent_and_shuffled_ones_are_not() -> None:
    random = np.random.default_rng(0)
    values = random.integers(2, size=400)
    vectors = [(1.0, 0.0) if value else (-1.0, 0.0) for value in values]
    figures = measure(uses_of(values.tolist(), list(range(400)), vectors), 4, 1, 2.0, 0)

    assert figures.cosine == pytest.approx(1.0) and abs(figures.control) < 0.05
    assert figures.bits == pytest.approx(1.0, abs=0.01) and figures.unused == 0.5
    assert figures.runs == pytest.approx(200, rel=0.1)


def test_pairs_of_the_same_tokens_do_not_count() -> None:
    uses = uses_of([0, 0, 0], [7, 7, 8], [(1.0, 0.0), (1.0, 0.0), (0.0, 1.0)])

    assert consistency(uses, uses.values) == pytest.approx(0.0)


def test_polysemy_is_what_one_counts_by_hand() -> None:
    figures = measure(uses_of([0, 0, 0, 1], [1, 1, 2, 3], [(1.0, 0.0)] * 4), 2, 1, 2.0, 0)

    assert figures.runs == 1.5 and figures.commonest == 0.75
