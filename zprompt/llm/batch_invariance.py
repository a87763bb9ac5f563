"""Shapes at which matrix products are batch-invariant: the same bits whatever the batch and the number of threads.

A BLAS chooses its kernel by the shape, and below some number of rows also by the number of threads; kernels differ in
the last bits, and a codec that compares logits turns last bits into other Z-tokens. Measured on the default backbone
with AVX-512 (batch sizes 1, 2, 3, 8; 1 to 4 threads): products with at least 256 rows in all, in sequences of 64, 128,
256 or 512 tokens, are equal bit by bit; those of 77, 320 or 384 tokens are not. So everything that decides about
Z-tokens is padded to such shapes. Short texts would pay for 256 rows: so windows of up to `ALONE` tokens run alone and
on one thread, which takes at most a third longer than two threads.

    join             our decoder: windows one after the other in one row, padded to a multiple of 256 tokens; each
                     attends to itself, in a call of its own (measured with AVX2: the same bits alone, in either
                     order, on 1 to 4 threads)
    padded_batch     other decoders: each window is padded to a power of two, which for passages of 100 to 350 tokens
                     takes 1.4 times as long
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional

ALONE = 64  # most tokens of a window that runs alone
MIN_LENGTH = 32  # fewest tokens of a padded window
ROWS = 256  # fewest rows of a matrix product on several threads

_lock = threading.Lock()

if hasattr(os, "register_at_fork"):  # a forked process lacks its parent's OpenMP threads, and would wait for them
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread within a context."""
    with _lock:  # if two overlapped, the second would restore the first one's single thread
        count = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(count)


def thread_count() -> int:
    """Return the number of threads that torch uses in the calling thread."""
    return torch.get_num_threads()


def set_threads(count: int) -> None:
    """Set the number of threads that torch uses in the calling thread; waits until no `one_thread` is active."""
    if torch.get_num_threads() != count:
        with _lock:  # some of what torch sets is process-wide
            torch.set_num_threads(count)


def padded_length(length: int) -> int:
    """Return the number of tokens that a window is padded to: a power of two, or a multiple of 512."""
    if length > 512:
        return -(-length // 512) * 512
    return max(MIN_LENGTH, 1 << (length - 1).bit_length())


def pad_rows(rows: Tensor) -> Tensor:
    """Pad the first dimension with zeros to a power of two up to `ALONE`, or to the next multiple of 256."""
    length = padded_length(len(rows)) if len(rows) <= ALONE else -(-len(rows) // ROWS) * ROWS
    padding = length - len(rows)
    return functional.pad(rows, (0, 0) * (rows.dim() - 1) + (0, padding)) if padding else rows


class _Joined:
    """Windows one after the other in one row; a `StepPlanner` that caches nothing."""

    def __init__(self, lengths: Sequence[int], positions: int) -> None:
        """Lay out windows.

        :param lengths: The tokens of each window.
        :param positions: Positions of the row, padding included.
        """
        ends = list(accumulate(lengths, initial=0))
        self._slices = [slice(start, end) for start, end in pairwise(ends)]
        self.positions = torch.cat([torch.arange(length) for length in (*lengths, positions - ends[-1])])[None]

    def advance(self, count: int) -> "_Joined":
        """Return the plan of the decoder's only call."""
        return self

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Let each window attend to itself, (1, H, T, d) each; the output of padding is zero."""
        attended = torch.zeros_like(queries)
        for window in self._slices:
            inputs = queries[:, :, window], keys[:, :, window], values[:, :, window]
            attended[:, :, window] = functional.scaled_dot_product_attention(*inputs, is_causal=True, enable_gqa=True)
        return attended


def join(windows: Sequence[Sequence[int]], start: int) -> tuple[Tensor, _Joined]:
    """Write token ids as one row of a batch-invariant length, each window shifted by the start token.

    :param windows: Token ids of each window, more than `ALONE`.
    :param start: The start token.
    :return: The ids, (1, T), and the planner to run our decoder with.
    """
    lengths = [len(ids) for ids in windows]
    row = torch.full((1, -(-sum(lengths) // ROWS) * ROWS), start)
    for end, ids in zip(accumulate(lengths), windows, strict=True):
        row[0, end - len(ids) + 1 : end] = torch.tensor(ids[:-1])
    return row, _Joined(lengths, row.numel())


def batches(lengths: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Group windows into batches.

    :param lengths: The tokens of each window.
    :yields: A padded length, and the indices of the windows that are read together at that length.
    """
    groups: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        groups.setdefault(padded_length(length), []).append(index)
    for length, group in groups.items():
        if length <= ALONE:
            yield from ((length, [index]) for index in group)
        else:
            yield length, group


def padded_batch(windows: list[list[int]], length: int, fill: int) -> Tensor:
    """Write token ids as one batch of a batch-invariant shape, each row shifted by the start token.

    :param windows: Token ids of each window.
    :param length: Tokens to pad to.
    :param fill: The start token, which pads too; it never reaches the left context of a real token.
    :return: (B', length), with rows added until the batch has 256 tokens, unless its length is at most `ALONE`.
    """
    min_rows = 1 if length <= ALONE else -(-ROWS // length)
    batch = torch.full((max(len(windows), min_rows), length), fill)
    for row, ids in zip(batch, windows, strict=False):
        row[1 : len(ids)] = torch.tensor(ids[:-1])
    return batch
