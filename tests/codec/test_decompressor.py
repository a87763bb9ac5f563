"""Token ids are restored from Z-tokens, whatever the batch; impossible gaps are refused."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from tests.conftest import SENTENCES
from zprompt.codec import decompressor
from zprompt.codec.codec import Codec
from zprompt.codec.compressor import Compressor
from zprompt.codec.decompressor import UNKNOWN, Decompressor, KnownWindow, _Plan, split_windows
from zprompt.errors import DamagedSpanError
from zprompt.llm import Backbone
from zprompt.zspan import LITERALS, NO_CODE, ZSpan, ZToken


@pytest.fixture(scope="module")
def tiny_decompressor(tiny_backbone: Backbone) -> Decompressor:
    return Decompressor(tiny_backbone)


@pytest.fixture(scope="module")
def windows(tiny_backbone: Backbone) -> list[list[int]]:
    texts = [*SENTENCES, "a", " the" * 30, SENTENCES[3][::-1]]
    return [tiny_backbone.encode(text)[:32] for text in texts]


@pytest.fixture(scope="module", params=[1, 3, 9], ids=["all anchors", "short gaps", "long gaps"])
def known(request: pytest.FixtureRequest, tiny_compressor: Compressor, windows: list[list[int]]) -> list[KnownWindow]:
    known_windows = []
    for row, (ids, hidden) in enumerate(zip(windows, tiny_compressor.hidden(windows), strict=True)):
        kept = np.random.default_rng(row).random(len(ids)) < 1 / request.param
        kept[0] = True
        positions = np.flatnonzero(kept)
        gaps = np.diff(positions, append=len(ids)) - 1
        tokens = [ZToken(ids[position], int(gap)) for position, gap in zip(positions, gaps, strict=True)]
        known_windows.append(KnownWindow(tokens, tiny_compressor.symbols([hidden], [ids])[0][~kept].tolist()))
    return known_windows


def one_token(symbol: int) -> KnownWindow:
    """Return a window in which one token was dropped."""
    return KnownWindow([ZToken(7, 1), ZToken(9, 0)], [symbol])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_windows_come_back_at_any_batch_size(
    tiny_decompressor: Decompressor, windows: list[list[int]], known: Sequence[KnownWindow], batch_size: int
) -> None:
    assert tiny_decompressor.restore(known, batch_size) == windows


@pytest.mark.parametrize("wide_rows", [0, 1, 1000])
def test_windows_come_back_whether_rows_wait_for_each_other_or_not(
    tiny_decompressor: Decompressor,
    windows: list[list[int]],
    known: Sequence[KnownWindow],
    wide_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decompressor, "WIDE_ROWS", wide_rows)
    assert tiny_decompressor.restore(known, 4) == windows


def test_progress_counts_every_window_once(tiny_decompressor: Decompressor, known: Sequence[KnownWindow]) -> None:
    advanced: list[int] = []
    tiny_decompressor.restore(known, 4, advanced.append)
    assert advanced == [4, 4, 1]


def test_no_windows_give_an_empty_list(tiny_decompressor: Decompressor) -> None:
    assert tiny_decompressor.restore([], 4) == []


def test_a_window_of_known_tokens_needs_no_llm(
    tiny_decompressor: Decompressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Backbone, "hidden")
    window = KnownWindow([ZToken(3, 0), ZToken(1, 2), ZToken(5, 0)], [LITERALS + 4, LITERALS + 1])
    assert tiny_decompressor.restore([window], 1) == [[3, 1, 4, 1, 5]]


def test_a_step_feeds_all_tokens_up_to_the_next_unknown_one() -> None:
    tokens = [ZToken(7, 0), ZToken(8, 3), ZToken(9, 0)]
    plan = _Plan.of(KnownWindow(tokens, [3, LITERALS + 6, 4]), None)
    assert plan.ids.tolist() == [7, 8, UNKNOWN, 6, UNKNOWN, 9]
    assert (plan.ranks[2], plan.ranks[4]) == (3, 4)
    assert plan.pending() == 3  # the start token, 7 and 8
    plan.ids[2], plan.fed = 5, 3
    assert plan.pending() == 2
    plan.ids[4], plan.fed = 6, 5
    assert plan.pending() == 0


def test_there_are_as_many_steps_as_a_window_has_unknown_tokens(
    tiny_decompressor: Decompressor, known: Sequence[KnownWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    hidden = Backbone.hidden
    monkeypatch.setattr(Backbone, "hidden", lambda self, ids, cache: steps.append(1) or hidden(self, ids, cache))
    tiny_decompressor.restore(known[:1], 1)
    assert len(steps) == sum(symbol < LITERALS for symbol in known[0].symbols)


def test_a_rank_names_the_candidate_of_that_rank(tiny_decompressor: Decompressor, tiny_backbone: Backbone) -> None:
    hidden = tiny_backbone.hidden(torch.tensor([[tiny_backbone.start_id, 7]]))[0, -1]
    best = (hidden @ tiny_backbone.output_embeddings.T).argsort(descending=True)[:64].tolist()
    ranked = [tiny_decompressor.restore([one_token(rank)], 1)[0][1] for rank in range(64)]
    assert ranked == best
    assert [ids[1] for ids in tiny_decompressor.restore([one_token(rank) for rank in range(64)], 64)] == best


@pytest.mark.parametrize("token", [0, 1, 255, 399])
def test_a_literal_names_the_token_itself(tiny_decompressor: Decompressor, token: int) -> None:
    assert tiny_decompressor.restore([one_token(LITERALS + token)], 1) == [[7, token, 9]]


def test_ranks_and_literals_may_be_mixed_in_a_batch(tiny_decompressor: Decompressor) -> None:
    windows = [one_token(symbol) for symbol in (0, LITERALS + 300, 17, LITERALS, 255)]
    alone = [tiny_decompressor.restore([window], 1)[0] for window in windows]
    assert tiny_decompressor.restore(windows, 5) == alone


def test_the_last_rank_gives_a_token_of_the_vocabulary(tiny_decompressor: Decompressor) -> None:
    assert 0 <= tiny_decompressor.restore([one_token(LITERALS - 1)], 1)[0][1] < tiny_decompressor.backbone.vocab_size


def test_a_gap_may_end_a_window(tiny_decompressor: Decompressor) -> None:
    [ids] = tiny_decompressor.restore([KnownWindow([ZToken(7, 2)], [0, 0])], 1)
    assert ids[0] == 7 and len(ids) == 3


def test_a_code_changes_only_the_tokens_that_it_describes(coded_codec: Codec) -> None:
    tiny_decompressor = Decompressor(coded_codec.backbone, coded_codec.heads)

    def restored(*code: int) -> list[int]:
        return tiny_decompressor.restore(
            [KnownWindow([ZToken(7, 3, code), ZToken(9, 0, (NO_CODE,) * 3)], [20, 0, 0])], 1
        )[0]

    assert len({restored(code, NO_CODE, NO_CODE)[1] for code in range(16)}) > 8
    assert len({restored(NO_CODE, NO_CODE, code)[1] for code in range(16)}) == 1


class TestSplitting:
    @staticmethod
    def span_of(*gaps: int) -> ZSpan:
        tokens = tuple(ZToken(index, gap) for index, gap in enumerate(gaps))
        return ZSpan("0" * 12, tokens, tuple(range(sum(gaps))), False, bytes(8))

    def test_windows_have_their_own_z_tokens_and_symbols(self) -> None:
        assert list(split_windows(self.span_of(1, 1, 3, 2), 4)) == [
            KnownWindow([ZToken(0, 1), ZToken(1, 1)], (0, 1)),
            KnownWindow([ZToken(2, 3)], (2, 3, 4)),
            KnownWindow([ZToken(3, 2)], (5, 6)),
        ]

    def test_a_text_of_just_one_window_has_one(self) -> None:
        assert len(list(split_windows(self.span_of(3), 4))) == 1

    def test_the_empty_text_has_none(self) -> None:
        assert list(split_windows(self.span_of(), 4)) == []

    @pytest.mark.parametrize("gaps", [(4,), (1, 2), (3, 0, 3)])
    def test_a_z_token_that_reaches_into_the_next_window_is_refused(self, gaps: tuple[int, ...]) -> None:
        with pytest.raises(DamagedSpanError, match="next window"):
            list(split_windows(self.span_of(*gaps), 4))
