"""The residual of a code: which of the decompressor's candidates each token of the span is.

After anchor, next anchor and code have spoken, the decompressor ranks the whole vocabulary for every place of the
span; rank 0 is its best guess. The residual is the arithmetic code of these ranks in exactly `bits` bits, as an
integer: with p(rank) from a fixed table, a span fits if

    cost = sum of -log2 p(rank) over its tokens <= bits

since an interval of width 2^-bits always holds a multiple of 2^-bits. This is the limit of "residual sub-codes, each
of which encodes what the previous left" (design, section 5): the code says what a span is about, the residual what is
left to say.

All arithmetic is on integers, so it is exact on every machine. Ranks share a table entry by power of two: bucket 0 is
rank 0, bucket k >= 1 holds the ranks 2^(k-1) .. 2^k - 1, and k - 1 plain bits tell them apart.
"""

import math
from collections.abc import Sequence

from zprompt.errors import DamagedSpanError, OptionError

PRECISION = 12  # bits; table entries are in 1/4096
BUCKETS = 18  # ranks up to 131,071: larger than the vocabularies in use
DEFAULT_TABLE = (2640, 380, 290, 230, 170, 125, 90, 65, 45, 28, 16, 8, 4, 1, 1, 1, 1, 1)


class RankCode:
    """Turns the ranks of a span into an integer of fixed size, and back."""

    def __init__(self, bits: int, table: Sequence[int] = ()) -> None:
        """Prepare the code.

        :param bits: Size of the integer.
        :param table: Frequency of each bucket in 1/4096; empty for the default table.
        :raises OptionError: If the table is not a distribution over the buckets.
        """
        self.bits = bits
        self.table = tuple(table) or DEFAULT_TABLE
        if len(self.table) != BUCKETS or min(self.table) < 1 or sum(self.table) != 1 << PRECISION:
            raise OptionError(
                f"A rank table needs {BUCKETS} positive entries with sum {1 << PRECISION}, got {self.table}."
            )
        self.starts = tuple(sum(self.table[:k]) for k in range(BUCKETS))

    def bucket_costs(self) -> list[float]:
        """Give the price of a rank in each bucket.

        :return: Bits, one entry for each bucket.
        """
        return [PRECISION - math.log2(f) + max(k - 1, 0) for k, f in enumerate(self.table)]

    def encode(self, ranks: Sequence[int]) -> int | None:
        """Write the ranks as an integer.

        :param ranks: Rank of each token of the span, from left to right.
        :return: An integer below 2^bits, or None if the ranks do not fit.
        """
        low, width, shift = 0, 1, 0  # the interval is [low, low + width) / 2^shift
        for rank in ranks:
            bucket = rank.bit_length()
            if bucket >= BUCKETS:
                return None
            plain = max(bucket - 1, 0)
            frequency = self.table[bucket]
            start = (self.starts[bucket] << plain) + frequency * (rank - (1 << plain) if bucket else 0)
            low = (low << (PRECISION + plain)) + width * start
            width *= frequency
            shift += PRECISION + plain
        value = -((-low << self.bits) >> shift)  # the first multiple of 2^-bits that is not below the interval
        return value if value << shift < (low + width) << self.bits else None

    def decode(self, value: int, count: int) -> list[int]:
        """Read the ranks back.

        :param value: What `encode` gave.
        :param count: Number of tokens of the span.
        :return: Rank of each token.
        :raises DamagedSpanError: If no span has this residual.
        """
        ranks = []
        # The value's place in the current interval, in units that grow at each step.
        rest, width = value, 1 << self.bits
        for _ in range(count):
            rest <<= PRECISION
            slot = rest // width
            bucket = next((k for k in reversed(range(BUCKETS)) if self.starts[k] <= slot), 0)
            rest -= self.starts[bucket] * width
            width *= self.table[bucket]
            plain = max(bucket - 1, 0)
            rest <<= plain
            offset = rest // width
            rest -= offset * width
            ranks.append((1 << plain) + offset if bucket else 0)
        if self.encode(ranks) != value:
            raise DamagedSpanError(f"Residual {value} does not belong to a span of {count} tokens.")
        return ranks
