"""At batch-invariant shapes products have the same bits in any batch; windows are padded to these shapes."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.llm.batch_invariance import (
    ALONE,
    MIN_LENGTH,
    ROWS,
    batches,
    one_thread,
    pad_rows,
    padded_batch,
    padded_length,
)

some = settings(max_examples=50)


@some
@given(st.integers(1, 2_000))
def test_windows_are_padded_to_few_lengths(length: int) -> None:
    padded = padded_length(length)
    assert length <= padded < max(2 * length, length + 512, MIN_LENGTH + 1)
    assert padded >= MIN_LENGTH
    assert padded % 512 == 0 or padded.bit_count() == 1


@pytest.mark.parametrize(
    ("length", "padded"), [(1, 32), (32, 32), (33, 64), (65, 128), (257, 512), (512, 512), (513, 1024), (1025, 1536)]
)
def test_windows_are_padded_to_the_next_such_length(length: int, padded: int) -> None:
    assert padded_length(length) == padded


@some
@given(st.integers(1, 700))
def test_rows_are_padded_with_zeros_to_an_invariant_number(count: int) -> None:
    rows = torch.ones(count, 3)
    padded = pad_rows(rows)
    assert torch.equal(padded[:count], rows) and not padded[count:].any()
    assert len(padded) == padded_length(count) if count <= ALONE else len(padded) % ROWS == 0


def test_rows_of_one_dimension_are_padded_too() -> None:
    assert pad_rows(torch.arange(1, 34)).tolist() == [*range(1, 34), *[0] * 31]


@some
@given(st.lists(st.integers(1, 600), max_size=12))
def test_every_window_is_in_one_batch_of_its_length(lengths: list[int]) -> None:
    groups = list(batches(lengths))
    assert sorted(index for _, group in groups for index in group) == list(range(len(lengths)))
    for length, group in groups:
        assert all(padded_length(lengths[index]) == length for index in group)
        assert length > ALONE or len(group) == 1


@some
@given(st.lists(st.lists(st.integers(1, 99), min_size=65, max_size=128), min_size=1, max_size=4))
def test_a_batch_has_the_windows_shifted_by_the_start_token(windows: list[list[int]]) -> None:
    batch = padded_batch(windows, 128, 0)
    assert batch.shape[1] == 128 and batch.numel() >= ROWS and len(batch) >= len(windows)
    for row, ids in zip(batch.tolist(), windows, strict=False):
        assert row == [0, *ids[:-1], *[0] * (128 - len(ids))]


def test_a_short_window_goes_alone_without_more_rows() -> None:
    assert padded_batch([[5, 6, 7]], 32, 9).tolist() == [[9, 5, 6, *[9] * 29]]


def test_products_of_padded_rows_are_the_same_bits_in_any_number() -> None:
    generator = torch.Generator().manual_seed(0)
    weights, rows = torch.randn(64, 300, generator=generator), torch.randn(500, 64, generator=generator)
    whole = (pad_rows(rows) @ weights)[:500]
    assert torch.equal((pad_rows(rows[:300]) @ weights)[:300], whole[:300])


def test_one_thread_restores_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_wait_for_threads_of_its_parent() -> None:
    program = (
        "import os, torch, zprompt.llm\n"
        "torch.set_num_threads(2)\n"
        "multiply = lambda: torch.ones(600, 600) @ torch.ones(600, 600)\n"
        "multiply()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    multiply()\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)
