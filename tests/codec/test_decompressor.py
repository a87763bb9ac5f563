"""Z-tokens come back as token ids, whatever the batch, and nonsense is refused."""

from collections.abc import Sequence

import pytest
import torch

from tests.conftest import SENTENCES
from zprompt.backbone import Backbone
from zprompt.codec import decompressor
from zprompt.codec.compressor import Compressor
from zprompt.codec.decompressor import UNKNOWN, Decompressor
from zprompt.codec.segmentation import ExactPrice
from zprompt.codec.vocabulary import ZToken
from zprompt.errors import DamagedSpanError

NO_CODE = (0, 0, 0)


@pytest.fixture(scope="module")
def windows(tiny_backbone: Backbone) -> list[list[int]]:
    texts = [*SENTENCES, "a", " the" * 30, SENTENCES[3][::-1]]
    return [tiny_backbone.encode(text)[:32] for text in texts]


@pytest.fixture(scope="module")
def tiled(tiny_compressor: Compressor, windows: list[list[int]]) -> list[list[ZToken]]:
    tokens = []
    for ids, hidden in zip(windows, tiny_compressor.hidden(windows), strict=True):
        analysis = tiny_compressor.analyse(ids, hidden)
        [tiling] = tiny_compressor.tile([analysis], ExactPrice(tiny_compressor.budget))
        tokens.append(tiny_compressor.z_tokens(analysis, tiling, tiny_compressor.exact_ranks(analysis, tiling)))
    return tokens


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_windows_come_back_at_any_batch_size(
    tiny_decompressor: Decompressor, windows: list[list[int]], tiled: Sequence[Sequence[ZToken]], batch_size: int
) -> None:
    assert tiny_decompressor.restore(tiled, batch_size) == windows


@pytest.mark.parametrize("wide_rows", [0, 1, 1000])
def test_windows_come_back_whether_rows_wait_for_each_other_or_not(
    tiny_decompressor: Decompressor,
    windows: list[list[int]],
    tiled: Sequence[Sequence[ZToken]],
    wide_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decompressor, "WIDE_ROWS", wide_rows)
    assert tiny_decompressor.restore(tiled, 4) == windows


def test_progress_counts_every_window_once(tiny_decompressor: Decompressor, tiled: Sequence[Sequence[ZToken]]) -> None:
    advanced: list[int] = []
    tiny_decompressor.restore(tiled, 4, advanced.append)
    assert advanced == [4, 4, 1]


def test_no_windows_give_none(tiny_decompressor: Decompressor) -> None:
    assert tiny_decompressor.restore([], 4) == []


def test_a_window_of_anchors_needs_no_llm(tiny_decompressor: Decompressor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(type(tiny_decompressor.backbone), "hidden")
    anchors = [ZToken(anchor, 0, NO_CODE, 0) for anchor in (3, 1, 4, 1, 5)]
    assert tiny_decompressor.restore([anchors], 1) == [[3, 1, 4, 1, 5]]


def test_a_step_feeds_all_tokens_up_to_the_next_unknown_one(tiny_decompressor: Decompressor) -> None:
    plan = tiny_decompressor.plan([ZToken(7, 0, NO_CODE, 0), ZToken(8, 2, NO_CODE, 0), ZToken(9, 0, NO_CODE, 0)])
    assert plan.ids.tolist() == [7, 8, UNKNOWN, UNKNOWN, 9]
    assert plan.pending() == 3  # the start token, 7 and 8
    plan.ids[2], plan.fed = 5, 3
    assert plan.pending() == 1
    plan.ids[3], plan.fed = 6, 4
    assert plan.pending() == 0


def test_there_are_as_many_steps_as_a_window_has_unknown_tokens(
    tiny_decompressor: Decompressor, tiled: Sequence[Sequence[ZToken]], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    hidden = Backbone.hidden
    monkeypatch.setattr(Backbone, "hidden", lambda self, ids, cache: steps.append(1) or hidden(self, ids, cache))
    tiny_decompressor.restore(tiled[:1], 1)
    assert len(steps) == sum(token.gap for token in tiled[0])


def test_a_residual_names_the_candidate_of_its_rank(tiny_decompressor: Decompressor) -> None:
    def restored(rank: int) -> int:
        residual = tiny_decompressor.rank_code.encode([rank])
        assert residual is not None
        tokens = [ZToken(7, 1, (1, 2, 3), residual), ZToken(9, 0, NO_CODE, 0)]
        return tiny_decompressor.restore([tokens], 1)[0][1]

    ranked = [restored(rank) for rank in range(64)]
    assert len(set(ranked)) == 64


def test_a_rank_beyond_the_vocabulary_gives_some_token_and_no_crash(tiny_decompressor: Decompressor) -> None:
    residual = tiny_decompressor.rank_code.encode([511])
    assert residual is not None
    tokens = [ZToken(7, 1, NO_CODE, residual), ZToken(9, 0, NO_CODE, 0)]
    assert 0 <= tiny_decompressor.restore([tokens], 1)[0][1] < tiny_decompressor.backbone.vocab_size


def test_the_code_changes_what_comes_back(tiny_decompressor: Decompressor) -> None:
    residual = tiny_decompressor.rank_code.encode([20])  # the best candidate is nearly always the same
    assert residual is not None
    windows = [[ZToken(7, 1, (code, 0, 0), residual), ZToken(9, 0, NO_CODE, 0)] for code in range(16)]
    assert len({tuple(ids) for ids in tiny_decompressor.restore(windows, 16)}) > 8


def test_a_window_that_ends_in_a_gap_is_refused(tiny_decompressor: Decompressor) -> None:
    with pytest.raises(DamagedSpanError, match="no anchor follows"):
        tiny_decompressor.restore([[ZToken(7, 1, NO_CODE, 0)]], 1)


def test_a_residual_that_no_span_has_is_refused(tiny_decompressor: Decompressor) -> None:
    code = tiny_decompressor.rank_code
    used = {code.encode([rank]) for rank in range(1 << 9)}
    residual = next(value for value in range(1 << 16) if value not in used)
    with pytest.raises(DamagedSpanError, match="Residual"):
        tiny_decompressor.restore([[ZToken(7, 1, NO_CODE, residual), ZToken(9, 0, NO_CODE, 0)]], 1)


def test_nothing_is_known_of_the_left_context_beforehand(tiny_decompressor: Decompressor) -> None:
    tokens = [ZToken(8, 2, (1, 2, 3), 0), ZToken(9, 0, NO_CODE, 0)]
    early, late = tiny_decompressor.plan(tokens), tiny_decompressor.plan([ZToken(7, 0, NO_CODE, 0), *tokens])
    assert torch.equal(early.ahead[1:3], late.ahead[2:4])
