"""Keys and values of the tokens that a decoder has seen, row by row.

Each row of a batch has its own length and can be rolled back, as speculative decoding needs it: append the same number
of tokens to all rows, then roll back those that were padding or wrong. A query at position p sees the keys at positions
0..p of its own row, so whatever lies beyond a row's length never counts and is simply overwritten.
"""

from copy import copy
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

_GROWTH = 64  # positions added at a time


class Cache(Protocol):
    """The operations of a decoder's cache that the codec uses."""

    @property
    def lengths(self) -> Tensor:
        """Return how many tokens each row has seen, (B,) on the CPU."""

    def rollback(self, lengths: Tensor) -> None:
        """Shorten each row to at most its entry of `lengths`, (B,)."""

    def keep_rows(self, rows: Tensor) -> None:
        """Keep only the rows of these indices, in this order."""


class DecoderStep(Protocol):
    """One call of a decoder: where the new tokens are, and what they attend to."""

    positions: Tensor  # (1 or B, T)

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return what a layer's new tokens see, (B, H, T, d), given their own queries, keys and values, the same."""


class StepPlanner(Protocol):
    """What a decoder runs with: a cache, or what lays out several texts in a row and keeps nothing of them."""

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
        """Keep only the rows of these indices, in this order."""
        self.lengths = self.lengths[rows.cpu()]
        self._stored = self._stored[:, :, rows.to(self._stored.device)]

    def reserve(self, length: int) -> None:
        """Make room for so many tokens in every row."""
        missing = length - self._stored.shape[4]
        if missing > 0:
            layers, two, batch, heads, _, size = self._stored.shape
            room = self._stored.new_zeros(layers, two, batch, heads, -(-missing // _GROWTH) * _GROWTH, size)
            self._stored = torch.cat((self._stored, room), dim=4)

    def part(self, first: int, last: int) -> "KeyValueCache":
        """Return an empty cache that fills the rows from `first` up to, not including, `last` of this one.

        It writes into this cache as far as there is room, which `reserve` makes; this one's `lengths` stay.
        """
        part = copy(self)
        part.lengths = torch.zeros(last - first, dtype=torch.long)
        part._stored = self._stored[:, :, first:last]
        return part

    def advance(self, count: int) -> "Step":
        """Make room for `count` new tokens in every row, and count them as seen."""
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
        :param before: (B,) tokens already seen.
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
        """Let the new tokens attend to those before, (B, H, T, d) each."""
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
            where = self.positions.to(keys.device)[:, None, :, None].expand_as(keys)
            stored[0].scatter_(2, where, keys)
            stored[1].scatter_(2, where, values)
        return stored[0, :, :, : self._end], stored[1, :, :, : self._end]
