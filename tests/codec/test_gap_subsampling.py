"""Gaps that are not looked at are taken to cost what the longer one beside them does."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zprompt.codec.span_costs import fill_between, sampled_gaps

GAPS = st.integers(1, 40)
few = settings(max_examples=30, deadline=None)


def bits_of(n: int, max_gap: int, sampled: list[int]) -> Tensor:
    """Make random bits of the sampled spans that lie in a window; inf for the others."""
    bits = torch.full((n, max_gap + 1, max_gap), float("inf"))
    for t in range(n):
        for gap in sampled:
            if t + gap + 1 < n:
                bits[t, gap, :gap] = torch.rand(gap) * 20
    return bits


@given(GAPS)
def test_the_shortest_and_the_longest_gap_are_looked_at(max_gap: int) -> None:
    sampled = sampled_gaps(max_gap)
    assert (sampled[0], sampled[-1]) == (1, max_gap)
    assert sampled == sorted(set(sampled))


@given(GAPS)
def test_longer_gaps_lie_farther_apart_but_never_by_half(max_gap: int) -> None:
    sampled = sampled_gaps(max_gap)
    steps = [longer - shorter for shorter, longer in pairwise(sampled)]
    assert steps[:-1] == sorted(steps[:-1])  # the last is cut off
    assert all(step <= 1 + gap / 4 for step, gap in zip(steps, sampled, strict=False))


@given(GAPS)
def test_a_longer_codec_looks_at_the_same_short_gaps(max_gap: int) -> None:
    assert sampled_gaps(max_gap)[:-1] == sampled_gaps(max_gap + 1)[: len(sampled_gaps(max_gap)) - 1]


def test_a_good_part_of_the_rows_is_left_out() -> None:
    assert sum(sampled_gaps(23)) < 0.45 * sum(range(24))


@few
@given(GAPS, st.integers(1, 40), st.integers(0, 1000))
def test_what_was_looked_at_stays(max_gap: int, n: int, seed: int) -> None:
    torch.manual_seed(seed)
    sampled = sampled_gaps(max_gap)
    bits = bits_of(n, max_gap, sampled)
    filled = fill_between(bits.clone(), sampled)
    assert torch.equal(filled[:, sampled], bits[:, sampled])


@few
@given(GAPS, st.integers(1, 40), st.integers(0, 1000))
def test_a_token_costs_what_it_does_in_the_longer_span_that_begins_or_ends_with_its_own(
    max_gap: int, n: int, seed: int
) -> None:
    torch.manual_seed(seed)
    sampled = sampled_gaps(max_gap)
    bits = bits_of(n, max_gap, sampled)
    filled = fill_between(bits.clone(), sampled)
    for gap in set(range(1, max_gap + 1)) - set(sampled):
        longer = min(probe for probe in sampled if probe > gap)
        for t in range(n):
            for j in range(gap):
                shift = longer - gap
                left, right = bits[t, longer, j], bits[t - shift, longer, j + shift] if t >= shift else torch.inf
                near, other = (left, right) if j < (gap + 1) // 2 else (right, left)
                assert filled[t, gap, j] == (near if near < torch.inf else other), (t, gap, j)


def test_every_span_between_two_that_were_looked_at_has_a_price() -> None:
    n, max_gap = 60, 23
    sampled = sampled_gaps(max_gap)
    filled = fill_between(bits_of(n, max_gap, sampled), sampled)
    for gap in range(1, max_gap + 1):
        for t in range(max_gap, n - gap - 1 - max_gap):
            assert bool(filled[t, gap, :gap].isfinite().all()), (t, gap)


@pytest.mark.parametrize("n", range(1, 8))
def test_a_window_of_few_tokens_is_filled(n: int) -> None:
    sampled = sampled_gaps(23)
    assert fill_between(bits_of(n, 23, sampled), sampled).shape == (n, 24, 23)


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_spans_that_cost_the_same_cost_the_same_in_between(value: float) -> None:
    sampled = sampled_gaps(23)
    bits = bits_of(50, 23, sampled)
    filled = fill_between(torch.where(bits.isinf(), bits, value), sampled)
    assert set(filled[filled.isfinite()].tolist()) == {value}
