"""Z-tokens come back as token ids, whatever the batch, and nonsense is refused."""

from collections.abc import Sequence

import pytest
import torch

from tests.conftest import SENTENCES
from zprompt.codec import decompressor
from zprompt.codec.compressor import Compressor
from zprompt.codec.decompressor import UNKNOWN, Decompressor, KnownWindow
from zprompt.codec.tiling import prices, shortest_path
from zprompt.errors import DamagedSpanError
from zprompt.llm import Backbone
from zprompt.zspan.alphabet import ZToken
from zprompt.zspan.range_coder import LITERALS

NO_CODE = (0, 0, 0)


@pytest.fixture(scope="module")
def windows(tiny_backbone: Backbone) -> list[list[int]]:
    texts = [*SENTENCES, "a", " the" * 30, SENTENCES[3][::-1]]
    return [tiny_backbone.encode(text)[:32] for text in texts]


@pytest.fixture(scope="module", params=[0.0, 0.05], ids=["the longest spans", "cheap spans"])
def tiled(request: pytest.FixtureRequest, tiny_compressor: Compressor, windows: list[list[int]]) -> list[KnownWindow]:
    known = []
    for ids, hidden in zip(windows, tiny_compressor.hidden(windows), strict=True):
        analysis = tiny_compressor.analyse(ids, hidden, float("inf"))
        [written] = tiny_compressor.write([analysis], [shortest_path(prices(analysis.bits, request.param))])
        known.append(KnownWindow(written.tokens, written.symbols))
    return known


def one_token(symbol: int, code: tuple[int, ...] = (1, 2, 3)) -> KnownWindow:
    """Give a window in which one token was dropped."""
    return KnownWindow([ZToken(7, 1, code), ZToken(9, 0, NO_CODE)], [symbol])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_windows_come_back_at_any_batch_size(
    tiny_decompressor: Decompressor, windows: list[list[int]], tiled: Sequence[KnownWindow], batch_size: int
) -> None:
    assert tiny_decompressor.restore(tiled, batch_size) == windows


@pytest.mark.parametrize("wide_rows", [0, 1, 1000])
def test_windows_come_back_whether_rows_wait_for_each_other_or_not(
    tiny_decompressor: Decompressor,
    windows: list[list[int]],
    tiled: Sequence[KnownWindow],
    wide_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decompressor, "WIDE_ROWS", wide_rows)
    assert tiny_decompressor.restore(tiled, 4) == windows


def test_progress_counts_every_window_once(tiny_decompressor: Decompressor, tiled: Sequence[KnownWindow]) -> None:
    advanced: list[int] = []
    tiny_decompressor.restore(tiled, 4, advanced.append)
    assert advanced == [4, 4, 1]


def test_no_windows_give_none(tiny_decompressor: Decompressor) -> None:
    assert tiny_decompressor.restore([], 4) == []


def test_a_window_of_anchors_needs_no_llm(tiny_decompressor: Decompressor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(type(tiny_decompressor.backbone), "hidden")
    anchors = [ZToken(anchor, 0, NO_CODE) for anchor in (3, 1, 4, 1, 5)]
    assert tiny_decompressor.restore([KnownWindow(anchors, [])], 1) == [[3, 1, 4, 1, 5]]


def test_a_step_feeds_all_tokens_up_to_the_next_unknown_one(tiny_decompressor: Decompressor) -> None:
    tokens = [ZToken(7, 0, NO_CODE), ZToken(8, 2, NO_CODE), ZToken(9, 0, NO_CODE)]
    plan = tiny_decompressor.plan_window(KnownWindow(tokens, [3, 4]))
    assert plan.ids.tolist() == [7, 8, UNKNOWN, UNKNOWN, 9]
    assert plan.symbols[2:4].tolist() == [3, 4]
    assert plan.pending() == 3  # the start token, 7 and 8
    plan.ids[2], plan.fed = 5, 3
    assert plan.pending() == 1
    plan.ids[3], plan.fed = 6, 4
    assert plan.pending() == 0


def test_there_are_as_many_steps_as_a_window_has_unknown_tokens(
    tiny_decompressor: Decompressor, tiled: Sequence[KnownWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    hidden = Backbone.hidden
    monkeypatch.setattr(Backbone, "hidden", lambda self, ids, cache: steps.append(1) or hidden(self, ids, cache))
    tiny_decompressor.restore(tiled[:1], 1)
    assert len(steps) == len(tiled[0].symbols)


def test_a_rank_names_the_candidate_of_that_rank(tiny_decompressor: Decompressor) -> None:
    ranked = [tiny_decompressor.restore([one_token(rank)], 1)[0][1] for rank in range(64)]
    assert len(set(ranked)) == 64
    together = tiny_decompressor.restore([one_token(rank) for rank in range(64)], 64)
    assert [ids[1] for ids in together] == ranked


@pytest.mark.parametrize("token", [0, 1, 255, 399])
def test_a_literal_names_the_token_itself(tiny_decompressor: Decompressor, token: int) -> None:
    assert tiny_decompressor.restore([one_token(LITERALS + token)], 1) == [[7, token, 9]]


def test_ranks_and_literals_may_meet_in_a_batch(tiny_decompressor: Decompressor) -> None:
    windows = [one_token(symbol) for symbol in (0, LITERALS + 300, 17, LITERALS, 255)]
    alone = [tiny_decompressor.restore([window], 1)[0] for window in windows]
    assert tiny_decompressor.restore(windows, 5) == alone


def test_the_last_rank_gives_some_token_and_no_crash(tiny_decompressor: Decompressor) -> None:
    restored = tiny_decompressor.restore([one_token(LITERALS - 1)], 1)
    assert 0 <= restored[0][1] < tiny_decompressor.backbone.vocab_size


def test_the_code_changes_what_comes_back(tiny_decompressor: Decompressor) -> None:
    windows = [one_token(20, (code, 0, 0)) for code in range(16)]  # the best candidate is nearly always the same
    assert len({tuple(ids) for ids in tiny_decompressor.restore(windows, 16)}) > 8


def test_a_window_that_ends_in_a_gap_is_refused(tiny_decompressor: Decompressor) -> None:
    with pytest.raises(DamagedSpanError, match="no anchor follows"):
        tiny_decompressor.restore([KnownWindow([ZToken(7, 1, NO_CODE)], [0])], 1)


def test_nothing_is_known_of_the_left_context_beforehand(tiny_decompressor: Decompressor) -> None:
    tokens = [ZToken(8, 2, (1, 2, 3)), ZToken(9, 0, NO_CODE)]
    early = tiny_decompressor.plan_window(KnownWindow(tokens, [0, 0]))
    late = tiny_decompressor.plan_window(KnownWindow([ZToken(7, 0, NO_CODE), *tokens], [0, 0]))
    assert torch.equal(early.right_context[1:3], late.right_context[2:4])
