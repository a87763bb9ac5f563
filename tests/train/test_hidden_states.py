"""Hidden states are computed once, kept, and never mistaken for those of other windows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from zprompt.llm import Backbone
from zprompt.train.hidden_states import BATCH, HiddenStateCache


@pytest.fixture
def store(tmp_path: Path, tiny_backbone: Backbone, windows: NDArray[np.int32]) -> HiddenStateCache:
    return HiddenStateCache(tmp_path, tiny_backbone, windows, torch.float32)


def hidden(backbone: Backbone, windows: NDArray[np.int32]) -> torch.Tensor:
    ids = torch.from_numpy(windows.astype(np.int64))
    return backbone.hidden(torch.cat((torch.full((len(ids), 1), backbone.start_id), ids[:, :-1]), 1))


def test_it_holds_the_hidden_states_of_windows(
    store: HiddenStateCache, tiny_backbone: Backbone, windows: NDArray[np.int32]
) -> None:
    store.ensure(len(windows))
    rows = np.array([3, 11, 19])
    torch.testing.assert_close(store[rows], hidden(tiny_backbone, windows[rows]), rtol=2e-3, atol=2e-3)


def test_it_grows_as_far_as_it_is_asked_to(store: HiddenStateCache, windows: NDArray[np.int32]) -> None:
    for wanted, count in ((0, 0), (1, BATCH), (BATCH, BATCH), (BATCH + 1, 2 * BATCH), (999, len(windows))):
        store.ensure(wanted)
        assert store.count == count


def test_what_is_there_is_not_computed_again(
    store: HiddenStateCache,
    tmp_path: Path,
    tiny_backbone: Backbone,
    windows: NDArray[np.int32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.ensure(BATCH)
    rows = np.arange(BATCH)
    before = store[rows].clone()
    monkeypatch.delattr(HiddenStateCache, "_compute")
    again = HiddenStateCache(tmp_path, tiny_backbone, windows, torch.float32)
    again.ensure(BATCH)
    assert again.count == BATCH
    assert torch.equal(again[rows], before)


def test_it_goes_on_where_it_stopped(
    store: HiddenStateCache, tmp_path: Path, tiny_backbone: Backbone, windows: NDArray[np.int32]
) -> None:
    store.ensure(BATCH)
    again = HiddenStateCache(tmp_path, tiny_backbone, windows, torch.float32)
    again.ensure(len(windows))
    everything = np.arange(len(windows))
    torch.testing.assert_close(again[everything], hidden(tiny_backbone, windows), rtol=2e-3, atol=2e-3)


def test_other_windows_start_it_anew(
    store: HiddenStateCache, tmp_path: Path, tiny_backbone: Backbone, windows: NDArray[np.int32]
) -> None:
    store.ensure(BATCH)
    assert HiddenStateCache(tmp_path, tiny_backbone, windows[:10], torch.float32).count == 0


def test_the_same_windows_in_another_order_start_it_anew(
    store: HiddenStateCache, tmp_path: Path, tiny_backbone: Backbone, windows: NDArray[np.int32]
) -> None:
    store.ensure(BATCH)
    assert HiddenStateCache(tmp_path, tiny_backbone, windows[::-1], torch.float32).count == 0


def test_another_backbone_starts_it_anew(
    store: HiddenStateCache, tmp_path: Path, narrow_backbone: Backbone, windows: NDArray[np.int32]
) -> None:
    store.ensure(BATCH)
    other = windows % narrow_backbone.vocab_size
    assert HiddenStateCache(tmp_path, narrow_backbone, other, torch.float32).count == 0
