"""One call tiles all its windows: each at the usual rate, or all at the one that gives the wanted length."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from zprompt.codec import tiling as rate_control
from zprompt.codec.compressor import Analysis, Compressor
from zprompt.codec.decompressor import Decompressor, KnownWindow
from zprompt.codec.importance import TokenImportance
from zprompt.codec.tiling import RateControl, TiledWindow
from zprompt.errors import OptionError
from zprompt.llm import Backbone
from zprompt.options import CompressOptions

RATIOS = [1.0, 1.2, 1.5, 2.0, 2.7, 3.5, 4.0, 5.0, 6.0, 30.0]


@pytest.fixture(scope="module")
def windows(tiny_backbone: Backbone) -> list[list[int]]:
    return [tiny_backbone.encode(text)[:32] for text in (*SENTENCES, " the" * 32)]


def job_of(compressor: Compressor, windows: Sequence[Sequence[int]], batch_size: int = 4) -> RateControl:
    return RateControl(compressor, windows, [[TokenImportance()] * len(ids) for ids in windows], batch_size, None)


def tile(compressor: Compressor, windows: list[list[int]], **options: float) -> list[TiledWindow]:
    return list(job_of(compressor, windows).tile(CompressOptions(**options)))  # type: ignore[arg-type]


def length(tiled: Iterable[TiledWindow]) -> int:
    return sum(len(window.tokens) for window in tiled)


def restore(decompressor: Decompressor, tiled: list[TiledWindow]) -> list[list[int]]:
    known = [KnownWindow(w.tokens, w.symbols) for w in tiled]
    return decompressor.restore(known, 16)


def fewest(windows: list[list[int]], max_gap: int) -> int:
    """Count the Z-tokens of windows whose last tokens stay, and before them one in `max_gap` + 1."""
    return sum(1 + -(-(len(ids) - 1) // (max_gap + 1)) for ids in windows)


@pytest.mark.parametrize("options", [{}, {"ratio": 1.2}, {"ratio": 3.0}, {"ratio": 30.0}, {"max_tokens": 90}])
def test_every_window_is_covered_in_order_and_comes_back(
    tiny_compressor: Compressor,
    tiny_decompressor: Decompressor,
    windows: list[list[int]],
    options: dict[str, float],
) -> None:
    tiled = tile(tiny_compressor, windows, **options)
    for window, ids in zip(tiled, windows, strict=True):
        assert sum(token.gap + 1 for token in window.tokens) == len(ids)
        assert window.tokens[0].anchor == ids[0]
        assert len(window.symbols) == sum(token.gap for token in window.tokens)
    assert restore(tiny_decompressor, tiled) == windows


@pytest.mark.parametrize("ratio", RATIOS[:-3])
def test_a_ratio_is_reached(tiny_compressor: Compressor, windows: list[list[int]], ratio: float) -> None:
    assert length(tile(tiny_compressor, windows, ratio=ratio)) <= sum(map(len, windows)) / ratio


def test_a_higher_ratio_never_gives_more_z_tokens(tiny_compressor: Compressor, windows: list[list[int]]) -> None:
    lengths = [length(tile(tiny_compressor, windows, ratio=ratio)) for ratio in RATIOS]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) > 5


@settings(max_examples=15)
@given(wanted=st.tuples(*[st.floats(1, rate_control.USUAL_THRESHOLD / rate_control.WIDE_THRESHOLD)] * 2).map(sorted))
def test_neither_does_a_ratio_that_is_hardly_higher(
    tiny_compressor: Compressor, windows: list[list[int]], wanted: list[float]
) -> None:
    low, high = (length(tile(tiny_compressor, windows, ratio=ratio)) for ratio in wanted)
    assert high <= low


def test_a_ratio_beyond_all_reach_gives_the_fewest_z_tokens(
    tiny_compressor: Compressor, windows: list[list[int]]
) -> None:
    assert length(tile(tiny_compressor, windows, ratio=100)) == fewest(windows, tiny_compressor.settings.max_gap)


def test_a_ratio_of_one_keeps_every_token(tiny_compressor: Compressor, windows: list[list[int]]) -> None:
    tiled = tile(tiny_compressor, windows, ratio=1)
    assert all(token.gap == 0 for window in tiled for token in window.tokens)


def test_more_room_than_needed_does_not_make_max_tokens_longer(
    tiny_compressor: Compressor, windows: list[list[int]]
) -> None:
    usual = tile(tiny_compressor, windows)
    assert tile(tiny_compressor, windows, max_tokens=10_000) == usual
    assert length(tile(tiny_compressor, windows, max_tokens=length(usual))) <= length(usual)


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_max_tokens_is_kept(tiny_compressor: Compressor, windows: list[list[int]], share: float) -> None:
    most = int(share * length(tile(tiny_compressor, windows)))
    assert 0.9 * most < length(tile(tiny_compressor, windows, max_tokens=most)) <= most


def test_max_tokens_may_be_just_what_the_shortest_tilings_take(
    tiny_compressor: Compressor, windows: list[list[int]]
) -> None:
    most = fewest(windows, tiny_compressor.settings.max_gap)
    assert length(tile(tiny_compressor, windows, max_tokens=most)) == most
    with pytest.raises(OptionError, match=f"max_tokens is {most - 1}, but these documents need {most} Z-tokens"):
        tile(tiny_compressor, windows, max_tokens=most - 1)


def test_max_tokens_below_what_any_tiling_takes_is_refused(
    tiny_compressor: Compressor, windows: list[list[int]]
) -> None:
    with pytest.raises(OptionError, match=r"max_tokens is 7, but these documents need \d+ Z-tokens at least\."):
        tile(tiny_compressor, windows, max_tokens=7)


@pytest.mark.parametrize("options", [CompressOptions(), CompressOptions(ratio=2), CompressOptions(ratio=100)])
def test_progress_counts_every_window_once(
    tiny_compressor: Compressor, windows: list[list[int]], options: CompressOptions
) -> None:
    told: list[tuple[str, int, int]] = []
    importance = [[TokenImportance()] * len(ids) for ids in windows]
    list(RateControl(tiny_compressor, windows, importance, 3, lambda *news: told.append(news)).tile(options))
    assert told == [("compress", done, len(windows)) for done in range(1, len(windows) + 1)]


def test_no_windows_give_no_tilings(tiny_compressor: Compressor) -> None:
    assert tile(tiny_compressor, []) == tile(tiny_compressor, [], ratio=2) == tile(tiny_compressor, [], max_tokens=1)


@pytest.mark.parametrize("options", [CompressOptions(), CompressOptions(ratio=2.5), CompressOptions(ratio=100)])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_tilings_do_not_depend_on_the_batch_size(
    tiny_compressor: Compressor, windows: list[list[int]], options: CompressOptions, batch_size: int
) -> None:
    expected = list(job_of(tiny_compressor, windows).tile(options))
    assert list(job_of(tiny_compressor, windows, batch_size).tile(options)) == expected


def test_documents_share_one_rate(tiny_compressor: Compressor, windows: list[list[int]]) -> None:
    tiled = tile(tiny_compressor, windows, ratio=2.0)
    ratios = [len(ids) / len(window.tokens) for ids, window in zip(windows, tiled, strict=True)]
    assert ratios[-1] == max(ratios)  # the predictable one
    assert min(ratios) < 2.0 < max(ratios)


class TestWideAnalysis:
    """Spans that the LLM alone would need very many bits for are looked at when the length cannot do without."""

    @staticmethod
    def spy(monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """Note the reach of every analysis from now on."""
        thresholds: list[float] = []
        analyse = Compressor.analyse

        def spied(maker: Compressor, ids: list[int], hidden: object, threshold: float, *rest: object) -> Analysis:
            thresholds.append(threshold)
            return analyse(maker, ids, hidden, threshold, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(Compressor, "analyse", spied)
        return thresholds

    def test_a_usual_length_needs_no_second_look(
        self, tiny_compressor: Compressor, windows: list[list[int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        thresholds = self.spy(monkeypatch)
        tile(tiny_compressor, windows, ratio=1.5)
        assert thresholds == [rate_control.USUAL_THRESHOLD] * len(windows)

    def test_a_length_beyond_the_first_reach_is_met_by_a_second_look(
        self,
        tiny_compressor: Compressor,
        tiny_decompressor: Decompressor,
        windows: list[list[int]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        expected = tile(tiny_compressor, windows, ratio=4)
        monkeypatch.setattr(rate_control, "USUAL_THRESHOLD", 8.0)
        monkeypatch.setattr(rate_control, "WIDE_THRESHOLD", 1.0)
        thresholds = self.spy(monkeypatch)
        tiled = tile(tiny_compressor, windows, ratio=4)
        assert thresholds == [8.0] * len(windows) + [float("inf")] * len(windows)
        assert length(tiled) <= sum(map(len, windows)) / 4
        assert length(tiled) == pytest.approx(length(expected), abs=2)
        assert restore(tiny_decompressor, tiled) == windows

    def test_only_what_is_protected_stays_out_of_reach(
        self, tiny_compressor: Compressor, windows: list[list[int]]
    ) -> None:
        importance = [[TokenImportance(np.inf if t == 9 else 1.0) for t in range(len(ids))] for ids in windows]
        job = RateControl(tiny_compressor, windows, importance, 4, None)
        for window, ids in zip(job.tile(CompressOptions(ratio=100)), windows, strict=True):
            starts = np.cumsum([0, *(token.gap + 1 for token in window.tokens)])
            assert 9 in starts
            assert ids[9] == window.tokens[starts.tolist().index(9)].anchor
