"""Shapes at which matrix products are batch-invariant: the same bits whatever the batch and the number of threads.

A BLAS chooses its kernel by the shape, and below some number of rows also by the number of threads; different kernels
differ in the last bits, and a codec that compares logits turns last bits into other Z-tokens. Measured on the default
backbone (batch sizes 1, 2, 3, 8; 1 to 4 threads): products with at least 256 rows in all, in sequences of 64, 128,
256 or 512 tokens, are equal bit by bit; 77, 320 or 384 tokens are not. So everything that decides about Z-tokens is
padded to such shapes.
"""

import torch
from torch import Tensor
from torch.nn import functional

MIN_LENGTH = 64  # tokens of a padded window
ROWS = 256  # of a matrix product, at least


def padded_length(length: int) -> int:
    """Return the number of tokens that a window is padded to: a power of two, or a multiple of 512."""
    if length > 512:
        return -(-length // 512) * 512
    return max(MIN_LENGTH, 1 << (length - 1).bit_length())


def pad_rows(rows: Tensor) -> Tensor:
    """Pad the first dimension with zeros to the next multiple of 256."""
    missing = -len(rows) % ROWS
    return functional.pad(rows, (0, 0) * (rows.dim() - 1) + (0, missing)) if missing else rows


def group_by_length(lengths: list[int]) -> dict[int, list[int]]:
    """Group the indices of windows by their padded length."""
    groups: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        groups.setdefault(padded_length(length), []).append(index)
    return groups


def padded_batch(windows: list[list[int]], length: int, fill: int) -> Tensor:
    """Write token ids as one batch of a batch-invariant shape, each row shifted by the start token.

    :param windows: Token ids of each window.
    :param length: Tokens to pad to.
    :param fill: The start token, which pads too; it never reaches the left context of a real token.
    :return: (B', length), with rows added until the batch has 256 tokens.
    """
    batch = torch.full((max(len(windows), -(-ROWS // length)), length), fill)
    for row, ids in zip(batch, windows, strict=False):
        row[1 : len(ids)] = torch.tensor(ids[:-1])
    return batch
