"""One call tiles all its windows: each as short as it gets, or all at one rate."""

import pytest

from tests.conftest import SENTENCES
from zprompt.backbone import Backbone
from zprompt.codec import planning
from zprompt.codec.compressor import Compressor
from zprompt.codec.options import CompressOptions
from zprompt.codec.planning import TiledWindow, tile_windows
from zprompt.errors import OptionError


@pytest.fixture(scope="module")
def windows(tiny_backbone: Backbone) -> list[list[int]]:
    return [tiny_backbone.encode(text)[:32] for text in (*SENTENCES, " the" * 32)]


def tile(compressor: Compressor, windows: list[list[int]], **options: float) -> list[TiledWindow]:
    weights = [[1.0] * len(ids) for ids in windows]
    return list(tile_windows(compressor, windows, weights, CompressOptions(**options), 4, None))  # type: ignore[arg-type]


def length(tiled: list[TiledWindow]) -> int:
    return sum(len(window.tokens) for window in tiled)


def test_every_window_is_covered_in_order(tiny_compressor: Compressor, windows: list[list[int]]) -> None:
    for options in ({}, {"ratio": 1.2}, {"ratio": 3.0}, {"max_tokens": 90}):
        tiled = tile(tiny_compressor, windows, **options)
        for window, ids in zip(tiled, windows, strict=True):
            assert sum(token.gap + 1 for token in window.tokens) == len(ids) == len(window.restored)
            assert window.tokens[0].anchor == ids[0]
            assert len(window.costs) == len(window.tokens)


def test_without_a_length_nothing_is_wrong_and_every_token_costs_one(
    tiny_compressor: Compressor, windows: list[list[int]]
) -> None:
    for window, ids in zip(tile(tiny_compressor, windows), windows, strict=True):
        assert window.exact
        assert window.wrong == 0
        assert window.restored == ids
        assert set(window.costs) == {1.0}


def test_a_ratio_below_the_exact_one_stays_exact(tiny_compressor: Compressor, windows: list[list[int]]) -> None:
    source, shortest = sum(map(len, windows)), length(tile(tiny_compressor, windows))
    for ratio in (1.0, 1.2, source / shortest):
        tiled = tile(tiny_compressor, windows, ratio=ratio)
        assert all(window.exact for window in tiled)
        assert shortest <= length(tiled) <= source / ratio


def test_a_lower_ratio_buys_clearer_z_tokens(tiny_compressor: Compressor, windows: list[list[int]]) -> None:
    assert length(tile(tiny_compressor, windows, ratio=1.2)) > length(tile(tiny_compressor, windows))


def test_more_room_than_needed_does_not_make_max_tokens_longer(
    tiny_compressor: Compressor, windows: list[list[int]]
) -> None:
    assert length(tile(tiny_compressor, windows, max_tokens=10_000)) == length(tile(tiny_compressor, windows))


def test_a_ratio_that_no_exact_tiling_has_is_reached_with_loss(
    tiny_compressor: Compressor, windows: list[list[int]]
) -> None:
    source, shortest = sum(map(len, windows)), length(tile(tiny_compressor, windows))
    tiled = tile(tiny_compressor, windows, ratio=1.2 * source / shortest)
    assert length(tiled) <= shortest / 1.2
    assert any(window.wrong for window in tiled)
    assert any(cost > 1.0 for window in tiled for cost in window.costs)


def test_wrong_counts_the_tokens_that_differ(tiny_compressor: Compressor, windows: list[list[int]]) -> None:
    for window, ids in zip(tile(tiny_compressor, windows, ratio=3), windows, strict=True):
        assert window.wrong == sum(a != b for a, b in zip(window.restored, ids, strict=True))


def test_max_tokens_below_what_any_tiling_takes_is_refused(
    tiny_compressor: Compressor, windows: list[list[int]]
) -> None:
    with pytest.raises(OptionError, match=r"max_tokens is 7, but these documents need \d+ Z-tokens at least\."):
        tile(tiny_compressor, windows, max_tokens=7)


@pytest.mark.parametrize("options", [CompressOptions(), CompressOptions(ratio=2)], ids=["exact", "lossy"])
def test_progress_counts_every_window(
    tiny_compressor: Compressor, windows: list[list[int]], options: CompressOptions
) -> None:
    told: list[tuple[str, int, int]] = []
    weights = [[1.0] * len(ids) for ids in windows]
    list(tile_windows(tiny_compressor, windows, weights, options, 3, lambda *news: told.append(news)))
    assert told == [("compress", done, len(windows)) for done in range(1, len(windows) + 1)]


def test_no_windows_give_no_tilings(tiny_compressor: Compressor) -> None:
    assert tile(tiny_compressor, []) == tile(tiny_compressor, [], ratio=2) == []


def test_a_length_that_verification_breaks_again_and_again_falls_back_to_the_shortest_tilings(
    tiny_compressor: Compressor, windows: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shortest = length(tile(tiny_compressor, windows))
    monkeypatch.setattr(planning, "CORRECTIONS", 0)
    assert length(tile(tiny_compressor, windows, ratio=1.2)) == shortest
