"""The quick ranks of spans agree with the decompressor's own arithmetic."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.conftest import SENTENCES
from zprompt.codec import span_costs
from zprompt.codec.compressor import Compressor
from zprompt.codec.heads import DroppedTokens, right_context
from zprompt.codec.span_costs import DEEPEST, SHORTLIST, UNSEEN, SpanCosts, SpanParts, Window
from zprompt.llm import Backbone
from zprompt.llm.batch_invariance import pad_rows
from zprompt.zspan.alphabet import ZToken
from zprompt.zspan.range_coder import LITERALS, RankCode

NEAR = 1e-5  # logits: nearer rivals may change places
FAR = 1e9  # bits of threshold: every span is looked at


@pytest.fixture(scope="module")
def window(tiny_backbone: Backbone, tiny_compressor: Compressor) -> Window:
    ids = tiny_backbone.encode(SENTENCES[2])[:24]
    [hidden] = tiny_compressor.hidden([ids])
    return window_of(ids, hidden)


def window_of(ids: list[int], hidden: Tensor) -> Window:
    return Window(pad_rows(torch.tensor(ids)), pad_rows(hidden), len(ids))


@pytest.fixture
def checker(tiny_compressor: Compressor) -> SpanCosts:
    return tiny_compressor.span_costs


@pytest.fixture
def parts(checker: SpanCosts, window: Window) -> SpanParts:
    return checker.parts(window)


def spans(checker: SpanCosts, window: Window) -> Iterator[tuple[int, int]]:
    """Give every span (t, g) that an anchor follows and whose gap is looked at."""
    return ((t, g) for t in range(window.length) for g in checker.sampled if t + g + 1 < window.length)


def code_of(checker: SpanCosts, parts: SpanParts, t: int, gap: int) -> tuple[int, ...]:
    start, role = checker.layout.start[gap], checker.layout.role[gap]
    return tuple(int(parts.subcodes[t + 1 + s, r]) for s, r in zip(start, role, strict=True))


def decompressor_features(checker: SpanCosts, window: Window, parts: SpanParts, t: int, gap: int) -> Tensor:
    """Compute the features of a span's tokens as the decompressor does: (g, W)."""
    span = [
        ZToken(int(window.ids[t]), gap, code_of(checker, parts, t, gap)),
        ZToken(int(window.ids[t + gap + 1]), 0, (0, 0, 0)),
    ]
    head, previous = checker.heads.span_head, checker.heads.embeddings[window.ids[t : t + gap]]
    context = head.left_context(previous, window.hidden[t + 1 : t + 1 + gap])
    return head.features(context + right_context(checker.heads, DroppedTokens.of(span)))


def full_vocabulary_logits(
    checker: SpanCosts, window: Window, parts: SpanParts, t: int, gap: int
) -> tuple[Tensor, Tensor]:
    """Compute the logits of a span's tokens, (g, V), and those of the true ones, (g, 1)."""
    features = decompressor_features(checker, window, parts, t, gap)
    rows = slice(t + 1, t + 1 + gap)
    logits = (window.hidden[rows] + checker.heads.span_head.out(features)) @ checker.output.T
    return logits, logits.gather(1, window.ids[rows, None])


def base_logits(checker: SpanCosts, window: Window) -> Tensor:
    """Compute the logits that all spans around a token share: (n, V)."""
    logits: Tensor = (window.hidden + checker.heads.span_head.out.bias) @ checker.output.T
    return logits


def ranks_in(logits: Tensor, ids: Tensor) -> Tensor:
    """Rank tokens among logits: (n,)."""
    return (logits > logits.gather(1, ids[:, None])).sum(1)


def test_a_shortlist_of_the_whole_vocabulary_gives_true_ranks(
    checker: SpanCosts, window: Window, parts: SpanParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_costs, "SHORTLIST", 10**6)
    ranks = checker.rank(window, parts, FAR)
    for t, gap in spans(checker, window):
        logits, true = full_vocabulary_logits(checker, window, parts, t, gap)
        least, most = (logits > true + NEAR).sum(1), (logits > true - NEAR).sum(1) - 1
        contested = ((logits - true).abs() < checker.settings.margin + NEAR).sum(1) > 1  # by others than itself
        found = ranks[t, gap, :gap]
        assert bool(((least <= found) & (found <= most) | (found == LITERALS)).all()), (t, gap)
        assert bool(((found < LITERALS) | contested | (most >= DEEPEST)).all()), (t, gap)


def test_a_rank_near_the_top_counts_the_rivals_on_the_shortlist(
    checker: SpanCosts, window: Window, parts: SpanParts
) -> None:
    ranks, base = checker.rank(window, parts, FAR), base_logits(checker, window)
    shortlists, base_ranks = base.topk(SHORTLIST, -1).indices, ranks_in(base, window.ids)
    compared = 0
    for t, gap in spans(checker, window):
        rows, found = slice(t + 1, t + 1 + gap), ranks[t, gap, :gap]
        logits, true = full_vocabulary_logits(checker, window, parts, t, gap)
        listed = logits.gather(1, shortlists[rows])
        least, most = (listed > true + NEAR).sum(1), (listed > true - NEAR).sum(1) - 1
        near_the_top = (base_ranks[rows] < SHORTLIST // 2) & (found != LITERALS)
        assert bool(((least <= found) & (found <= most))[near_the_top].all()), (t, gap)
        compared += int(near_the_top.sum())
    assert compared > 10


def test_a_deep_rank_is_taken_to_be_beyond_its_rivals_on_the_shortlist(
    checker: SpanCosts, window: Window, parts: SpanParts
) -> None:
    ranks, base = checker.rank(window, parts, FAR), base_logits(checker, window)
    shortlists, base_ranks = base.topk(SHORTLIST, -1).indices, ranks_in(base, window.ids)
    compared = 0
    for t, gap in spans(checker, window):
        rows, found = slice(t + 1, t + 1 + gap), ranks[t, gap, :gap]
        logits, true = full_vocabulary_logits(checker, window, parts, t, gap)
        rivals = (logits.gather(1, shortlists[rows]) > true + NEAR).sum(1)
        deep = (base_ranks[rows] > 2 * SHORTLIST) & (rivals > 0)
        assert bool((found > rivals)[deep].all()), (t, gap)
        assert bool(((found < DEEPEST) | (found == LITERALS)).all()), (t, gap)
        compared += int(deep.sum())
    assert compared > 10


def test_spans_without_a_next_anchor_or_a_probed_gap_are_not_ranked(
    checker: SpanCosts, window: Window, parts: SpanParts
) -> None:
    ranks = checker.rank(window, parts, FAR)
    n = window.length
    for t in range(n):
        for gap in range(checker.settings.max_gap + 1):
            left_out = t + gap + 1 >= n or gap not in checker.sampled
            assert bool((ranks[t, gap, :gap] == UNSEEN).all()) == (left_out or gap == 0), (t, gap)


def test_places_beyond_a_span_are_not_ranked(checker: SpanCosts, window: Window, parts: SpanParts) -> None:
    ranks = checker.rank(window, parts, FAR)
    for gap in range(checker.settings.max_gap + 1):
        assert bool((ranks[:, gap, gap:] == UNSEEN).all())


def test_pruned_spans_are_not_ranked(checker: SpanCosts, window: Window, parts: SpanParts) -> None:
    near, far = (checker.rank(window, parts, threshold) for threshold in (25.0, FAR))
    ranked = near != UNSEEN
    assert 0 < int(ranked.sum()) < int((far != UNSEEN).sum())
    assert torch.equal(near[ranked], far[ranked])


def test_ranks_do_not_depend_on_how_many_are_computed_at_a_time(
    checker: SpanCosts, window: Window, parts: SpanParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = checker.rank(window, parts, FAR)
    monkeypatch.setattr(span_costs, "ROWS", 40)
    assert float((checker.rank(window, parts, FAR) == together).float().mean()) > 0.999


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_windows_shorter_than_the_longest_span_are_ranked(
    checker: SpanCosts, tiny_compressor: Compressor, window: Window, n: int
) -> None:
    short = window_of(window.ids[:n].tolist(), window.hidden[:n])
    ranks = checker.rank(short, checker.parts(short), FAR)
    gap = checker.settings.max_gap
    assert ranks.shape == (n, gap + 1, gap)
    assert checker.estimate(short, checker.parts(short), FAR).shape == ranks.shape


def test_tokens_that_are_not_among_the_common_ones_are_ranked_below_them(
    checker: SpanCosts, window: Window, parts: SpanParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = checker.bits(checker.rank(window, parts, FAR)).nan_to_num(posinf=0).sum()
    monkeypatch.setattr(span_costs, "COMMON", int(window.ids[: window.length].max()) // 2)
    ranks = checker.rank(window, parts, FAR)
    assert checker.bits(ranks).nan_to_num(posinf=0).sum() == pytest.approx(float(usual), rel=0.3)
    assert all(bool((ranks[t, gap, :gap] != UNSEEN).all()) for t, gap in spans(checker, window))


def test_estimates_of_sampled_gaps_are_the_bits_of_their_ranks(
    checker: SpanCosts, window: Window, parts: SpanParts
) -> None:
    estimates, bits = checker.estimate(window, parts, FAR), checker.bits(checker.rank(window, parts, FAR))
    assert torch.equal(estimates[:, checker.sampled], bits[:, checker.sampled])


def test_estimates_of_other_gaps_are_near_what_their_ranks_cost(
    checker: SpanCosts, window: Window, parts: SpanParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimates, gap = checker.estimate(window, parts, FAR), 5
    assert gap not in checker.sampled
    monkeypatch.setattr(checker, "sampled", list(range(1, checker.settings.max_gap + 1)))
    bits = checker.bits(checker.rank(window, parts, FAR))
    inside = slice(1, window.length - gap - 2)  # where the longer span, too, lies in the window
    estimated, true = (values[inside, gap, :gap].sum(1) for values in (estimates, bits))
    assert bool(estimated.isfinite().all())
    assert float(estimated.mean()) == pytest.approx(float(true.mean()), rel=0.2)


def test_symbols_are_priced_as_the_residual_prices_them(checker: SpanCosts) -> None:
    symbols = [0, 1, 2, 3, 4, 7, 8, 255, LITERALS, LITERALS + 1, LITERALS + 499]
    code = RankCode(checker.output.shape[0], checker.settings.rank_table)
    assert checker.bits(torch.tensor(symbols)).tolist() == pytest.approx(
        [code.costs([symbol])[0] for symbol in symbols]
    )


def test_what_was_not_looked_at_has_no_price(checker: SpanCosts) -> None:
    assert checker.bits(torch.tensor([UNSEEN])).isinf().all()
