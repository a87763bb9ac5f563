"""Training drops the spans that a codec of the present quality would drop."""

from collections.abc import Iterator

import numpy as np
import pytest

from zprompt.train.span_sampling import UNSEEN, Floats, RunningCosts, Spans, choose_spans

ROWS, LENGTH, MAX_GAP = 6, 10, 4


@pytest.fixture(params=range(5))
def bits(request: pytest.FixtureRequest) -> Floats:
    drawn: Floats = np.random.default_rng(request.param).exponential(2.0, (ROWS, LENGTH))
    return drawn


@pytest.fixture
def budget() -> Floats:
    return np.array([0.0, 0.5, 2.0, 5.0, 9.0, 1e6])


def tilings(length: int) -> Iterator[list[int]]:
    """Yield every way to cut a window into anchors and spans that an anchor follows."""
    if length == 0:
        yield []
    for gap in range(min(MAX_GAP, length - 2) + 1 if length > 1 else length):
        yield from ([gap, *rest] for rest in tilings(length - gap - 1))


def fits(tiling: list[int], bits: Floats, budget: float) -> bool:
    starts = np.cumsum([0, *(gap + 1 for gap in tiling)])
    return all(not gap or bits[t + 1 : t + 1 + gap].sum() <= budget for t, gap in zip(starts, tiling, strict=False))


def of_row(spans: Spans, row: int) -> list[tuple[int, int]]:
    return sorted(
        (int(t), int(gap)) for w, t, gap in zip(spans.window, spans.start, spans.gap, strict=True) if w == row
    )


def test_as_few_anchors_are_kept_as_any_tiling_needs(bits: Floats, budget: Floats) -> None:
    spans = choose_spans(bits, budget, MAX_GAP)
    for row in range(ROWS):
        fewest = min(len(tiling) for tiling in tilings(LENGTH) if fits(tiling, bits[row], budget[row]))
        assert LENGTH - sum(gap for _, gap in of_row(spans, row)) == fewest


def test_spans_keep_to_their_budget_and_an_anchor_follows_each(bits: Floats, budget: Floats) -> None:
    spans = choose_spans(bits, budget, MAX_GAP)
    for row in range(ROWS):
        end = 0
        for start, gap in of_row(spans, row):
            assert 1 <= gap <= MAX_GAP
            assert start >= end  # where the last span's next anchor is, or later
            end = start + gap + 1
            assert end < LENGTH
            assert bits[row, start + 1 : end].sum() <= budget[row] + 1e-9


def test_no_budget_drops_nothing_and_any_budget_drops_the_longest() -> None:
    spans = choose_spans(np.ones((2, 11)), np.array([0.5, 1e9]), MAX_GAP)
    assert of_row(spans, 0) == []
    assert of_row(spans, 1) == [(0, 4), (5, 4)]


@pytest.mark.parametrize("length", [1, 2])
def test_a_window_without_room_for_a_span_has_none(length: int) -> None:
    assert len(choose_spans(np.zeros((3, length)), np.full(3, 9.0), MAX_GAP).start) == 0


def test_costs_follow_what_is_seen_and_keep_the_rest() -> None:
    costs = RunningCosts((3, 4))
    costs.update(np.array([1, 1]), np.array([0, 3]), np.array([0.0, 100.0], np.float32))
    assert costs.bits[1, 0] == pytest.approx(0.3 * UNSEEN, rel=1e-2)
    assert costs.bits[1, 3] == 20.0  # no token is dearer: else it would never be tried again
    assert (np.delete(costs.bits.ravel(), [4, 7]) == UNSEEN).all()


def test_blurring_draws_other_costs_around_the_same_level() -> None:
    costs, random = RunningCosts((2, 2000)), np.random.default_rng(0)
    first, second = (costs.noisy(np.array([0, 1]), random) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.exp(np.log(first).mean()) == pytest.approx(UNSEEN, rel=0.03)
