"""Write the Z-tokens and the residual of a text as one stream of adaptive bits, and read them without an LLM.

A Z-token is (anchor, gap, code): a source token that is kept, the number of tokens dropped after it, and the learned
sub-codes that describe them, if the codec has any and they pay. The residual has one *symbol* per dropped token:

    symbol < LITERALS      the token's rank among the LLM's candidates, 0 for its best guess
    symbol >= LITERALS     LITERALS + the token's id: its rank is higher, or a rival is too near to be sure of it

The stream holds the Z-tokens, one after the other, then the symbols. Contexts (arithmetic_coder.py) and their priors:

    gap        in unary; prior: the share of dropped tokens. At ratio 4 a gap takes 3.2 bits, which is its entropy
    anchor     each node of the binary tree of ids; prior: Zipf's law p(id) ~ 1 / (id + 20), since a BPE vocabulary is
               sorted by frequency. An id that occurs again is cheap
    sub-code   whether it is written, then each node of the tree of its values; no prior
    symbol     its *bucket* in unary, by the bucket of the symbol before; priors measured on Wikipedia. Bucket 0 is rank
               0, bucket k the ranks 2^(k-1) .. 2^k - 1, told apart by k - 1 raw bits; the last one is for literals

A symbol's meaning does not depend on other symbols, so some can be removed without an LLM (ZSpan.focus).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zprompt.errors import DamagedSpanError, OptionError
from zprompt.zspan.arithmetic_coder import ONE, Coder, Decoder, Encoder, Meter

LITERALS = 256  # the first symbol that is no rank
NO_CODE = -1  # in place of a sub-code that is not written
MOST_ID_BITS = 20  # of a token id; vocabularies need up to 18, and a forged stream with 24 would take 1 GB of tables
MOST_SUBCODES = 7  # per Z-token
_SUBCODE_BITS = 8
MOST_SUBCODE_VALUES = 1 << _SUBCODE_BITS
_LITERAL_BUCKET = LITERALS.bit_length()  # ranks have the buckets below
_AFTER_ANCHOR = 4  # the context after an anchor; after a symbol it is its bucket, at most 3

# Priors, and the number of bits that each counts as (measured on 48 passages of Wikipedia at ratio 6).
_ZIPF, _ID_WEIGHT = 20, 6
_GAP_WEIGHT = 20
_SYMBOL_WEIGHT = 12
_BY_SYMBOL_BEFORE = ((30500, 34000, 31400, 32000, 35600), (45800, 49800, 47500, 46900, 48400))  # of bucket 0 and 1
_DEEPER = (0, 0, 43200, 43000, 39300, 34700, 30100, 14400, 630)  # by bucket, that the symbol is in a later one
_LITERAL_BITS = 24.0  # of a literal symbol, roughly: its bucket and the id


@dataclass(frozen=True, slots=True)
class ZToken:
    """One position in a reader's context: a source token, and a description of the span that was dropped after it."""

    anchor: int  # id of the source token that is kept
    gap: int  # source tokens dropped after the anchor
    code: tuple[int, ...] = ()  # learned sub-codes that describe the span; NO_CODE where one is not written


def encode(tokens: Sequence[ZToken], symbols: Sequence[int]) -> bytes:
    """Write Z-tokens and residual, one symbol per dropped token from left to right, as a stream of bytes."""
    if not tokens:
        return b""
    layout, coder = _Layout.of(tokens, symbols), Encoder()
    _code_all(coder, layout, tokens, symbols)
    return layout.to_bytes() + coder.finish()


def decode(data: bytes, count: int, source_tokens: int) -> tuple[list[ZToken], list[int]]:
    """Read Z-tokens and residual; the inverse of `encode`.

    :param data: The stream.
    :param count: The number of Z-tokens in it.
    :param source_tokens: The number of source tokens that they stand for.
    :return: The Z-tokens, and the symbols.
    :raises DamagedSpanError: If the stream was not written for these numbers.
    """
    if not data and not count and not source_tokens:
        return [], []
    if not 0 < count <= source_tokens:
        raise _damaged(f"{count} Z-tokens for {source_tokens} source tokens")
    layout, body = _Layout.from_bytes(data, count, source_tokens)
    coder = Decoder(body)
    tokens, symbols = _code_all(coder, layout)
    coder.finish()
    if len(tokens) != count or _Layout.of(tokens, symbols) != layout:
        raise _damaged(f"{count} Z-tokens, but holds {len(tokens)}, or was not written in the shortest form")
    return tokens, symbols


def measure(tokens: Sequence[ZToken], symbols: Sequence[int]) -> tuple[list[float], list[float]]:
    """Return the bits that each Z-token takes in a stream, and those that each symbol takes."""
    if not tokens:
        return [], []
    layout, coder = _Layout.of(tokens, symbols), Meter()
    totals = [0.0]  # bits so far
    remaining = layout.source_tokens
    for token in tokens:
        _code_z_token(coder, layout, remaining, token)
        totals.append(coder.bits)
        remaining -= token.gap + 1
    for context, symbol in zip(_symbol_contexts(tokens, symbols), symbols, strict=True):
        _code_symbol(coder, layout, context, symbol)
        totals.append(coder.bits)
    bits = [after - before for before, after in pairwise(totals)]
    return bits[: len(tokens)], bits[len(tokens) :]


def symbol_bits(symbols: NDArray[np.int64]) -> NDArray[np.float64]:
    """Estimate the bits that symbols take in a stream, (n,), from the priors of its contexts."""
    return _SYMBOL_BITS[np.minimum(symbols, LITERALS)]


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a decoder knows of a stream before its first bit."""

    count: int  # Z-tokens
    source_tokens: int
    id_bits: int  # of the largest id in it
    subcodes: int  # per Z-token; 0 if none is written

    @classmethod
    def of(cls, tokens: Sequence[ZToken], symbols: Sequence[int]) -> _Layout:
        largest = max(max(token.anchor for token in tokens), max(symbols, default=0) - LITERALS)
        coded = any(subcode != NO_CODE for token in tokens for subcode in token.code)
        source_tokens = sum(token.gap + 1 for token in tokens)
        subcodes = max(len(token.code) for token in tokens) if coded else 0
        if largest.bit_length() > MOST_ID_BITS:
            raise OptionError(f"A Z-span has the token {largest}, but ids have {MOST_ID_BITS} bits at most.")
        return cls(len(tokens), source_tokens, largest.bit_length(), subcodes)

    def to_bytes(self) -> bytes:
        return bytes([self.id_bits << 3 | self.subcodes])

    @classmethod
    def from_bytes(cls, data: bytes, count: int, source_tokens: int) -> tuple[_Layout, bytes]:
        if not data or data[0] >> 3 > MOST_ID_BITS:
            raise _damaged(f"{count} Z-tokens, but is not one")
        return cls(count, source_tokens, data[0] >> 3, data[0] & MOST_SUBCODES), data[1:]


def _code_all(
    coder: Coder, layout: _Layout, tokens: Sequence[ZToken] | None = None, symbols: Sequence[int] | None = None
) -> tuple[list[ZToken], list[int]]:
    """Write the Z-tokens and symbols of a stream, or read them if they are None; return them."""
    coded_tokens: list[ZToken] = []
    remaining = layout.source_tokens
    while remaining:
        token = tokens[len(coded_tokens)] if tokens else None
        coded_tokens.append(_code_z_token(coder, layout, remaining, token))
        remaining -= coded_tokens[-1].gap + 1
    coded_symbols: list[int] = []
    for context in _symbol_contexts(coded_tokens, coded_symbols):
        symbol = symbols[len(coded_symbols)] if symbols else 0
        coded_symbols.append(_code_symbol(coder, layout, context, symbol))
    return coded_tokens, coded_symbols


def _code_z_token(coder: Coder, layout: _Layout, remaining: int, token: ZToken | None) -> ZToken:
    """Write a Z-token, or read it if it is None, given the number of source tokens that remain."""
    anchor = _code_id(coder, layout.id_bits, token.anchor if token else 0)
    dropped_share = ONE - ONE * layout.count // layout.source_tokens
    gap, true_gap = 0, token.gap if token else 0
    while gap < remaining - 1 and coder.bit("gap", int(gap < true_gap), dropped_share, _GAP_WEIGHT):
        gap += 1
    code = (token.code if token else ()) or (NO_CODE,) * layout.subcodes
    if layout.subcodes and gap:
        code = tuple(_code_subcode(coder, m, subcode) for m, subcode in enumerate(code))
    return ZToken(anchor, gap, code)


def _code_id(coder: Coder, bits: int, value: int) -> int:
    return coder.below("id", bits, value, _zipf(bits), _ID_WEIGHT)


def _code_subcode(coder: Coder, index: int, value: int) -> int:
    written = coder.bit(("written", index), int(value != NO_CODE))
    return coder.below(("sub-code", index), _SUBCODE_BITS, max(value, 0)) if written else NO_CODE


def _code_symbol(coder: Coder, layout: _Layout, previous: int, symbol: int) -> int:
    """Write a symbol, given its context: the bucket of the previous symbol, or `_AFTER_ANCHOR`."""
    true_bucket, bucket = _bucket(symbol), 0
    while bucket < _LITERAL_BUCKET:
        context: tuple[int | str, int] = ("deeper", bucket)
        prior = _DEEPER[bucket]
        if bucket < len(_BY_SYMBOL_BEFORE):
            context, prior = (previous, bucket), _BY_SYMBOL_BEFORE[bucket][previous]
        if not coder.bit(context, int(bucket < true_bucket), prior, _SYMBOL_WEIGHT):
            break
        bucket += 1
    if bucket == _LITERAL_BUCKET:
        return LITERALS + _code_id(coder, layout.id_bits, max(symbol - LITERALS, 0))
    rank = int(bucket > 0)
    for shift in range(bucket - 2, -1, -1):
        rank = rank << 1 | coder.bit(None, symbol >> shift & 1)
    return rank


def _symbol_contexts(tokens: Iterable[ZToken], symbols: Sequence[int]) -> Iterator[int]:
    """Yield the context of each symbol; `symbols` may be filled in while this runs, one symbol per context."""
    index = 0
    for token in tokens:
        for j in range(token.gap):
            yield min(_bucket(symbols[index - 1]), _AFTER_ANCHOR - 1) if j else _AFTER_ANCHOR
            index += 1


def _bucket(symbol: int) -> int:
    return _LITERAL_BUCKET if symbol >= LITERALS else symbol.bit_length()


@lru_cache(maxsize=MOST_ID_BITS + 1)
def _zipf(bits: int) -> array[int]:
    """Return the probability of the upper half of each inner node of the tree of ids, by Zipf's law."""
    # Sums from left to right, which every machine rounds alike.
    total = np.append(0.0, np.cumsum(1 / (np.arange(1 << bits) + _ZIPF)))
    upper = array("H", [0])
    for level in range(bits):
        low, high = total[: -1 : 1 << bits - level], total[1 << bits - level :: 1 << bits - level]
        middle = total[1 << bits - level - 1 :: 1 << bits - level]
        upper.extend(((high - middle) / (high - low) * ONE).astype(np.uint16).tolist())
    return upper


def _prior_bits() -> NDArray[np.float64]:
    """Return the bits of each rank, interpolated between the last ranks of the buckets, and those of a literal."""
    edges, bits = [], 0.0
    for bucket, later in enumerate((_BY_SYMBOL_BEFORE[0][-1], _BY_SYMBOL_BEFORE[1][-1], *_DEEPER[2:])):
        edges.append(bits - math.log2(1 - later / ONE) + max(bucket - 1, 0))
        bits -= math.log2(later / ONE)
    ranks = np.interp(np.log2(np.arange(LITERALS) + 1), range(len(edges)), edges)
    return np.append(ranks.round(3), _LITERAL_BITS)


_SYMBOL_BITS = _prior_bits()


def _damaged(announced: str) -> DamagedSpanError:
    return DamagedSpanError(f"The stream of a Z-span announces {announced}. Get it again from its source.")
