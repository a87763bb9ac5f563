"""Tilings are the cheapest that there are, and one exchange rate buys the length that was asked for."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.codec.segmentation import (
    LEAST,
    MOST,
    ClearerPrice,
    ExactPrice,
    Floats,
    LossyPrice,
    SpanCosts,
    Tiling,
    bisect_price,
    count,
    shortest_path,
)

BUDGET = 16.0
MAX_GAP = 3


@st.composite
def price_matrices(draw: st.DrawFn) -> Floats:
    n = draw(st.integers(1, 7))
    prices = st.one_of(st.floats(0.1, 5), st.sampled_from([1.0, np.inf]))
    matrix = np.array(draw(st.lists(st.lists(prices, min_size=4, max_size=4), min_size=n, max_size=n)))
    matrix[:, 0] = draw(st.lists(st.floats(0.1, 5), min_size=n, max_size=n))
    return beyond_the_end_is_forbidden(matrix)


@st.composite
def span_costs(draw: st.DrawFn) -> SpanCosts:
    n = draw(st.integers(1, 12))
    rows = {"min_size": MAX_GAP + 1, "max_size": MAX_GAP + 1}
    tables = [st.lists(st.lists(st.floats(0, 30) | st.just(np.inf), **rows), min_size=n, max_size=n)] * 2
    bits, loss = (np.array(draw(table)) for table in tables)
    bits[:, 0] = loss[:, 0] = 0.0
    return SpanCosts(beyond_the_end_is_forbidden(bits), beyond_the_end_is_forbidden(loss))


def beyond_the_end_is_forbidden(matrix: Floats) -> Floats:
    n, gaps = matrix.shape
    inside = np.arange(n)[:, None] + np.arange(gaps) < n
    return np.where(inside, matrix, np.inf)


def all_tilings(n: int, max_gap: int) -> Iterator[Tiling]:
    if n == 0:
        yield []
    for gap in range(min(max_gap, n - 1) + 1 if n else 0):
        yield from ([gap, *rest] for rest in all_tilings(n - gap - 1, max_gap))


def price_of(tiling: Tiling, matrix: Floats) -> float:
    total, t = 0.0, 0
    for gap in tiling:
        total += matrix[t, gap]
        t += gap + 1
    return total


@given(price_matrices())
def test_no_tiling_is_cheaper_than_the_shortest_path(matrix: Floats) -> None:
    cheapest = min(price_of(tiling, matrix) for tiling in all_tilings(len(matrix), MAX_GAP))
    assert price_of(shortest_path(matrix), matrix) == pytest.approx(cheapest)


@given(price_matrices())
def test_a_tiling_covers_the_window_and_takes_nothing_forbidden(matrix: Floats) -> None:
    tiling = shortest_path(matrix)
    assert sum(gap + 1 for gap in tiling) == len(matrix)
    assert np.isfinite(price_of(tiling, matrix))


def test_a_window_without_spans_is_all_anchors() -> None:
    matrix = np.full((5, 4), np.inf)
    matrix[:, 0] = 1.0
    assert shortest_path(matrix) == [0] * 5


def test_an_empty_window_has_no_tokens() -> None:
    assert shortest_path(np.zeros((0, 4))) == []


@given(span_costs())
def test_the_exact_price_allows_just_the_spans_whose_residual_fits(costs: SpanCosts) -> None:
    price = ExactPrice(BUDGET)(costs)
    assert np.array_equal(np.isfinite(price), costs.bits <= BUDGET)
    assert (price[np.isfinite(price)] == 1.0).all()


@given(span_costs(), st.floats(0, 100))
def test_the_clearer_price_allows_the_same_spans_as_the_exact_one(costs: SpanCosts, plainness: float) -> None:
    clearer, exact = ClearerPrice(BUDGET, plainness)(costs), ExactPrice(BUDGET)(costs)
    assert np.array_equal(np.isfinite(clearer), np.isfinite(exact))
    assert (clearer >= exact).all()


@given(span_costs(), st.floats(0, 100))
def test_the_lossy_price_forbids_just_what_must_not_be_lost(costs: SpanCosts, lossiness: float) -> None:
    price = LossyPrice(lossiness)(costs)
    assert np.array_equal(np.isfinite(price), np.isfinite(costs.loss))
    assert (price >= 1.0).all()


@given(st.lists(span_costs(), min_size=1, max_size=3), st.floats(1e-3, 1e3), st.floats(1.01, 100))
def test_tilings_get_no_shorter_at_a_higher_rate(windows: list[SpanCosts], rate: float, factor: float) -> None:
    assert count(windows, LossyPrice(rate)) <= count(windows, LossyPrice(rate * factor))


@given(st.lists(span_costs(), min_size=1, max_size=3), st.integers(1, 40))
def test_a_bisected_price_keeps_to_the_length_wherever_one_can(windows: list[SpanCosts], most: int) -> None:
    price = bisect_price(windows, LossyPrice, most)
    least = count(windows, LossyPrice(0.0))
    assert count(windows, price) <= max(most, least)


@given(st.lists(span_costs(), min_size=1, max_size=3), st.integers(1, 40))
def test_a_bisected_price_is_the_highest_that_keeps_to_the_length(windows: list[SpanCosts], most: int) -> None:
    price = bisect_price(windows, LossyPrice, most)
    assert isinstance(price, LossyPrice)
    if LEAST < price.lossiness < MOST:
        assert count(windows, LossyPrice(price.lossiness * 1.001)) > most


@given(st.lists(span_costs(), min_size=1, max_size=3), st.data())
def test_more_room_never_gives_shorter_tilings(windows: list[SpanCosts], data: st.DataObject) -> None:
    less = data.draw(st.integers(1, 40))
    more = data.draw(st.integers(less, 41))
    counts = [count(windows, bisect_price(windows, LossyPrice, most)) for most in (less, more)]
    assert counts[0] <= counts[1]


def test_the_rate_is_one_for_all_windows_so_the_harder_window_gets_more_tokens() -> None:
    easy, hard = window_where_a_lost_token_costs(0.1), window_where_a_lost_token_costs(3.0)
    price = bisect_price([easy, hard], LossyPrice, 12)
    assert len(shortest_path(price(easy))) < len(shortest_path(price(hard)))


def window_where_a_lost_token_costs(loss: float, n: int = 9) -> SpanCosts:
    losses = np.tile(loss * np.arange(MAX_GAP + 1.0), (n, 1))
    return SpanCosts(np.zeros_like(losses), beyond_the_end_is_forbidden(losses))
