"""Symbols become one stream and come back; of each content there is one stream, and it costs what it is said to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.errors import DamagedSpanError, OptionError
from zprompt.zspan.range_coder import BUCKETS, DEFAULT_TABLE, LITERALS, RankCode

FLAT_TABLE = (4096 - 9 * 200, *[200] * 9)
STEEP_TABLE = (4096 - 9, *[1] * 9)
TABLES = st.sampled_from([(), DEFAULT_TABLE, FLAT_TABLE, STEEP_TABLE])
VOCABULARIES = st.sampled_from([2, 3, 500, 49152, 65536, 65537, 151_936, 262_144]) | st.integers(2, 1 << 21)
MOST_STATE_BITS = 24  # what the coder's state takes at the end of a stream, where a price knows fractions of bits only


@st.composite
def codes(draw: st.DrawFn) -> RankCode:
    return RankCode(draw(VOCABULARIES), draw(TABLES))


@st.composite
def coded_symbols(draw: st.DrawFn, min_size: int = 0) -> tuple[RankCode, list[int]]:
    code = draw(codes())
    last = LITERALS + code.vocab_size - 1
    symbol = st.just(0) | st.integers(0, 8) | st.integers(0, LITERALS - 1) | st.integers(LITERALS, last) | st.just(last)
    return code, draw(st.lists(symbol, min_size=min_size, max_size=60))


class TestWhatIsWrittenIsRead:
    @given(coded_symbols())
    def test_symbols_of_every_kind(self, given_: tuple[RankCode, list[int]]) -> None:
        code, symbols = given_
        assert code.decode(code.encode(symbols), len(symbols)) == symbols

    @pytest.mark.parametrize("vocab_size", [2, 49152, 65536, 65537, 151_936, 1 << 20])
    def test_every_place_of_a_literal_after_every_bucket(self, vocab_size: int) -> None:
        code = RankCode(vocab_size)
        for rank in (0, 1, 2, 5, 100, 255):
            for literal in (0, 1, vocab_size // 2, vocab_size - 1):
                symbols = [rank, LITERALS + literal] * 20
                assert code.decode(code.encode(symbols), len(symbols)) == symbols

    def test_a_long_text_in_time_proportional_to_its_length(self) -> None:
        code = RankCode(49152)
        symbols = [0, 3, 0, 200, LITERALS + 40_000] * 20_000
        assert code.decode(code.encode(symbols), len(symbols)) == symbols

    def test_nothing(self) -> None:
        assert RankCode(500).encode([]) == b""
        assert RankCode(500).decode(b"", 0) == []


class TestEachContentHasOneStream:
    @given(st.binary(max_size=24), st.integers(0, 40), codes())
    def test_foreign_bytes_give_what_they_stand_for_or_are_refused(
        self, data: bytes, count: int, code: RankCode
    ) -> None:
        try:
            symbols = code.decode(data, count)
        except DamagedSpanError:
            return
        assert len(symbols) == count
        assert code.encode(symbols) == data

    @given(coded_symbols(min_size=1), st.data())
    def test_a_cut_stream_is_refused(self, given_: tuple[RankCode, list[int]], data: st.DataObject) -> None:
        code, symbols = given_
        stream = code.encode(symbols)
        with pytest.raises(DamagedSpanError, match="does not belong"):
            code.decode(stream[: data.draw(st.integers(0, len(stream) - 1))], len(symbols))

    @given(coded_symbols(), st.binary(min_size=1, max_size=6))
    def test_a_stream_with_bytes_behind_it_is_refused(self, given_: tuple[RankCode, list[int]], more: bytes) -> None:
        code, symbols = given_
        with pytest.raises(DamagedSpanError, match="does not belong"):
            code.decode(code.encode(symbols) + more, len(symbols))

    @given(coded_symbols(), st.integers(0, 70))
    def test_a_stream_for_another_count_is_refused(self, given_: tuple[RankCode, list[int]], count: int) -> None:
        code, symbols = given_
        if count != len(symbols):
            with pytest.raises(DamagedSpanError, match=f"does not belong to {count} dropped tokens"):
                code.decode(code.encode(symbols), count)

    @given(coded_symbols(), coded_symbols())
    def test_other_symbols_have_another_stream(
        self, one: tuple[RankCode, list[int]], other: tuple[RankCode, list[int]]
    ) -> None:
        code, symbols = one
        others = [min(symbol, LITERALS + code.vocab_size - 1) for symbol in other[1]]
        assert (code.encode(symbols) == code.encode(others)) == (symbols == others)

    @pytest.mark.parametrize("vocab_size", [3, 49152, 151_936])
    def test_a_literal_beyond_the_vocabulary_is_refused(self, vocab_size: int) -> None:
        code = RankCode(vocab_size)
        for beyond in (vocab_size, (1 << (vocab_size - 1).bit_length()) - 1):
            with pytest.raises(DamagedSpanError, match="does not belong"):
                code.decode(code.encode([0, LITERALS + beyond, 3]), 3)

    def test_a_count_that_no_stream_has_costs_no_more_than_its_symbols(self) -> None:
        with pytest.raises(DamagedSpanError):
            RankCode(500).decode(b"", 100_000)


class TestPrice:
    @given(coded_symbols(min_size=1))
    def test_a_stream_takes_the_bits_of_its_symbols(self, given_: tuple[RankCode, list[int]]) -> None:
        code, symbols = given_
        taken, said = 8 * len(code.encode(symbols)), sum(code.costs(symbols))
        assert said - 1 <= taken <= 1.02 * said + MOST_STATE_BITS + 8

    @given(coded_symbols())
    def test_what_comes_later_does_not_change_the_price_of_what_was_before(
        self, given_: tuple[RankCode, list[int]]
    ) -> None:
        code, symbols = given_
        half = len(symbols) // 2
        assert code.costs(symbols)[:half] == code.costs(symbols[:half])

    @pytest.mark.parametrize("symbol", [0, 1, 200, LITERALS + 7])
    def test_a_symbol_gets_cheaper_the_more_often_it_comes(self, symbol: int) -> None:
        costs = RankCode(49152).costs([symbol] * 300)
        assert costs == sorted(costs, reverse=True) and costs[-1] < costs[0] - 0.3

    def test_a_higher_bucket_of_the_default_table_never_costs_less(self) -> None:
        costs = RankCode(49152).bucket_costs()
        assert costs == sorted(costs)
        assert len(costs) == BUCKETS

    def test_a_literal_costs_its_bucket_and_the_bits_of_an_id(self) -> None:
        assert RankCode(1 << 18).costs([LITERALS])[0] == pytest.approx(RankCode(1 << 16).costs([LITERALS])[0] + 2)

    def test_first_guesses_cost_less_than_a_bit(self) -> None:
        assert sum(RankCode(49152).costs([0] * 100)) < 100


@pytest.mark.parametrize(
    "table",
    [(4096,), (0, 4096 - 8, *[1] * 8), tuple(entry + (k == 0) for k, entry in enumerate(DEFAULT_TABLE))],
    ids=["too few", "an empty bucket", "a sum of 4097"],
)
def test_a_table_that_is_no_distribution_is_refused(table: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="sum 4096"):
        RankCode(49152, table)
