"""Estimates are quotients of sums, with intervals."""

import numpy as np
import pytest

from zprompt.eval.statistics import Ratio, bootstrap, estimate, paired_difference


def test_an_estimate_is_the_quotient_of_sums_with_interval_and_worst_case() -> None:
    mean = estimate([Ratio(3, 4), None, Ratio(1, 4), Ratio(0, 0)], seed=0)

    assert mean is not None
    assert (mean.value, mean.worst, mean.samples) == (0.5, 0.25, 2)
    assert (mean.low, mean.high) == (0.25, 0.75)


def test_the_worst_case_is_the_highest_where_less_is_better() -> None:
    mean = estimate([Ratio(3), Ratio(1)], seed=0, less_is_better=True)

    assert mean is not None and mean.worst == 3


def test_samples_without_a_defined_ratio_give_no_estimate() -> None:
    assert estimate([None, Ratio(0, 0)], seed=0) is None


def test_the_interval_of_a_constant_is_a_point() -> None:
    interval = bootstrap(lambda rows: 3.0, count=5, resamples=10, seed=0)

    assert (interval.low, interval.high) == (3.0, 3.0)


def test_the_interval_holds_the_mean_and_is_the_same_for_the_same_seed() -> None:
    values = np.arange(30.0)
    first, second = (bootstrap(lambda rows: float(values[rows].mean()), 30, 500, seed=1) for _ in range(2))

    assert first == second
    assert 9 < first.low < values.mean() < first.high < 20


def test_a_paired_difference_resamples_both_sides_alike() -> None:
    ratios = [Ratio(value) for value in (0.2, 0.5, 0.9)]
    interval = paired_difference([Ratio(ratio.numerator + 0.1) for ratio in ratios], ratios)

    assert (interval.low, interval.high) == pytest.approx((0.1, 0.1))
