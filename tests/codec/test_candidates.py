"""The quick ranks of all spans agree with the decompressor's own arithmetic."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import SENTENCES
from zprompt.backbone import Backbone
from zprompt.codec import candidates
from zprompt.codec.candidates import AMBIGUOUS, DEEPEST, SHORTLIST, UNRANKED, SpanChecker, SpanParts, Window
from zprompt.codec.compressor import Compressor
from zprompt.codec.decompressor import Decompressor
from zprompt.codec.residual import RankCode

NEAR = 1e-5  # logits: nearer rivals may change places
FAR = 1e9  # bits of reach: every span is looked at


@pytest.fixture(scope="module")
def window(tiny_backbone: Backbone, tiny_compressor: Compressor) -> Window:
    ids = tiny_backbone.encode(SENTENCES[2])[:24]
    [hidden] = tiny_compressor.hidden([ids])
    return tiny_compressor.window(torch.tensor(ids), hidden)


@pytest.fixture
def checker(tiny_compressor: Compressor) -> SpanChecker:
    return tiny_compressor.checker


@pytest.fixture
def parts(checker: SpanChecker, window: Window) -> SpanParts:
    return checker.parts(window)


def spans(window: Window, max_gap: int) -> Iterator[tuple[int, int]]:
    """Give every span (t, g) that an anchor follows."""
    return ((t, g) for t in range(window.length) for g in range(1, max_gap + 1) if t + g + 1 < window.length)


def code_of(checker: SpanChecker, parts: SpanParts, t: int, gap: int) -> list[int]:
    start, role = checker.layout.start[gap], checker.layout.role[gap]
    return [int(parts.subcodes[t + 1 + s, r]) for s, r in zip(start, role, strict=True)]


def decompressor_features(
    decompressor: Decompressor, checker: SpanChecker, window: Window, parts: SpanParts, t: int, gap: int
) -> Tensor:
    """Compute the features of a span's tokens as the decompressor does: (g, W)."""
    code = np.array([code_of(checker, parts, t, gap)] * gap)
    anchor = np.full(gap, int(window.ids[t + gap + 1]))
    ahead = decompressor._ahead(np.arange(gap), np.full(gap, gap), anchor, code)
    head, previous = decompressor.heads.span_head, decompressor.heads.embeddings[window.ids[t : t + gap]]
    return head.features(head.context(previous, window.hidden[t + 1 : t + 1 + gap]) + ahead)


def test_compressor_and_decompressor_compute_the_same_features(
    checker: SpanChecker, tiny_decompressor: Decompressor, window: Window, parts: SpanParts
) -> None:
    for t, gap in spans(window, checker.settings.max_gap):
        token = torch.arange(gap)
        quick = checker.features(parts, t + 1 + token, token, torch.full((gap,), gap))
        slow = decompressor_features(tiny_decompressor, checker, window, parts, t, gap)
        torch.testing.assert_close(quick, slow, atol=1e-4, rtol=0)


def test_features_tell_codes_apart(checker: SpanChecker, window: Window, parts: SpanParts) -> None:
    other = checker.parts(window, (parts.subcodes + 1) % checker.settings.subcode_size)
    row = (torch.tensor([4]), torch.tensor([0]), torch.tensor([3]))
    assert not torch.allclose(checker.features(parts, *row), checker.features(other, *row))


def full_vocabulary_logits(
    decompressor: Decompressor, checker: SpanChecker, window: Window, parts: SpanParts, t: int, gap: int
) -> tuple[Tensor, Tensor]:
    """Compute the logits of a span's tokens, (g, V), and those of the true ones, (g, 1)."""
    features = decompressor_features(decompressor, checker, window, parts, t, gap)
    rows = slice(t + 1, t + 1 + gap)
    logits = (window.hidden[rows] + decompressor.heads.span_head.out(features)) @ checker.output.T
    return logits, logits.gather(1, window.ids[rows, None])


def base_logits(checker: SpanChecker, window: Window) -> Tensor:
    """Compute the logits that all spans around a token share: (n, V)."""
    logits: Tensor = (window.hidden + checker.heads.span_head.out.bias) @ checker.output.T
    return logits


def ranks_in(logits: Tensor, ids: Tensor) -> Tensor:
    """Rank tokens among logits: (n,)."""
    return (logits > logits.gather(1, ids[:, None])).sum(1)


def test_a_shortlist_of_the_whole_vocabulary_gives_true_ranks(
    checker: SpanChecker,
    tiny_decompressor: Decompressor,
    window: Window,
    parts: SpanParts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candidates, "SHORTLIST", 10**6)
    ranks = checker.rank(window, parts, FAR)
    for t, gap in spans(window, checker.settings.max_gap):
        logits, true = full_vocabulary_logits(tiny_decompressor, checker, window, parts, t, gap)
        least, most = (logits > true + NEAR).sum(1), (logits > true - NEAR).sum(1) - 1
        contested = ((logits - true).abs() < checker.settings.margin + NEAR).sum(1) > 1  # by others than itself
        found = ranks[t, gap, :gap]
        assert bool(((least <= found) & (found <= most) | (found == AMBIGUOUS)).all()), (t, gap)
        assert bool(((found < AMBIGUOUS) | contested | (most >= DEEPEST)).all()), (t, gap)


def test_a_rank_near_the_top_counts_the_rivals_on_the_shortlist(
    checker: SpanChecker, tiny_decompressor: Decompressor, window: Window, parts: SpanParts
) -> None:
    ranks, base = checker.rank(window, parts, FAR), base_logits(checker, window)
    shortlists, base_ranks = base.topk(SHORTLIST, -1).indices, ranks_in(base, window.ids)
    compared = 0
    for t, gap in spans(window, checker.settings.max_gap):
        rows, found = slice(t + 1, t + 1 + gap), ranks[t, gap, :gap]
        logits, true = full_vocabulary_logits(tiny_decompressor, checker, window, parts, t, gap)
        listed = logits.gather(1, shortlists[rows])
        least, most = (listed > true + NEAR).sum(1), (listed > true - NEAR).sum(1) - 1
        near_the_top = (base_ranks[rows] < SHORTLIST // 2) & (found != AMBIGUOUS)
        assert bool(((least <= found) & (found <= most))[near_the_top].all()), (t, gap)
        compared += int(near_the_top.sum())
    assert compared > 10


def test_a_deep_rank_is_taken_to_be_beyond_its_rivals_on_the_shortlist(
    checker: SpanChecker, tiny_decompressor: Decompressor, window: Window, parts: SpanParts
) -> None:
    ranks, base = checker.rank(window, parts, FAR), base_logits(checker, window)
    shortlists, base_ranks = base.topk(SHORTLIST, -1).indices, ranks_in(base, window.ids)
    compared = 0
    for t, gap in spans(window, checker.settings.max_gap):
        rows, found = slice(t + 1, t + 1 + gap), ranks[t, gap, :gap]
        logits, true = full_vocabulary_logits(tiny_decompressor, checker, window, parts, t, gap)
        rivals = (logits.gather(1, shortlists[rows]) > true + NEAR).sum(1)
        deep = (base_ranks[rows] > 2 * SHORTLIST) & (rivals > 0)
        assert bool((found > rivals)[deep].all()), (t, gap)
        assert bool(((found < DEEPEST) | (found == AMBIGUOUS)).all()), (t, gap)
        compared += int(deep.sum())
    assert compared > 10


def test_spans_that_no_anchor_follows_are_not_ranked(checker: SpanChecker, window: Window, parts: SpanParts) -> None:
    ranks = checker.rank(window, parts, FAR)
    n = window.length
    for t in range(n):
        for gap in range(checker.settings.max_gap + 1):
            outside = t + gap + 1 >= n
            assert bool((ranks[t, gap, :gap] == UNRANKED).all()) == (outside or gap == 0), (t, gap)


def test_places_beyond_a_span_are_not_ranked(checker: SpanChecker, window: Window, parts: SpanParts) -> None:
    ranks = checker.rank(window, parts, FAR)
    for gap in range(checker.settings.max_gap + 1):
        assert bool((ranks[:, gap, gap:] == UNRANKED).all())


def test_spans_out_of_reach_are_not_ranked(checker: SpanChecker, window: Window, parts: SpanParts) -> None:
    near, far = (checker.rank(window, parts, reach) for reach in (-10.0, FAR))
    ranked = near != UNRANKED
    assert 0 < int(ranked.sum()) < int((far != UNRANKED).sum())
    assert torch.equal(near[ranked], far[ranked])


def test_ranks_do_not_depend_on_how_many_are_computed_at_a_time(
    checker: SpanChecker, window: Window, parts: SpanParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = checker.rank(window, parts, FAR)
    monkeypatch.setattr(candidates, "ROWS", 40)
    assert float((checker.rank(window, parts, FAR) == together).float().mean()) > 0.999


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_windows_shorter_than_the_longest_span_are_ranked(
    checker: SpanChecker, tiny_compressor: Compressor, window: Window, n: int
) -> None:
    short = tiny_compressor.window(window.ids[:n], window.hidden[:n])
    ranks = checker.rank(short, checker.parts(short), FAR)
    gap = checker.settings.max_gap
    assert ranks.shape == (n, gap + 1, gap)


def test_ranks_are_priced_as_the_residual_prices_them(checker: SpanChecker) -> None:
    ranks = [0, 1, 2, 3, 4, 7, 8, 255, 256, 2**17 - 1]
    costs = RankCode(checker.settings.residual_bits, checker.settings.rank_table).bucket_costs()
    assert checker.bits(torch.tensor(ranks)).tolist() == pytest.approx([costs[rank.bit_length()] for rank in ranks])


def test_what_was_not_looked_at_and_what_is_too_near_to_tell_have_no_price(checker: SpanChecker) -> None:
    assert checker.bits(torch.tensor([UNRANKED, AMBIGUOUS])).isinf().all()
