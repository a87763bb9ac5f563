"""Keys and values of the tokens that a decoder has seen, row by row.

Each row of a batch has its own length and can be rolled back, as in speculative decoding: append the same number of
tokens to all rows, then roll back those that were padding or wrong. A query at position p attends to the keys at
positions 0..p of its own row, so whatever lies beyond a row's length has no effect and is simply overwritten.
"""

from copy import copy
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

_GROWTH = 64  # positions added at a time


class Cache(Protocol):
    """The operations that the codec needs of a decoder's cache."""

    @property
    def lengths(self) -> Tensor:
        """Return the number of tokens that each row has seen, (B,) on the CPU."""

    def rollback(self, lengths: Tensor) -> None:
        """Shorten each row to at most its entry of `lengths`, (B,)."""

    def keep_rows(self, rows: Tensor) -> None:
        """Keep only the rows with these indices, in this order."""


class DecoderStep(Protocol):
    """One call of a decoder: where the new tokens are, and what they attend to."""

    positions: Tensor  # (1 or B, T)

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return a layer's attention output for new tokens, given their queries, keys and values, (B, H, T, d) each."""


class StepPlanner(Protocol):
    """Plans the calls of a decoder: a cache, or a layout of several texts in one row, which caches nothing."""

    def advance(self, count: int) -> DecoderStep:
        """Plan a call on `count` new tokens of every row."""


class KeyValueCache:
    """The keys and values of a batch, in every layer."""

    def __init__(
        self,
        batch: int,
        layers: int,
        heads: int,
        head_size: int,
        device: torch.device,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.lengths = torch.zeros(batch, dtype=torch.long)  # (B,) on the CPU
        self._stored = torch.empty(layers, 2, batch, heads, 0, head_size, device=device, dtype=dtype)

    def rollback(self, lengths: Tensor) -> None:
        """Shorten each row to at most its entry of `lengths`, (B,)."""
        self.lengths = torch.minimum(self.lengths, lengths.to("cpu", torch.long))

    def keep_rows(self, rows: Tensor) -> None:
        """Keep only the rows with these indices, in this order."""
        self.lengths = self.lengths[rows.cpu()]
        self._stored = self._stored[:, :, rows.to(self._stored.device)]

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in every row."""
        missing = length - self._stored.shape[4]
        if missing > 0:
            *outer, _, size = self._stored.shape
            room = self._stored.new_zeros(*outer, -(-missing // _GROWTH) * _GROWTH, size)
            self._stored = torch.cat((self._stored, room), dim=4)

    def part(self, first: int, last: int) -> "KeyValueCache":
        """Return an empty cache that shares the rows from `first` up to, not including, `last`.

        It writes into this cache as far as `reserve` has made room; this one's `lengths` stay as they are.
        """
        part = copy(self)
        part.lengths = torch.zeros(last - first, dtype=torch.long)
        part._stored = self._stored[:, :, first:last]
        return part

    def advance(self, count: int) -> "Step":
        """Make room for `count` new tokens in every row, and add them to `lengths`."""
        step = Step(self, self.lengths, count)
        self.lengths = self.lengths + count
        self.reserve(int(self.lengths.max()))
        return step

    @property
    def device(self) -> torch.device:
        """Return the device of keys and values."""
        return self._stored.device

    def layer(self, index: int) -> Tensor:
        """Return the keys and values of a layer, (2, B, H, S, d)."""
        return self._stored[index]


class Step:
    """One call of a decoder on new tokens of every row."""

    def __init__(self, cache: KeyValueCache, before: Tensor, count: int) -> None:
        """Compute positions and attention mask of the call.

        :param cache: The cache that the tokens extend.
        :param before: (B,) tokens already in the cache.
        :param count: New tokens in each row.
        """
        self._cache = cache
        self._start = int(before[0]) if bool((before == before[0]).all()) else None
        self._end = int(before.max()) + count
        self.positions = before[:, None] + torch.arange(count)  # (B, T)
        self.positions = self.positions[:1] if self._start is not None else self.positions
        self._causal = self._start == 0 and count > 1
        self._mask: Tensor | None = None  # (1 or B, 1, T, S): True where a query may attend
        if not self._causal and not (self._start is not None and count == 1):
            self._mask = (torch.arange(self._end) <= self.positions[:, None, :, None]).to(cache.device)

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Let the new tokens attend to themselves and those before, (B, H, T, d) each."""
        keys, values = self._store(layer, keys, values)
        return functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=self._mask, is_causal=self._causal, enable_gqa=True
        )

    def _store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values, and return those of all tokens.

        :param layer: The layer's index.
        :param keys: (B, H, T, d).
        :param values: (B, H, T, d).
        :return: Keys and values, (B, H, S, d) each.
        """
        stored = self._cache.layer(layer)
        if self._start is not None:
            stored[0, :, :, self._start : self._end] = keys
            stored[1, :, :, self._start : self._end] = values
        else:
            positions = self.positions.to(keys.device)[:, None, :, None].expand_as(keys)
            stored[0].scatter_(2, positions, keys)
            stored[1].scatter_(2, positions, values)
        return stored[0, :, :, : self._end], stored[1, :, :, : self._end]
