"""Say what one Z-token is, and number the alphabet that Z-tokens come from.

A Z-token is `(anchor, gap, code)`. An alphabet numbers all of its Z-tokens in mixed radix, so that each is one integer
of a fixed number of bits:

    number = ((anchor · (G + 1) + gap) · K + code[0]) · K + … + code[M-1]
    size   = V · (G + 1) · K^M
    bits   = ceil(log2(size))

A gap of 0 drops nothing, so there is nothing for a code to say: its code is all zeros, and the numbers that would say
otherwise stand for no Z-token. What a code leaves open about its span is in the residual of the text (residual.py):
only the decompressor needs it, so it is no part of what a reader reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from zprompt.errors import DamagedSpanError, OptionError


@dataclass(frozen=True, slots=True)
class ZToken:
    """One position in the reader's context: a source token, and what to know about the span dropped after it."""

    anchor: int  # id of the source token that is kept
    gap: int  # source tokens dropped after the anchor
    code: tuple[int, ...]  # learned sub-codes: what the span says


@dataclass(frozen=True, slots=True)
class Alphabet:
    """All Z-tokens of one codec, numbered."""

    vocab_size: int  # V: anchors
    max_gap: int = 15  # G: longest span, in source tokens
    subcodes: int = 4  # M: sub-codes of a code
    subcode_size: int = 256  # K: values of a sub-code

    def __post_init__(self) -> None:
        """Refuse an alphabet whose Z-tokens would take no bits or have a field without values.

        :raises OptionError: If a field is below its minimum.
        """
        # Two anchors at least: a Z-token of 0 bits would let a few bytes claim any number of Z-tokens.
        minima = {"vocab_size": 2, "max_gap": 0, "subcodes": 0, "subcode_size": 1}
        for name, least in minima.items():
            value = getattr(self, name)
            if value < least:
                raise OptionError(f"An alphabet's {name} must be at least {least}, but it is {value}.")

    @property
    def size(self) -> int:
        """Count the numbers that Z-tokens are drawn from."""
        codes: int = self.subcode_size**self.subcodes
        return self.vocab_size * (self.max_gap + 1) * codes

    @property
    def bits_per_z_token(self) -> int:
        """Say how many bits one Z-token takes: log2 of the size, rounded up."""
        return (self.size - 1).bit_length()

    def pack(self, token: ZToken) -> int:
        """Give the number of a Z-token.

        :param token: A Z-token of this alphabet.
        :return: An integer from 0 to `size` - 1.
        :raises OptionError: If a field is out of range, or the token has no gap but a code.
        """
        self._check(token)
        number = token.anchor * (self.max_gap + 1) + token.gap
        for subcode in token.code:
            number = number * self.subcode_size + subcode
        return number

    def unpack(self, number: int) -> ZToken:
        """Give the Z-token that has this number; the inverse of `pack`.

        :param number: An integer that `pack` returned.
        :return: The Z-token.
        :raises DamagedSpanError: If no Z-token of this alphabet has this number.
        """
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
