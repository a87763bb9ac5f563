"""The most valuable tokens stay as anchors, as many as the options ask for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.codec.tiling import USUAL_WORTH, ScoredWindow, choose_kept, explain_miss, nearest_count
from zprompt.errors import OptionError
from zprompt.options import CompressOptions
from zprompt.zspan import LITERALS, ZToken

some = settings(max_examples=30)


@st.composite
def scored(draw: st.DrawFn) -> ScoredWindow:
    n = draw(st.integers(1, 12))
    ids = draw(st.lists(st.integers(0, 300), min_size=n, max_size=n))
    symbols = draw(st.lists(st.integers(0, 3) | st.integers(0, LITERALS + 300), min_size=n, max_size=n))
    forced = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    forced[0] = True
    weight = np.array(draw(st.lists(st.sampled_from([1.0, 2.0]), min_size=n, max_size=n)))
    return ScoredWindow.of(ids, np.array(symbols), forced, weight)


WINDOWS = st.lists(scored(), min_size=1, max_size=4)
RATIOS = st.floats(1, 30)


def window_of(*symbols: int, forced: tuple[int, ...] = (0,)) -> ScoredWindow:
    mask = np.isin(np.arange(len(symbols)), forced)
    return ScoredWindow.of(range(len(symbols)), np.array(symbols), mask, np.ones(len(symbols)))


def kept_of(windows: list[ScoredWindow], **options: float) -> list[bool]:
    kept = choose_kept(windows, CompressOptions(**options))  # type: ignore[arg-type]
    assert [len(mask) for mask in kept] == [len(window.ids) for window in windows]
    return [bool(is_kept) for mask in kept for is_kept in mask]


def forced_of(windows: list[ScoredWindow]) -> list[bool]:
    return [bool(is_forced) for window in windows for is_forced in np.isinf(window.worth)]


class TestLength:
    @some
    @given(WINDOWS, RATIOS)
    def test_a_ratio_gives_the_nearest_possible_number_of_z_tokens(
        self, windows: list[ScoredWindow], ratio: float
    ) -> None:
        kept, forced = kept_of(windows, ratio=ratio), forced_of(windows)
        nearest = min(range(1, len(kept) + 1), key=lambda count: abs(len(kept) / count - ratio))
        assert abs(len(kept) / nearest - ratio) == abs(len(kept) / nearest_count(len(kept), ratio) - ratio)
        assert sum(kept) == max(sum(forced), nearest_count(len(kept), ratio))

    @some
    @given(WINDOWS, RATIOS, RATIOS)
    def test_tilings_at_several_ratios_are_nested(self, windows: list[ScoredWindow], one: float, other: float) -> None:
        fewer, more = (kept_of(windows, ratio=ratio) for ratio in sorted((one, other), reverse=True))
        assert all(in_more or not in_fewer for in_fewer, in_more in zip(fewer, more, strict=True))

    @some
    @given(WINDOWS, st.integers(1, 60))
    def test_max_tokens_is_never_exceeded_and_changes_nothing_where_there_is_room(
        self, windows: list[ScoredWindow], most: int
    ) -> None:
        usual, forced = kept_of(windows), forced_of(windows)
        if most < sum(forced):
            with pytest.raises(
                OptionError, match=rf"max_tokens={most} is too small: .* need at least {sum(forced)} Z-tokens"
            ):
                kept_of(windows, max_tokens=most)
            return
        kept = kept_of(windows, max_tokens=most)
        assert sum(kept) == min(sum(usual), most)
        if sum(usual) <= most:
            assert kept == usual

    def test_a_ratio_of_one_keeps_everything(self) -> None:
        assert all(kept_of([window_of(0, 0, 0), window_of(0, 9)], ratio=1))

    def test_the_highest_ratio_keeps_what_is_forced(self) -> None:
        assert kept_of([window_of(0, 9, 300, 0, forced=(0, 3))], ratio=float("inf")) == [True, False, False, True]

    def test_no_windows_keep_nothing(self) -> None:
        for options in ({}, {"ratio": 2.0}, {"max_tokens": 1}):
            assert kept_of([], **options) == []

    @pytest.mark.parametrize(
        ("tokens", "ratio", "count"),
        [(100, 4, 25), (10, 3, 3), (10, 4, 3), (10, 4.5, 2), (3, 100, 1), (1, 1, 1), (10, 1.05, 10)],
    )
    def test_the_nearest_count_has_the_nearest_ratio(self, tokens: int, ratio: float, count: int) -> None:
        assert nearest_count(tokens, ratio) == count


class TestWhatIsKept:
    @some
    @given(WINDOWS, RATIOS)
    def test_what_is_forced_is_kept_and_nothing_worth_more_is_dropped(
        self, windows: list[ScoredWindow], ratio: float
    ) -> None:
        kept = np.array(kept_of(windows, ratio=ratio))
        worth = np.concatenate([window.worth for window in windows])
        assert kept[np.isinf(worth)].all()
        if not kept.all():
            assert worth[kept].min() >= worth[~kept].max()

    @some
    @given(WINDOWS)
    def test_without_a_length_each_window_keeps_what_exceeds_the_usual_worth(self, windows: list[ScoredWindow]) -> None:
        kept = kept_of(windows)
        alone = [is_kept for window in windows for is_kept in kept_of([window])]
        assert kept == alone
        assert sum(kept) == sum(int((window.worth > USUAL_WORTH).sum()) for window in windows)

    def test_of_equally_valuable_tokens_the_rarer_and_then_the_first_is_kept(self) -> None:
        window = ScoredWindow.of([5, 7, 9, 9], np.array([0, 3, 3, 3]), np.eye(4)[0] > 0, np.ones(4))
        assert kept_of([window], ratio=2) == [True, False, True, False]

    def test_a_hard_window_gets_more_z_tokens_than_an_easy_one(self) -> None:
        easy, hard = choose_kept([window_of(*[0] * 12), window_of(*[90] * 12)], CompressOptions(ratio=3))
        assert easy.sum() < hard.sum()

    @some
    @given(WINDOWS)
    def test_with_a_query_and_no_ratio_only_forced_tokens_are_kept(self, windows: list[ScoredWindow]) -> None:
        kept = choose_kept(windows, CompressOptions(query="Who?"))
        assert [bool(is_kept) for mask in kept for is_kept in mask] == forced_of(windows)


class TestMisses:
    @some
    @given(WINDOWS, RATIOS)
    def test_only_a_miss_of_more_than_a_tenth_is_explained(self, windows: list[ScoredWindow], ratio: float) -> None:
        count = sum(kept_of(windows, ratio=ratio))
        tokens = sum(len(window.ids) for window in windows)
        missed = explain_miss(windows, count, CompressOptions(ratio=ratio))
        assert (missed is not None) == (abs(tokens / count / ratio - 1) > 0.1)

    def test_too_many_sentences_are_the_reason(self) -> None:
        window = window_of(0, 0, 0, 0, forced=(0, 2))
        assert explain_miss([window], 2, CompressOptions(ratio=4)) == (
            "ratio 4 was requested, but these texts allow at most 2.00: 2 of their 4 tokens begin a sentence or a line"
        )

    def test_protection_is_named_as_a_reason(self) -> None:
        missed = explain_miss([window_of(0, 0, forced=(0, 1))], 2, CompressOptions(ratio=2, protect="x"))
        assert missed and missed.endswith("begin a sentence or a line or are protected")

    def test_too_few_tokens_are_the_reason(self) -> None:
        missed = explain_miss([window_of(0, 0, 0)], 2, CompressOptions(ratio=1.9))
        assert missed == "ratio 1.9 was requested; the nearest for 3 tokens is 1.50"

    @pytest.mark.parametrize("options", [{}, {"max_tokens": 1}])
    def test_without_a_ratio_nothing_is_missed(self, options: dict[str, int]) -> None:
        assert explain_miss([window_of(0, 0)], 1, CompressOptions(**options)) is None  # type: ignore[arg-type]

    def test_no_tokens_miss_nothing(self) -> None:
        assert explain_miss([], 0, CompressOptions(ratio=4)) is None


@some
@given(scored(), RATIOS)
def test_z_tokens_cover_the_window(window: ScoredWindow, ratio: float) -> None:
    [kept] = choose_kept([window], CompressOptions(ratio=ratio))
    tokens = window.z_tokens(kept)
    assert sum(token.gap + 1 for token in tokens) == len(window.ids)
    assert [token.anchor for token in tokens] == window.ids[kept].tolist()


def test_gaps_are_the_numbers_of_dropped_tokens() -> None:
    kept = np.array([True, False, False, True, True, False])
    assert window_of(*[0] * 6).z_tokens(kept) == [ZToken(0, 2), ZToken(3, 0), ZToken(4, 1)]
