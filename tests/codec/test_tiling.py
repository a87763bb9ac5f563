"""Tilings are the cheapest that there are, and one exchange rate buys the length that was asked for."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.codec.tiling import (
    BISECTIONS,
    LEAST,
    MOST,
    Floats,
    Tiling,
    count_z_tokens,
    highest_rate,
    prices,
    shortest_path,
)

MAX_GAP = 3
STEP = (MOST / LEAST) ** (0.5**BISECTIONS)  # between neighbouring rates
RATES = st.floats(LEAST, MOST)


@st.composite
def price_matrices(draw: st.DrawFn) -> Floats:
    n = draw(st.integers(1, 7))
    prices = st.one_of(st.floats(0.1, 5), st.sampled_from([1.0, np.inf]))
    matrix = np.array(draw(st.lists(st.lists(prices, min_size=4, max_size=4), min_size=n, max_size=n)))
    matrix[:, 0] = draw(st.lists(st.floats(0.1, 5), min_size=n, max_size=n))
    return beyond_the_end_is_forbidden(matrix)


@st.composite
def span_bits(draw: st.DrawFn) -> Floats:
    n = draw(st.integers(1, 12))
    row = st.lists(st.floats(0, 90) | st.just(np.inf), min_size=MAX_GAP + 1, max_size=MAX_GAP + 1)
    bits = np.array(draw(st.lists(row, min_size=n, max_size=n)))
    bits[:, 0] = 0.0
    return beyond_the_end_is_forbidden(bits)


WINDOWS = st.lists(span_bits(), min_size=1, max_size=3)


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


@given(span_bits(), RATES | st.just(0.0))
def test_a_z_token_costs_one_and_its_bits_at_the_rate(bits: Floats, rate: float) -> None:
    price = prices(bits, rate)
    possible = np.isfinite(bits)
    assert np.array_equal(np.isfinite(price), possible)
    assert price[possible] == pytest.approx(1.0 + rate * bits[possible])


def test_at_no_rate_the_fewest_z_tokens_are_the_cheapest() -> None:
    assert count_z_tokens([beyond_the_end_is_forbidden(np.full((8, MAX_GAP + 1), 1e6))], 0.0) == 2


@given(WINDOWS, RATES, st.floats(1.01, 100))
def test_tilings_get_no_shorter_at_a_higher_rate(windows: list[Floats], rate: float, factor: float) -> None:
    assert count_z_tokens(windows, rate) <= count_z_tokens(windows, rate * factor)


@given(WINDOWS, st.floats(1e-3, 1e3), st.floats(1.01, 100))
def test_tilings_leave_no_more_to_the_residual_at_a_higher_rate(
    windows: list[Floats], rate: float, factor: float
) -> None:
    def residual(rate: float) -> float:
        return sum(price_of(shortest_path(prices(bits, rate)), bits) for bits in windows)

    assert residual(rate * factor) <= residual(rate) + 1e-6


@given(WINDOWS, st.integers(1, 40))
def test_the_highest_rate_keeps_to_the_length_wherever_one_can(windows: list[Floats], most: int) -> None:
    assert count_z_tokens(windows, highest_rate(windows, most)) <= max(most, count_z_tokens(windows, 0.0))


@given(WINDOWS, st.integers(1, 40))
def test_no_higher_rate_keeps_to_the_length(windows: list[Floats], most: int) -> None:
    rate = highest_rate(windows, most)
    if LEAST < rate < MOST:
        assert count_z_tokens(windows, rate * STEP**2) > most


@given(WINDOWS, st.data())
def test_more_room_never_gives_shorter_tilings(windows: list[Floats], data: st.DataObject) -> None:
    less = data.draw(st.integers(1, 40))
    more = data.draw(st.integers(less, 41))
    counts = [count_z_tokens(windows, highest_rate(windows, most)) for most in (less, more)]
    assert counts[0] <= counts[1]


def test_a_length_that_no_tiling_has_gives_no_rate() -> None:
    windows = [window_where_a_token_costs(1.0)]
    assert highest_rate(windows, count_z_tokens(windows, 0.0) - 1) == 0.0


def test_the_rate_is_one_for_all_windows_so_the_harder_window_gets_more_tokens() -> None:
    easy, hard = window_where_a_token_costs(0.1), window_where_a_token_costs(3.0)
    rate = highest_rate([easy, hard], 12)
    assert len(shortest_path(prices(easy, rate))) < len(shortest_path(prices(hard, rate)))


def window_where_a_token_costs(bits: float, n: int = 9) -> Floats:
    return beyond_the_end_is_forbidden(np.tile(bits * np.arange(MAX_GAP + 1.0), (n, 1)))
