"""Z-tokens and symbols become one stream and come back; each content has exactly one stream."""

import time
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.errors import DamagedSpanError, OptionError
from zprompt.zspan.stream import (
    LITERALS,
    MOST_ID_BITS,
    NO_CODE,
    ZToken,
    decode,
    encode,
    measure,
    symbol_bits,
)

Content = tuple[list[ZToken], list[int]]
some = settings(max_examples=20)
RANKS = st.just(0) | st.integers(0, 8) | st.integers(0, LITERALS - 1)


@st.composite
def contents(draw: st.DrawFn, min_size: int = 0, most_subcodes: int = 7) -> Content:
    largest = (1 << draw(st.integers(0, 17))) - 1
    ids = st.integers(0, largest) | st.integers(0, min(largest, 9))
    subcodes = draw(st.integers(0, most_subcodes))
    code = st.tuples(*[st.just(NO_CODE) | st.integers(0, 255)] * subcodes)
    nothing = (NO_CODE,) * subcodes
    gaps = st.just(0) | st.integers(0, 4) | st.integers(0, 30)
    tokens = [
        ZToken(anchor, gap, token_code if gap else nothing)
        for anchor, gap, token_code in draw(st.lists(st.tuples(ids, gaps, code), min_size=min_size, max_size=25))
    ]
    if not any(subcode != NO_CODE for token in tokens for subcode in token.code):
        tokens = [ZToken(token.anchor, token.gap) for token in tokens]
    dropped = sum(token.gap for token in tokens)
    return tokens, draw(st.lists(RANKS | ids.map(LITERALS.__add__), min_size=dropped, max_size=dropped))


def source_tokens(content: Content) -> int:
    return sum(token.gap + 1 for token in content[0])


def round_trip(content: Content) -> Content:
    return decode(encode(*content), len(content[0]), source_tokens(content))


class TestRoundTrip:
    @some
    @given(contents())
    def test_any_z_tokens_and_symbols_come_back(self, content: Content) -> None:
        assert round_trip(content) == content

    @some
    @given(contents(min_size=1, most_subcodes=0), st.integers(0, 24), st.integers(0, 255))
    def test_a_single_code_comes_back_wherever_it_is(self, content: Content, position: int, value: int) -> None:
        tokens = [
            ZToken(token.anchor, token.gap, (NO_CODE, value if token.gap and index == position else NO_CODE))
            for index, token in enumerate(content[0])
        ]
        written = any(token.code[1] == value for token in tokens)
        expected = tokens if written else content[0]
        assert round_trip((tokens, content[1])) == (expected, content[1])

    def test_codes_of_a_later_z_token_come_back_if_the_first_has_none(self) -> None:
        tokens = [ZToken(5, 1), ZToken(6, 1, (NO_CODE, 7)), ZToken(8, 0, (NO_CODE, NO_CODE))]
        decoded, symbols = round_trip((tokens, [0, 3]))
        assert symbols == [0, 3]
        assert decoded[1] == tokens[1]
        assert decoded[0] == ZToken(5, 1, (NO_CODE, NO_CODE))

    def test_nothing_is_an_empty_stream(self) -> None:
        assert encode([], []) == b""
        assert decode(b"", 0, 0) == ([], [])
        assert measure([], []) == ([], [])

    @pytest.mark.parametrize("symbol", [0, 1, 2, 3, 127, 128, 255, LITERALS, LITERALS + 1, LITERALS + 49_151])
    def test_each_kind_of_symbol_comes_back_after_the_others(self, symbol: int) -> None:
        symbols = [symbol, 0, symbol, 200, symbol, LITERALS + 3, symbol, symbol] * 3
        content = [ZToken(9, len(symbols))], symbols
        assert round_trip(content) == content

    def test_the_largest_possible_id_comes_back(self) -> None:
        largest = (1 << MOST_ID_BITS) - 1
        content = [ZToken(largest, 1), ZToken(0, 0)], [LITERALS + largest]
        assert round_trip(content) == content

    def test_a_long_text_comes_back(self) -> None:
        content = [ZToken(3, 4), ZToken(40_000, 0)] * 2_000, [0, 1, 0, 200] * 2_000
        assert round_trip(content) == content

    def test_an_id_that_could_not_be_read_is_not_written(self) -> None:
        with pytest.raises(OptionError, match=f"token {1 << MOST_ID_BITS}"):
            encode([ZToken(1 << MOST_ID_BITS, 0)], [])
        with pytest.raises(OptionError, match=f"token {1 << MOST_ID_BITS}"):
            encode([ZToken(0, 1)], [LITERALS + (1 << MOST_ID_BITS)])


class TestRefusal:
    @some
    @given(st.binary(max_size=24), st.integers(0, 20), st.integers(0, 60))
    def test_any_bytes_are_a_stream_that_we_would_write_or_are_refused(
        self, data: bytes, count: int, source: int
    ) -> None:
        try:
            tokens, symbols = decode(data, count, source)
        except DamagedSpanError:
            return
        assert (len(tokens), source_tokens((tokens, symbols))) == (count, source)
        assert len(symbols) == source - count
        assert encode(tokens, symbols) == data

    @some
    @given(contents(min_size=1), st.integers(0, 30), st.integers(0, 400))
    def test_a_stream_is_not_read_for_other_counts(self, content: Content, count: int, source: int) -> None:
        try:
            decoded = decode(encode(*content), count, source)
        except DamagedSpanError:
            return
        assert (len(decoded[0]), source_tokens(decoded)) == (count, source)

    @some
    @given(contents(min_size=1), st.data())
    def test_a_cut_stream_never_gives_the_same_content(self, content: Content, data: st.DataObject) -> None:
        stream = encode(*content)
        cut = stream[: data.draw(st.integers(0, len(stream) - 1))]
        try:
            assert decode(cut, len(content[0]), source_tokens(content)) != content
        except DamagedSpanError:
            pass

    @some
    @given(contents(), st.binary(min_size=5, max_size=8))
    def test_bytes_after_the_stream_are_refused(self, content: Content, suffix: bytes) -> None:
        with pytest.raises(DamagedSpanError):
            decode(encode(*content) + suffix, len(content[0]), source_tokens(content))

    @pytest.mark.parametrize(("count", "source"), [(0, 1), (1, 0), (3, 2), (-1, 5)])
    def test_counts_that_no_stream_has_are_refused(self, count: int, source: int) -> None:
        with pytest.raises(DamagedSpanError, match=f"{count} Z-tokens for {source} source tokens"):
            decode(b"\x08\x01", count, source)

    @pytest.mark.parametrize("data", [b"", bytes([MOST_ID_BITS + 1 << 3]), b"\xff"])
    def test_an_unknown_layout_is_refused(self, data: bytes) -> None:
        with pytest.raises(DamagedSpanError, match="is not one"):
            decode(data, 1, 2)

    def test_a_layout_that_is_larger_than_needed_is_refused(self) -> None:
        stream = encode([ZToken(9, 0)], [])
        with pytest.raises(DamagedSpanError):
            decode(bytes([stream[0] + 8]) + stream[1:], 1, 1)
        with pytest.raises(DamagedSpanError):
            decode(bytes([stream[0] + 1]) + stream[1:], 1, 1)

    @settings(max_examples=20)
    @given(st.binary(min_size=1, max_size=20), st.sampled_from([1, 1000, 10**6, 10**17]))
    def test_a_few_bytes_do_not_claim_a_million_z_tokens(self, data: bytes, count: int) -> None:
        start = time.process_time()
        with pytest.raises(DamagedSpanError):
            decode(data, count, 10**18)
        assert time.process_time() - start < 3


class TestCost:
    @some
    @given(contents())
    def test_a_stream_takes_the_bits_that_were_measured(self, content: Content) -> None:
        z_token_bits, residual_bits = measure(*content)
        assert (len(z_token_bits), len(residual_bits)) == (len(content[0]), len(content[1]))
        assert all(bits >= 0 for bits in z_token_bits + residual_bits)
        total = sum(z_token_bits) + sum(residual_bits)
        assert 0.95 * total - 24 <= 8 * len(encode(*content)) <= 1.05 * total + 48

    def test_at_a_constant_ratio_a_gap_takes_its_entropy(self) -> None:
        gaps = np.random.default_rng(0).geometric(1 / 4, 2_000) - 1
        tokens = [ZToken(0, int(gap)) for gap in gaps]
        bits, _ = measure(tokens, [0] * int(gaps.sum()))
        assert sum(bits) / len(bits) == pytest.approx(3.245, abs=0.15)

    def test_a_repeated_id_gets_cheap(self) -> None:
        bits, _ = measure([ZToken(40_000, 0)] * 30, [])
        assert bits[0] > 15 and bits[-1] < 3

    def test_a_frequent_id_costs_less_than_a_rare_one(self) -> None:
        [rare, frequent], _ = measure([ZToken(40_000, 0), ZToken(20, 0)], [])
        assert frequent < rare - 4

    def test_the_estimate_of_a_symbol_is_near_its_first_cost(self) -> None:
        estimates = symbol_bits(np.array([0, 1, 3, 200, LITERALS, LITERALS + 40_000]))
        assert list(estimates) == sorted(estimates)
        assert estimates[0] < 2 and estimates[-1] == estimates[-2]
        for symbol, estimate in [(0, estimates[0]), (200, estimates[3])]:
            _, [bits] = measure([ZToken(40_000, 1)], [symbol])
            assert estimate == pytest.approx(bits, abs=2.5)

    def test_a_deeper_rank_never_costs_less(self) -> None:
        estimates = symbol_bits(np.arange(LITERALS + 2))
        assert estimates.tolist() == list(accumulate(estimates, max))
