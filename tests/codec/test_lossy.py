"""What a lossy tiling is said to give back is what it gives back."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.conftest import SENTENCES
from zprompt.backbone import Backbone
from zprompt.codec.candidates import UNRANKED, SpanParts, Window
from zprompt.codec.compressor import Analysis, ChosenTokens, Compressor
from zprompt.codec.decompressor import Decompressor
from zprompt.codec.lossy import Draft, settle
from zprompt.codec.segmentation import ExactPrice, LossyPrice, Tiling, shortest_path


@pytest.fixture
def analyses(tiny_compressor: Compressor, tiny_backbone: Backbone) -> list[Analysis]:
    windows = [tiny_backbone.encode(sentence)[:32] for sentence in SENTENCES]
    weights = [1.0] * 32
    return [
        tiny_compressor.analyse(ids, hidden, weights[: len(ids)], lossy=True)
        for ids, hidden in zip(windows, tiny_compressor.hidden(windows), strict=True)
    ]


def tile(compressor: Compressor, analysis: Analysis, lossiness: float) -> Tiling:
    return shortest_path(LossyPrice(lossiness)(compressor.costs(analysis, lossy=True)))


def decode(compressor: Compressor, decompressor: Decompressor, draft: Draft) -> list[int]:
    tokens = compressor.z_tokens(draft.analysis, draft.tiling, draft.written)
    return decompressor.restore([tokens], 1)[0]


@pytest.mark.parametrize("lossiness", [0.0, 0.1, 0.3, 1.0])
def test_a_draft_that_says_it_is_exact_is(
    tiny_compressor: Compressor, tiny_decompressor: Decompressor, analyses: list[Analysis], lossiness: float
) -> None:
    tilings = [tile(tiny_compressor, analysis, lossiness) for analysis in analyses]
    for draft in settle(tiny_compressor, analyses, tilings):
        source = draft.analysis.ids.tolist()
        assert not draft.exact or decode(tiny_compressor, tiny_decompressor, draft) == source


def test_a_verified_exact_tiling_stays_exact(
    tiny_compressor: Compressor, tiny_decompressor: Decompressor, analyses: list[Analysis]
) -> None:
    tilings = tiny_compressor.tile(analyses, ExactPrice(tiny_compressor.budget))
    for draft in settle(tiny_compressor, analyses, tilings):
        assert draft.exact
        assert decode(tiny_compressor, tiny_decompressor, draft) == draft.analysis.ids.tolist()


def test_anchors_never_come_back_wrong(tiny_compressor: Compressor, analyses: list[Analysis]) -> None:
    tilings = [tile(tiny_compressor, analysis, 0.1) for analysis in analyses]
    for draft in settle(tiny_compressor, analyses, tilings):
        starts = torch.tensor([0, *(gap + 1 for gap in draft.tiling[:-1])]).cumsum(0)
        assert bool(draft.wrong.any())
        assert not bool(draft.wrong[starts].any())


def test_most_of_what_is_foreseen_comes_back(
    tiny_compressor: Compressor, tiny_decompressor: Decompressor, analyses: list[Analysis]
) -> None:
    tilings = [tile(tiny_compressor, analysis, 0.1) for analysis in analyses]
    agreeing = []
    for draft in settle(tiny_compressor, analyses, tilings):
        restored = decode(tiny_compressor, tiny_decompressor, draft)
        agreeing += [a == b for a, b in zip(restored, draft.restored.tolist(), strict=True)]
    assert sum(agreeing) / len(agreeing) > 0.9


def test_a_tiling_that_comes_right_only_after_a_wrong_token_is_not_called_exact(
    tiny_compressor: Compressor, analyses: list[Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    tilings = tiny_compressor.tile(analyses[:1], ExactPrice(tiny_compressor.budget))
    true_ranks, calls = tiny_compressor.true_ranks, []

    def hopeless_at_first(wanted: Sequence[tuple[Window, SpanParts, ChosenTokens]]) -> list[tuple[Tensor, Tensor]]:
        calls.append(wanted)
        told = UNRANKED if len(calls) == 1 else 0
        return [(torch.full_like(ranks, told), best) for ranks, best in true_ranks(wanted)]

    monkeypatch.setattr(tiny_compressor, "true_ranks", hopeless_at_first)
    [draft] = settle(tiny_compressor, analyses[:1], tilings)
    assert not bool(draft.wrong.any())
    assert not draft.exact


def test_a_window_of_anchors_is_exact_without_another_pass(
    tiny_compressor: Compressor, analyses: list[Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Compressor, "hidden")
    [draft] = settle(tiny_compressor, analyses[:1], [[0] * len(analyses[0].window.ids)])
    assert draft.exact
    assert not bool(draft.wrong.any())
