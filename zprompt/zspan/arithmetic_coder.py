"""Adaptive binary arithmetic coding: probabilities are learned from the bits before, so there are no tables to ship.

A coder keeps an interval of 32-bit numbers and at each bit narrows it to a part as large as the bit's probability
(Rissanen & Langdon 1979; without carries, as in Mahoney's lpaq). A probability belongs to a *context*, any hashable
value, and is learned from the bits coded in it:

    p ← p + (bit − p) / (n + 1.5)     n: bits so far in this context, at most LIMIT; a prior counts as `weight` of them

Encoder, decoder and meter are driven by the same calls, so a format is described once (stream.py): an encoder writes
the value that it is given and returns it, a decoder ignores it and returns the one that it reads, a meter only adds up
the bits that it would take. Probabilities are integers, so coding is exact on every machine.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence

from zprompt.errors import DamagedSpanError

LIMIT = 255  # bits after which a context's learning rate no longer falls
ONE = 1 << 16  # a probability of 1
HALF = ONE // 2
_LEAST = 64  # least probability: even a certain bit costs 1/700 of a bit, so a stream's bytes bound what it can claim
_RATES = tuple(2 * ONE // (2 * n + 3) for n in range(LIMIT + 1))
_TOP, _MASK = 0xFF000000, 0xFFFFFFFF
_AHEAD = 4  # bytes that a decoder reads ahead


class Coder(ABC):
    """Codes bits in contexts, and learns the probability of each."""

    def __init__(self) -> None:
        self._contexts: dict[Hashable, list[int]] = {}  # probability of a 1, and number of bits so far

    def bit(self, context: Hashable, value: int = 0, prior: int = HALF, weight: int = 0) -> int:
        """Code a bit.

        :param context: What its probability depends on; None: both values are equally likely, and nothing is learned.
        :param value: The bit, 0 or 1; a decoder ignores it.
        :param prior: The probability of a 1 in a new context, in units of 1 / `ONE`.
        :param weight: The number of bits that the prior counts as.
        :return: The bit.
        """
        if context is None:
            return self._code(HALF, value)
        entry = self._contexts.get(context)
        if entry is None:
            entry = self._contexts[context] = [min(max(prior, _LEAST), ONE - _LEAST), weight]
        probability, count = entry
        bit = self._code(probability, value)
        probability += ((ONE if bit else 0) - probability) * _RATES[count] >> 16
        entry[0] = min(max(probability, _LEAST), ONE - _LEAST)
        entry[1] = min(count + 1, LIMIT)
        return bit

    def below(
        self, context: Hashable, bits: int, value: int = 0, priors: Sequence[int] | None = None, weight: int = 0
    ) -> int:
        """Code a number bit by bit, down a binary tree.

        :param context: What the bits depend on besides the bits above them.
        :param bits: Levels of the tree; the number is below 2^bits.
        :param value: The number; a decoder ignores it.
        :param priors: As in `bit`, by inner node: 1 is the root, 2n and 2n + 1 are below node n; None: `HALF` for all.
        :param weight: As in `bit`.
        :return: The number.
        """
        node = 1
        for shift in range(bits - 1, -1, -1):
            prior = priors[node] if priors else HALF
            node = node << 1 | self.bit((context, node), value >> shift & 1, prior, weight)
        return node - (1 << bits)

    @abstractmethod
    def _code(self, probability: int, value: int) -> int:
        """Code a bit, given its probability of being 1."""


class Meter(Coder):
    """Measures the bits that values take, and writes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bits = 0.0

    def _code(self, probability: int, value: int) -> int:
        self.bits -= math.log2((probability if value else ONE - probability) / ONE)
        return value


class Encoder(Coder):
    """Writes values to bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._low, self._high, self._out = 0, _MASK, bytearray()

    def finish(self) -> bytes:
        """Return the bytes of everything that was written."""
        return bytes(self._out) + _tail(self._low, self._high)

    def _code(self, probability: int, value: int) -> int:
        middle = self._low + ((self._high - self._low) * probability >> 16)
        if value:
            self._high = middle
        else:
            self._low = middle + 1
        while not (self._low ^ self._high) & _TOP:
            self._out.append(self._high >> 24)
            self._low = self._low << 8 & _MASK
            self._high = self._high << 8 & _MASK | 0xFF
        return value


class Decoder(Coder):
    """Reads values from the bytes that an encoder wrote, given the same calls."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._low, self._high, self._data, self._next, self._number = 0, _MASK, data, 0, 0
        for _ in range(_AHEAD):
            self._number = self._number << 8 | self._byte()

    def finish(self) -> None:
        """Raise DamagedSpanError if the bytes are not those that an encoder writes for the values read."""
        if self._data[max(self._next - _AHEAD, 0) :] != _tail(self._low, self._high):
            raise _damaged(self._data)

    def _code(self, probability: int, value: int) -> int:
        middle = self._low + ((self._high - self._low) * probability >> 16)
        bit = int(self._number <= middle)
        if bit:
            self._high = middle
        else:
            self._low = middle + 1
        while not (self._low ^ self._high) & _TOP:
            self._low = self._low << 8 & _MASK
            self._high = self._high << 8 & _MASK | 0xFF
            self._number = self._number << 8 & _MASK | self._byte()
        return bit

    def _byte(self) -> int:
        self._next += 1
        if self._next > len(self._data) + _AHEAD:
            raise _damaged(self._data)
        return self._data[self._next - 1] if self._next <= len(self._data) else 0


def _tail(low: int, high: int) -> bytes:
    """Return the fewest bytes that, padded with zeros, are a number in an interval of 32-bit numbers."""
    for count in range(_AHEAD + 1):
        unit = 1 << 32 - 8 * count
        number = -(-low // unit) * unit
        if number <= high:
            break
    return (number >> 32 - 8 * count).to_bytes(count, "big")


def _damaged(data: bytes) -> DamagedSpanError:
    return DamagedSpanError(
        f"The stream of a Z-span ({len(data)} bytes) does not hold what the Z-span announces. "
        "Get it again from its source."
    )
