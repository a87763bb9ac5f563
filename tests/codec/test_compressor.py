"""What the compressor chooses is what the full vocabulary confirms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.codec.conftest import HeadsFactory
from tests.conftest import SENTENCES
from zprompt.backbone import Backbone
from zprompt.codec import candidates, compressor
from zprompt.codec.candidates import UNRANKED
from zprompt.codec.compressor import Analysis, Compressor, chosen_tokens
from zprompt.codec.decompressor import Decompressor
from zprompt.codec.segmentation import ClearerPrice, ExactPrice, Tiling
from zprompt.codec.settings import CodecSettings
from zprompt.codec.vocabulary import ZToken


@pytest.fixture
def ids(tiny_backbone: Backbone) -> list[int]:
    return tiny_backbone.encode(SENTENCES[4])[:30]


@pytest.fixture
def analysis(tiny_compressor: Compressor, ids: list[int]) -> Analysis:
    return analyse(tiny_compressor, ids)


def analyse(maker: Compressor, ids: list[int], weights: list[float] | None = None, lossy: bool = False) -> Analysis:
    [hidden] = maker.hidden([ids])
    return maker.analyse(ids, hidden, weights, lossy)


def exact_price(maker: Compressor) -> ExactPrice:
    return ExactPrice(maker.budget)


def exact_tiling(maker: Compressor, analysis: Analysis) -> Tiling:
    return maker.tile([analysis], exact_price(maker))[0]


def exact_tokens(maker: Compressor, analysis: Analysis, tiling: Tiling) -> list[ZToken]:
    return maker.z_tokens(analysis, tiling, maker.exact_ranks(analysis, tiling))


def test_hidden_states_are_those_of_each_window_alone(tiny_compressor: Compressor, tiny_backbone: Backbone) -> None:
    windows = [tiny_backbone.encode(sentence)[:32] for sentence in (*SENTENCES, "a")]
    for ids, hidden in zip(windows, tiny_compressor.hidden(windows), strict=True):
        alone = tiny_backbone.hidden(torch.tensor([[tiny_backbone.start_id, *ids[:-1]]]))[0]
        torch.testing.assert_close(hidden, alone, atol=1e-5, rtol=1e-5)


def test_a_tiling_covers_its_window(tiny_compressor: Compressor, analysis: Analysis, ids: list[int]) -> None:
    tiling = exact_tiling(tiny_compressor, analysis)
    assert sum(gap + 1 for gap in tiling) == len(ids)
    assert len(tiling) < len(ids)


def test_every_chosen_span_is_verified_and_fits(tiny_compressor: Compressor, analysis: Analysis) -> None:
    tiling, t = exact_tiling(tiny_compressor, analysis), 0
    bits = tiny_compressor.costs(analysis).bits
    for gap in tiling:
        assert analysis.verified[t, gap]
        assert bits[t, gap] <= tiny_compressor.settings.residual_bits
        t += gap + 1


def test_z_tokens_carry_the_anchors_and_gaps_of_the_tiling(
    tiny_compressor: Compressor, analysis: Analysis, ids: list[int]
) -> None:
    tiling = exact_tiling(tiny_compressor, analysis)
    tokens, t = exact_tokens(tiny_compressor, analysis, tiling), 0
    for token, gap in zip(tokens, tiling, strict=True):
        assert (token.anchor, token.gap) == (ids[t], gap)
        assert gap or (token.code, token.residual) == ((0, 0, 0), 0)
        t += gap + 1


def test_the_same_segment_has_the_same_sub_codes_wherever_it_stands(
    tiny_compressor: Compressor, tiny_backbone: Backbone
) -> None:
    words = tiny_backbone.encode(" the sand and the mud")
    one, two = (analyse(tiny_compressor, tiny_backbone.encode(start)[:9] + words) for start in SENTENCES[:2])
    sizes = tiny_compressor.checker.layout.sizes
    assert torch.equal(one.parts.subcodes[9, :], two.parts.subcodes[9, :]) or len(words) < max(sizes)
    assert torch.equal(one.parts.subcodes[9:, 0], two.parts.subcodes[9:, 0])


def test_bad_estimates_cost_tokens_and_never_exactness(
    tiny_compressor: Compressor,
    tiny_decompressor: Decompressor,
    ids: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = exact_tiling(tiny_compressor, analyse(tiny_compressor, ids))
    monkeypatch.setattr(candidates, "SHORTLIST", 1)
    monkeypatch.setattr(compressor, "ROUNDS", 1)
    analysis = analyse(tiny_compressor, ids)
    analysis.ranks[analysis.ranks != UNRANKED] = 0  # as if everything came back by itself
    tiling = exact_tiling(tiny_compressor, analysis)
    tokens = exact_tokens(tiny_compressor, analysis, tiling)
    assert len(tiling) >= len(good)
    assert tiny_decompressor.restore([tokens], 1) == [ids]


def test_verification_finds_a_rank_that_was_estimated_too_low(tiny_compressor: Compressor, analysis: Analysis) -> None:
    tiling = exact_tiling(tiny_compressor, analysis)
    start = next(t for t, gap in starts_of(tiling) if gap and analysis.ranks[t, gap, 0] > 0)
    gap = dict(starts_of(tiling))[start]
    true = analysis.ranks[start, gap].clone()
    analysis.ranks[start, gap, :gap], analysis.verified[start, gap] = 0, False
    tiny_compressor.verify([(analysis, tiling)])
    assert torch.equal(analysis.ranks[start, gap], true)
    assert analysis.verified[start, gap]


def test_what_is_verified_is_not_verified_again(tiny_compressor: Compressor, analysis: Analysis) -> None:
    tiling = exact_tiling(tiny_compressor, analysis)
    start, gap = next((t, gap) for t, gap in starts_of(tiling) if gap)
    analysis.ranks[start, gap, :gap] = 77  # would be corrected
    tiny_compressor.verify([(analysis, tiling)])
    assert bool((analysis.ranks[start, gap, :gap] == 77).all())


def test_windows_are_tiled_together_as_they_are_alone(tiny_compressor: Compressor, tiny_backbone: Backbone) -> None:
    windows = [tiny_backbone.encode(text)[:32] for text in (*SENTENCES, "a")]
    together = tiny_compressor.tile([analyse(tiny_compressor, ids) for ids in windows], exact_price(tiny_compressor))
    assert together == [exact_tiling(tiny_compressor, analyse(tiny_compressor, ids)) for ids in windows]


def test_no_windows_have_no_tilings(tiny_compressor: Compressor) -> None:
    assert tiny_compressor.tile([], exact_price(tiny_compressor)) == []


def test_the_last_tiling_is_made_of_verified_spans(
    tiny_compressor: Compressor, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressor, "ROUNDS", 1)
    analysis = analyse(tiny_compressor, ids)
    analysis.ranks[analysis.ranks != UNRANKED] = 0  # the one round finds that this is not so
    tiling = exact_tiling(tiny_compressor, analysis)
    assert not analysis.verified[:, 1:].all()
    assert all(analysis.verified[t, gap] for t, gap in starts_of(tiling))


def test_a_margin_that_no_token_keeps_leaves_only_anchors(
    tiny_backbone: Backbone, tiny_settings: CodecSettings, heads_of: HeadsFactory, ids: list[int]
) -> None:
    maker = Compressor(tiny_backbone, heads_of(tiny_backbone, replace(tiny_settings, margin=100.0)))
    assert exact_tiling(maker, analyse(maker, ids)) == [0] * len(ids)


def test_a_clearer_tiling_is_longer_and_leaves_less_to_the_residual(
    tiny_compressor: Compressor, tiny_backbone: Backbone, ids: list[int]
) -> None:
    def bits_of(tiling: Tiling, analysis: Analysis) -> float:
        bits = tiny_compressor.costs(analysis).bits
        return float(sum(bits[t, gap] for t, gap in starts_of(tiling)))

    short, clear = analyse(tiny_compressor, ids), analyse(tiny_compressor, ids)
    shortest = exact_tiling(tiny_compressor, short)
    [clearer] = tiny_compressor.tile([clear], ClearerPrice(tiny_compressor.budget, 0.1))
    assert len(clearer) > len(shortest)
    assert bits_of(clearer, clear) < bits_of(shortest, short)


def test_the_loss_of_a_span_counts_what_its_residual_cannot_restore(
    tiny_compressor: Compressor, ids: list[int]
) -> None:
    costs = tiny_compressor.costs(analyse(tiny_compressor, ids, [2.0] * len(ids), lossy=True), lossy=True)
    gaps = np.broadcast_to(np.arange(costs.loss.shape[1]), costs.loss.shape)
    seen = np.isfinite(costs.loss)
    assert not costs.loss[:, 0].any()
    assert (costs.loss[seen] <= 2 * 2.0 * gaps[seen]).all()  # at its dearest, a token counts twice its weight
    fits = seen & (costs.bits <= tiny_compressor.budget)
    assert not costs.loss[fits].any()
    assert (costs.loss[seen & ~fits] >= 2.0).all()


def test_spans_over_protected_tokens_must_not_be_lost(tiny_compressor: Compressor, ids: list[int]) -> None:
    weights = [1.0] * len(ids)
    weights[7] = float("inf")
    loss = tiny_compressor.costs(analyse(tiny_compressor, ids, weights, lossy=True), lossy=True).loss
    for t, gap in np.argwhere(np.isfinite(loss)):
        assert not t < 7 <= t + gap


def test_a_residual_restores_the_cheapest_ranks_first(tiny_compressor: Compressor) -> None:
    assert tiny_compressor.affordable([0, 1, 0], [1.0] * 3) == [0, 1, 0]
    assert tiny_compressor.affordable([100, 1, 100], [1.0] * 3) in ([100, 1, 0], [0, 1, 100], [0, 1, 0])
    assert tiny_compressor.affordable([60000, 1, 2], [1.0] * 3) == [0, 1, 2]


def test_a_residual_restores_the_dearest_of_equal_ranks_first(tiny_compressor: Compressor) -> None:
    assert tiny_compressor.affordable([100, 100], [1.0, 5.0]) == [0, 100]
    assert tiny_compressor.affordable([100, 100], [5.0, 1.0]) == [100, 0]


def test_a_residual_restores_nothing_that_has_no_rank(tiny_compressor: Compressor) -> None:
    assert tiny_compressor.affordable([UNRANKED, 1], [1.0, 1.0]) == [0, 1]


def test_chosen_tokens_are_those_of_the_wanted_spans() -> None:
    chosen = chosen_tokens([2, 0, 1, 3], np.array([True, False, False, True]), torch.device("cpu"))
    assert chosen.start.tolist() == [0, 0, 6, 6, 6]
    assert chosen.gap.tolist() == [2, 2, 3, 3, 3]
    assert chosen.token.tolist() == [0, 1, 0, 1, 2]
    assert chosen.position.tolist() == [1, 2, 7, 8, 9]


def starts_of(tiling: Tiling) -> list[tuple[int, int]]:
    starts = np.cumsum([0, *(gap + 1 for gap in tiling[:-1])])
    return list(zip(starts.tolist(), tiling, strict=True))
