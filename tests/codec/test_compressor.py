"""What the compressor writes is what the full vocabulary confirms, however rough the estimates were."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.codec.conftest import HeadsFactory
from tests.conftest import SENTENCES
from zprompt.codec import compressor, span_costs
from zprompt.codec.compressor import Analysis, Compressor, TiledWindow
from zprompt.codec.decompressor import Decompressor, KnownWindow
from zprompt.codec.heads import DroppedTokens, right_context
from zprompt.codec.importance import TokenImportance
from zprompt.codec.settings import CodecSettings
from zprompt.codec.tiling import Tiling, prices, shortest_path
from zprompt.llm import Backbone
from zprompt.zspan.range_coder import LITERALS

FAR = float("inf")  # threshold: every span is looked at
RATE = 0.1  # Z-tokens a bit
NEAR = 1e-5  # logits: nearer rivals may change places


@pytest.fixture
def ids(tiny_backbone: Backbone) -> list[int]:
    return tiny_backbone.encode(SENTENCES[4])[:30]


@pytest.fixture
def analysis(tiny_compressor: Compressor, ids: list[int]) -> Analysis:
    return analyse(tiny_compressor, ids)


def analyse(
    maker: Compressor, ids: list[int], importance: list[TokenImportance] | None = None, threshold: float = FAR
) -> Analysis:
    [hidden] = maker.hidden([ids])
    return maker.analyse(ids, hidden, threshold, importance)


def tile(analysis: Analysis, rate: float = RATE) -> Tiling:
    return shortest_path(prices(analysis.bits, rate))


def write(maker: Compressor, analysis: Analysis, rate: float = RATE) -> TiledWindow:
    [written] = maker.write([analysis], [tile(analysis, rate)])
    return written


def restore(decompressor: Decompressor, written: TiledWindow) -> list[int]:
    return decompressor.restore([KnownWindow(written.tokens, written.symbols)], 1)[0]


def test_hidden_states_are_those_of_each_window_alone(tiny_compressor: Compressor, tiny_backbone: Backbone) -> None:
    windows = [tiny_backbone.encode(sentence)[:32] for sentence in (*SENTENCES, "a")]
    for ids, hidden in zip(windows, tiny_compressor.hidden(windows), strict=True):
        alone = tiny_backbone.hidden(torch.tensor([[tiny_backbone.start_id, *ids[:-1]]]))[0]
        torch.testing.assert_close(hidden, alone, atol=1e-5, rtol=1e-5)


def test_an_analysis_gives_the_ids_back_without_padding(analysis: Analysis, ids: list[int]) -> None:
    assert analysis.ids == ids
    assert len(analysis.window.ids) > len(ids)
    assert len(analysis.bits) == len(ids)


def test_keeping_a_token_leaves_nothing_to_the_residual(analysis: Analysis) -> None:
    assert not analysis.bits[:, 0].any()


def test_spans_that_no_anchor_follows_cannot_be_dropped(analysis: Analysis, ids: list[int]) -> None:
    for t in range(len(ids)):
        for gap in range(1, analysis.bits.shape[1]):
            assert np.isfinite(analysis.bits[t, gap]) == (t + gap + 1 < len(ids)), (t, gap)


def test_a_higher_threshold_checks_more_spans_and_changes_none(tiny_compressor: Compressor, ids: list[int]) -> None:
    near, far = (
        analyse(tiny_compressor, ids, threshold=threshold).bits[:, tiny_compressor.span_costs.sampled]
        for threshold in (25.0, FAR)
    )
    seen = np.isfinite(near)
    assert 0 < seen.sum() < np.isfinite(far).sum()
    assert np.array_equal(near[seen], far[seen])


@pytest.mark.parametrize("weight", [2.0, 5.0])
def test_the_bits_of_a_token_count_by_its_weight(tiny_compressor: Compressor, ids: list[int], weight: float) -> None:
    plain = analyse(tiny_compressor, ids).bits
    heavy = analyse(tiny_compressor, ids, [TokenImportance(weight)] * len(ids)).bits
    possible = np.isfinite(plain)
    assert heavy[possible] == pytest.approx(weight * plain[possible])
    assert np.array_equal(np.isfinite(heavy), possible)


def test_only_spans_over_a_heavier_token_cost_more(tiny_compressor: Compressor, ids: list[int]) -> None:
    importance = [TokenImportance()] * len(ids)
    importance[7] = TokenImportance(5.0)
    plain, heavy = analyse(tiny_compressor, ids).bits, analyse(tiny_compressor, ids, importance).bits
    for t, gap in np.argwhere(np.isfinite(plain)):
        if t < 7 <= t + gap:
            assert heavy[t, gap] > plain[t, gap]
        else:
            assert heavy[t, gap] == pytest.approx(plain[t, gap])


def test_what_is_lost_with_a_token_is_added_to_spans_over_it(tiny_compressor: Compressor, ids: list[int]) -> None:
    importance = [TokenImportance(2.0)] * len(ids)
    plain = analyse(tiny_compressor, ids, importance).bits
    importance[7] = TokenImportance(2.0, 30.0)
    dear = analyse(tiny_compressor, ids, importance).bits
    for t, gap in np.argwhere(np.isfinite(plain)):
        assert dear[t, gap] - plain[t, gap] == pytest.approx(60.0 if t < 7 <= t + gap else 0.0, abs=1e-4)


def test_spans_over_a_protected_token_cannot_be_dropped(tiny_compressor: Compressor, ids: list[int]) -> None:
    importance = [TokenImportance()] * len(ids)
    importance[7] = TokenImportance(float("inf"))
    bits = analyse(tiny_compressor, ids, importance).bits
    for t, gap in np.argwhere(np.isfinite(bits)):
        assert not t < 7 <= t + gap
    assert np.isfinite(bits[7, 1:4]).all()  # though it may be the anchor before a span


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 1.0, 1e4])
def test_z_tokens_carry_the_anchors_and_gaps_of_the_tiling(
    tiny_compressor: Compressor, analysis: Analysis, ids: list[int], rate: float
) -> None:
    tiling, written = tile(analysis, rate), write(tiny_compressor, analysis, rate)
    assert sum(gap + 1 for gap in tiling) == len(ids)
    t = 0
    assert len(written.symbols) == sum(tiling)
    for token, gap in zip(written.tokens, tiling, strict=True):
        assert (token.anchor, token.gap) == (ids[t], gap)
        assert gap or token.code == (0, 0, 0)
        t += gap + 1


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 1.0, 1e4])
def test_what_is_written_at_any_rate_comes_back(
    tiny_compressor: Compressor, tiny_decompressor: Decompressor, analysis: Analysis, ids: list[int], rate: float
) -> None:
    assert restore(tiny_decompressor, write(tiny_compressor, analysis, rate)) == ids


def test_a_written_rank_is_the_tokens_place_in_the_full_vocabulary(
    tiny_compressor: Compressor, tiny_backbone: Backbone, analysis: Analysis, ids: list[int]
) -> None:
    written = write(tiny_compressor, analysis, 0.0)
    dropped, head = DroppedTokens.of(written.tokens), tiny_compressor.heads.span_head
    position = torch.from_numpy(dropped.position)
    hidden, true = analysis.window.hidden[position], torch.tensor(ids)[position]
    context = head.left_context(tiny_compressor.heads.embeddings[analysis.window.ids[position - 1]], hidden)
    features = head.features(context + right_context(tiny_compressor.heads, dropped))
    logits = (hidden + head.out(features)) @ tiny_backbone.output_embeddings.T
    symbols = torch.tensor(written.symbols)
    margin = tiny_compressor.settings.margin
    for row, token, symbol in zip(logits, true, symbols, strict=True):
        above, rivals = (row > row[token]).sum(), ((row - row[token]).abs() < margin + NEAR).sum() - 1
        assert symbol == above or (symbol == LITERALS + token and (rivals > 0 or above >= LITERALS))
    assert bool((symbols < LITERALS).any()) and bool((symbols > 0).any())


def test_the_same_segment_has_the_same_sub_codes_wherever_it_stands(
    tiny_compressor: Compressor, tiny_backbone: Backbone
) -> None:
    words = tiny_backbone.encode(" the sand and the mud")
    one, two = (analyse(tiny_compressor, tiny_backbone.encode(start)[:9] + words) for start in SENTENCES[:2])
    sizes = tiny_compressor.span_costs.layout.sizes
    assert len(words) >= max(sizes)
    assert torch.equal(one.subcodes[9, :], two.subcodes[9, :])
    assert torch.equal(one.subcodes[9 : 9 + len(words), 0], two.subcodes[9 : 9 + len(words), 0])


@pytest.mark.parametrize("name", ["SHORTLIST", "COMMON"])
def test_bad_estimates_cost_bits_and_never_exactness(
    tiny_compressor: Compressor,
    tiny_decompressor: Decompressor,
    ids: list[int],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(span_costs, name, 1)
    analysis = analyse(tiny_compressor, ids)
    written = write(tiny_compressor, analysis, 0.01)
    assert len(written.tokens) < len(ids)
    assert restore(tiny_decompressor, written) == ids


def test_estimates_that_say_nothing_is_left_cost_bits_and_never_exactness(
    tiny_compressor: Compressor, tiny_decompressor: Decompressor, analysis: Analysis, ids: list[int]
) -> None:
    hopeful = replace(analysis, bits=np.where(np.isfinite(analysis.bits), 0.0, np.inf))
    written = write(tiny_compressor, hopeful)
    assert len(written.tokens) < len(write(tiny_compressor, analysis).tokens)
    assert restore(tiny_decompressor, written) == ids


def test_windows_are_written_together_as_they_are_alone(tiny_compressor: Compressor, tiny_backbone: Backbone) -> None:
    windows = [tiny_backbone.encode(text)[:32] for text in (*SENTENCES, "a")]
    analyses = [analyse(tiny_compressor, ids) for ids in windows]
    together = tiny_compressor.write(analyses, [tile(analysis) for analysis in analyses])
    assert together == [write(tiny_compressor, analysis) for analysis in analyses]


def test_what_is_written_does_not_depend_on_how_many_rows_are_ranked_at_a_time(
    tiny_compressor: Compressor, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyses = [analyse(tiny_compressor, tiny_backbone.encode(text)[:32]) for text in SENTENCES]
    together = [write(tiny_compressor, analysis) for analysis in analyses]
    monkeypatch.setattr(compressor, "RANKED_ROWS", 7)
    monkeypatch.setattr(compressor, "RANKED_TOP", 2)
    assert [write(tiny_compressor, analysis) for analysis in analyses] == together


def test_no_windows_have_no_z_tokens(tiny_compressor: Compressor) -> None:
    assert tiny_compressor.write([], []) == []
    assert tiny_compressor.hidden([]) == []


@pytest.mark.parametrize("length", range(1, 9))
def test_windows_of_few_tokens_come_back(
    tiny_compressor: Compressor, tiny_decompressor: Decompressor, ids: list[int], length: int
) -> None:
    for rate in (0.0, RATE):
        written = write(tiny_compressor, analyse(tiny_compressor, ids[:length]), rate)
        assert restore(tiny_decompressor, written) == ids[:length]


def test_a_margin_that_no_token_keeps_leaves_literals_only(
    tiny_backbone: Backbone, tiny_settings: CodecSettings, heads_of: HeadsFactory, ids: list[int]
) -> None:
    heads = heads_of(tiny_backbone, replace(tiny_settings, margin=100.0))
    maker, reader = Compressor(tiny_backbone, heads), Decompressor(tiny_backbone, heads)
    written = write(maker, analyse(maker, ids), 0.0)
    assert all(symbol >= LITERALS for symbol in written.symbols)
    assert restore(reader, written) == ids


def test_a_higher_rate_leaves_less_to_the_residual(tiny_compressor: Compressor, analysis: Analysis) -> None:
    def residual(rate: float) -> float:
        written = write(tiny_compressor, analysis, rate)
        return sum(tiny_compressor.rank_code.costs(written.symbols))

    assert residual(1e4) <= residual(0.2) < residual(0.05) < residual(0.0)


def test_estimates_are_near_what_is_written(tiny_compressor: Compressor, tiny_backbone: Backbone) -> None:
    estimated = taken = 0.0
    for text in SENTENCES:
        analysis = analyse(tiny_compressor, tiny_backbone.encode(text)[:32])
        taken += sum(tiny_compressor.rank_code.costs(write(tiny_compressor, analysis).symbols))
        t = 0
        for gap in tile(analysis):
            estimated += analysis.bits[t, gap]
            t += gap + 1
    assert estimated == pytest.approx(taken, rel=0.3)
