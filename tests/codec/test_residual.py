"""Ranks of a span become one integer and come back; what fits is known beforehand."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zprompt.codec.residual import BUCKETS, DEFAULT_TABLE, RankCode
from zprompt.errors import DamagedSpanError, OptionError

FLAT_TABLE = (4096 - 17 * 200, *[200] * 17)
TABLES = st.sampled_from([(), DEFAULT_TABLE, FLAT_TABLE])
RANKS = st.lists(st.one_of(st.just(0), st.integers(0, 8), st.integers(0, 2**17 - 1)), max_size=15)


@given(RANKS, st.integers(1, 128), TABLES)
def test_ranks_that_fit_come_back(ranks: list[int], bits: int, table: tuple[int, ...]) -> None:
    code = RankCode(bits, table)
    value = code.encode(ranks)
    assume(value is not None)
    assert value is not None
    assert 0 <= value < 1 << bits
    assert code.decode(value, len(ranks)) == ranks


@given(RANKS, st.integers(1, 128), TABLES)
def test_ranks_whose_costs_sum_to_no_more_than_the_bits_fit(
    ranks: list[int], bits: int, table: tuple[int, ...]
) -> None:
    code = RankCode(bits, table)
    costs = code.bucket_costs()
    assume(sum(costs[rank.bit_length()] for rank in ranks) <= bits - 1e-6)
    assert code.encode(ranks) is not None


@given(st.integers(0, 2**24 - 1), st.integers(0, 15), TABLES)
def test_a_foreign_integer_gives_the_ranks_it_stands_for_or_is_refused(
    value: int, count: int, table: tuple[int, ...]
) -> None:
    code = RankCode(24, table)
    try:
        ranks = code.decode(value, count)
    except DamagedSpanError:
        return
    assert len(ranks) == count
    assert code.encode(ranks) == value


@given(st.integers(1, 2**16 - 1))
def test_an_integer_for_no_tokens_is_refused(value: int) -> None:
    with pytest.raises(DamagedSpanError, match="span of 0 tokens"):
        RankCode(16).decode(value, 0)


def test_some_integer_is_refused_where_one_token_leaves_bits_over() -> None:
    code = RankCode(16)
    used = {code.encode([rank]) for rank in range(1 << 8)}
    unused = next(value for value in range(1 << 16) if value not in used and value < 2640 << 4)
    with pytest.raises(DamagedSpanError, match=f"Residual {unused}"):
        code.decode(unused, 1)


def test_best_candidates_alone_take_the_lowest_integer() -> None:
    assert RankCode(24).encode([0] * 15) == 0


def test_a_rank_beyond_the_last_bucket_does_not_fit() -> None:
    assert RankCode(64).encode([2 ** (BUCKETS - 1) - 1]) is not None
    assert RankCode(64).encode([2 ** (BUCKETS - 1)]) is None


def test_ranks_that_do_not_fit_give_none() -> None:
    assert RankCode(16).encode([1000, 1000]) is None


def test_a_higher_bucket_of_the_default_table_never_costs_less() -> None:
    costs = RankCode(24).bucket_costs()
    assert costs == sorted(costs)
    assert len(costs) == BUCKETS


@pytest.mark.parametrize(
    "table",
    [(4096,), (0, 4096 - 16, *[1] * 16), tuple(entry + (k == 0) for k, entry in enumerate(DEFAULT_TABLE))],
    ids=["too few", "an empty bucket", "a sum of 4097"],
)
def test_a_table_that_is_no_distribution_is_refused(table: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="sum 4096"):
        RankCode(24, table)
