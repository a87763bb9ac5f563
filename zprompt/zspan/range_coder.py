"""Entropy-code the residual: which of the decompressor's candidates each dropped token is.

From anchor, next anchor and code, the decompressor ranks the whole vocabulary for every dropped token; rank 0 is its
best guess. The residual is one entropy-coded stream of these *symbols* for all dropped tokens of a text:

    symbol < LITERALS      the token's rank
    symbol >= LITERALS     LITERALS + the token's id: where it is far down, or a rival is too near to be sure of a rank

A literal always works, so every span can be dropped, at a price. Symbols share a table entry by power of two: bucket 0
is rank 0, bucket k >= 1 holds the ranks 2^(k-1) .. 2^k - 1, told apart by k - 1 raw bits; the last bucket is that of
literals. A symbol costs

    -log2 p(bucket) + raw bits         p(k) ~ table[k] + STEP * (times that bucket k came before in this text)

so the model starts from the table, which is fitted in training, and adapts to the text and the ratio.

The coder is rANS (Duda 2013) on integers, so it is exact on every machine: pushing a symbol of frequency f in 2^b onto
the state x, x <- (x // f) * 2^b + start + x % f, is undone by x % 2^b; bytes leave and enter the state at its lower
end. It starts from a known state, so a decoder that does not end there was given something else. A state of at least
2^16 takes at most 16 bits at a time, so the id of a literal in a larger vocabulary is pushed in two pieces.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from zprompt.errors import DamagedSpanError, OptionError

PRECISION = 12  # bits; table entries are in 1/4096
LITERALS = 256  # the first symbol that is no rank
LITERAL_BUCKET = LITERALS.bit_length()  # ranks have the buckets below
BUCKETS = LITERAL_BUCKET + 1
DEFAULT_TABLE = (2651, 390, 300, 240, 175, 130, 90, 60, 30, 30)
STEP = 40  # 1/4096: what an occurrence adds; the table counts as much as about a hundred of them
_START = 1 << 16  # the coder's first state, and the least that a state is between symbols
_BYTE = 8
_PIECE = 16  # raw bits that are pushed at a time


@dataclass(frozen=True, slots=True)
class _Slot:
    """A part of the coder's range: `frequency` of 2^bits values, from `start` on."""

    start: int
    frequency: int
    bits: int


class _Model:
    """The frequencies of the buckets, estimated from the symbols so far."""

    def __init__(self, table: Sequence[int]) -> None:
        self._counts = list(table)
        self._total = sum(table)

    def frequencies(self) -> list[int]:
        """Return the counts of the buckets scaled to integers of at least 1 with the sum 2^PRECISION."""
        free = (1 << PRECISION) - BUCKETS
        frequencies = [1 + free * count // self._total for count in self._counts]
        frequencies[0] += (1 << PRECISION) - sum(frequencies)
        return frequencies

    def count(self, bucket: int) -> None:
        self._counts[bucket] += STEP
        self._total += STEP


class RankCode:
    """Encodes the symbols of a text as bytes, and decodes them."""

    def __init__(self, vocab_size: int, table: Sequence[int] = ()) -> None:
        """Prepare the code.

        :param vocab_size: Number of token ids.
        :param table: Frequency of each bucket in 1/4096; empty for the default table.
        :raises OptionError: If the table is not a distribution over the buckets.
        """
        self.table = tuple(table) or DEFAULT_TABLE
        check_table(self.table)
        self.vocab_size, self.literal_bits = vocab_size, (vocab_size - 1).bit_length()
        self._pieces = tuple(_pieces(self._raw_bits(k)) for k in range(BUCKETS))

    def bucket_costs(self) -> list[float]:
        """Return the bits that a symbol of each bucket costs at the beginning of a text."""
        return [PRECISION - math.log2(f) + self._raw_bits(k) for k, f in enumerate(self.table)]

    def costs(self, symbols: Sequence[int]) -> list[float]:
        """Return the bits that each symbol of a text costs, up to the coder's rounding."""
        return [sum(slot.bits - math.log2(slot.frequency) for slot in slots) for slots in self._slots(symbols)]

    def encode(self, symbols: Sequence[int]) -> bytes:
        """Encode the symbols of a text, one for each dropped token from left to right; b"" if there are none."""
        if not symbols:
            return b""
        state, out = _START, bytearray()
        slots = [slot for symbol_slots in self._slots(symbols) for slot in symbol_slots]
        for slot in reversed(slots):  # the last one pushed is the first to be read
            state = _push(state, slot, out)
        return state.to_bytes((state.bit_length() + 7) // 8, "big") + bytes(reversed(out))

    def decode(self, data: bytes, count: int) -> list[int]:
        """Decode `count` symbols; the inverse of `encode`.

        :param data: The stream.
        :param count: Number of symbols.
        :return: The symbols.
        :raises DamagedSpanError: If the stream was not written for so many symbols.
        """
        state, model, symbols = _State(data), _Model(self.table), []
        for _ in range(count):
            frequencies = model.frequencies()
            ends = list(accumulate(frequencies))
            bucket = bisect_right(ends, state.value & ((1 << PRECISION) - 1))
            state.pop(_Slot(ends[bucket] - frequencies[bucket], frequencies[bucket], PRECISION))
            model.count(bucket)
            symbol = _first(bucket)
            for shift, bits in self._pieces[bucket]:
                symbol += state.take(bits) << shift
            symbols.append(symbol)
        if max(symbols, default=0) >= LITERALS + self.vocab_size or self.encode(symbols) != data:
            raise DamagedSpanError(
                f"The residual of a Z-span ({len(data)} bytes) does not belong to {count} dropped tokens. "
                "Ask for it again where it came from."
            )
        return symbols

    def _slots(self, symbols: Sequence[int]) -> Iterator[list[_Slot]]:
        """Yield the slots of each symbol: that of its bucket, then those of its raw bits."""
        model = _Model(self.table)
        for symbol in symbols:
            bucket, frequencies = _bucket(symbol), model.frequencies()
            offset = symbol - _first(bucket)
            pieces = [_Slot(offset >> shift & ((1 << bits) - 1), 1, bits) for shift, bits in self._pieces[bucket]]
            model.count(bucket)
            yield [_Slot(sum(frequencies[:bucket]), frequencies[bucket], PRECISION), *pieces]

    def _raw_bits(self, bucket: int) -> int:
        return self.literal_bits if bucket == LITERAL_BUCKET else max(bucket - 1, 0)


def check_table(table: Sequence[int]) -> None:
    """Raise OptionError if a rank table is not a distribution over the buckets in 1/4096."""
    if len(table) != BUCKETS or min(table) < 1 or sum(table) != 1 << PRECISION:
        raise OptionError(f"A rank table needs {BUCKETS} positive entries with sum {1 << PRECISION}, got {table}.")


def _bucket(symbol: int) -> int:
    return LITERAL_BUCKET if symbol >= LITERALS else symbol.bit_length()


def _first(bucket: int) -> int:
    """Return the first symbol of a bucket."""
    return 1 << bucket - 1 if bucket else 0


def _pieces(bits: int) -> list[tuple[int, int]]:
    """Cut raw bits into pieces of at most 16, lowest first: (bits below the piece, bits of the piece)."""
    return [(shift, min(_PIECE, bits - shift)) for shift in range(0, bits, _PIECE)]


def _push(state: int, slot: _Slot, out: bytearray) -> int:
    """Push a symbol onto a state; bytes that do not fit leave at its lower end."""
    most = ((_START << _BYTE) >> slot.bits) * slot.frequency
    while state >= most:
        out.append(state & 0xFF)
        state >>= _BYTE
    return (state // slot.frequency << slot.bits) + slot.start + state % slot.frequency


class _State:
    """A state from which symbols are popped; bytes enter it as it shrinks."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0
        self.value = 0
        self._fill()

    def pop(self, slot: _Slot) -> None:
        """Remove the symbol whose slot the state is in."""
        self.value = slot.frequency * (self.value >> slot.bits) + (self.value & ((1 << slot.bits) - 1)) - slot.start
        self._fill()

    def take(self, bits: int) -> int:
        """Remove raw bits, and return their value."""
        value = self.value & ((1 << bits) - 1)
        self.pop(_Slot(value, 1, bits))
        return value

    def _fill(self) -> None:
        while self.value < _START and self._next < len(self._data):
            self.value = self.value << _BYTE | self._data[self._next]
            self._next += 1
