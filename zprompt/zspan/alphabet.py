"""Number the Z-tokens of a codec, so that each is one integer of a fixed number of bits.

A Z-token is `(anchor, gap, code)`. Its number is in mixed radix:

    number = ((anchor · (G + 1) + gap) · K + code[0]) · K + … + code[M-1]
    size   = V · (G + 1) · K^M
    bits   = ceil(log2(size))

A gap of 0 drops nothing, so its code is all zeros, and the numbers of other codes stand for no Z-token. What a code
does not determine about its span is in the residual (range_coder.py): only the decompressor needs it, so it is not
part of what a reader reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from zprompt.errors import DamagedSpanError, OptionError


@dataclass(frozen=True, slots=True)
class ZToken:
    """One position in a reader's context: a source token, and a description of the span that was dropped after it."""

    anchor: int  # id of the source token that is kept
    gap: int  # source tokens dropped after the anchor
    code: tuple[int, ...]  # learned sub-codes that describe the span


@dataclass(frozen=True, slots=True)
class Alphabet:
    """All Z-tokens of one codec, numbered."""

    vocab_size: int  # V: anchors
    max_gap: int = 15  # G: longest span, in source tokens
    subcodes: int = 4  # M: sub-codes of a code
    subcode_size: int = 256  # K: values of a sub-code

    def __post_init__(self) -> None:
        # Two anchors at least: a Z-token of 0 bits would let a few bytes claim any number of Z-tokens.
        minima = {"vocab_size": 2, "max_gap": 0, "subcodes": 0, "subcode_size": 1}
        for name, least in minima.items():
            value = getattr(self, name)
            if value < least:
                raise OptionError(f"An alphabet's {name} must be at least {least}, but it is {value}.")

    @property
    def size(self) -> int:
        """Return how many numbers there are."""
        codes: int = self.subcode_size**self.subcodes
        return self.vocab_size * (self.max_gap + 1) * codes

    @property
    def bits_per_z_token(self) -> int:
        """Return log2 of the size, rounded up."""
        return (self.size - 1).bit_length()

    def pack(self, token: ZToken) -> int:
        """Return the number of a Z-token, from 0 to `size` - 1; raise OptionError if a field is out of range."""
        self._check(token)
        number = token.anchor * (self.max_gap + 1) + token.gap
        for subcode in token.code:
            number = number * self.subcode_size + subcode
        return number

    def unpack(self, number: int) -> ZToken:
        """Return the Z-token of a number, the inverse of `pack`; raise DamagedSpanError if there is none."""
        rest, code = number, [0] * self.subcodes
        for m in reversed(range(self.subcodes)):
            rest, code[m] = divmod(rest, self.subcode_size)
        anchor, gap = divmod(rest, self.max_gap + 1)
        if not 0 <= anchor < self.vocab_size:
            raise DamagedSpanError(
                f"A Z-token has the anchor {anchor}, but anchors go from 0 to {self.vocab_size - 1}. "
                "The Z-span is damaged or belongs to another codec."
            )
        if gap == 0 and any(code):
            raise DamagedSpanError(
                f"A Z-token with anchor {anchor} drops no tokens and yet has the code {code}, which must be zeros. "
                "The Z-span is damaged or belongs to another codec."
            )
        return ZToken(anchor, gap, tuple(code))

    def _check(self, token: ZToken) -> None:
        if not 0 <= token.anchor < self.vocab_size:
            raise OptionError(f"{token}: the anchor must be from 0 to {self.vocab_size - 1}.")
        if not 0 <= token.gap <= self.max_gap:
            raise OptionError(f"{token}: the gap must be from 0 to {self.max_gap}.")
        if len(token.code) != self.subcodes or not all(0 <= subcode < self.subcode_size for subcode in token.code):
            raise OptionError(f"{token}: the code must be {self.subcodes} numbers from 0 to {self.subcode_size - 1}.")
        if token.gap == 0 and any(token.code):
            raise OptionError(f"{token}: a Z-token without a gap must have a code of zeros.")
