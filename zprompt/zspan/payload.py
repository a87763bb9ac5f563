"""Pack the content of a Z-span into bytes, and back.

    payload  = preamble, Z-tokens, residual
    preamble = flags (1 byte), window (varint), source tokens (varint), digest (8 bytes)
    flags    = bit 0: characters are escaped; the others are 0

Each Z-token takes the same number of bits, most significant first; the last byte is filled up with zero bits. Eight
Z-tokens of b bits fill b bytes exactly, so they are packed by eights: one integer of all of them would be quadratic.

Each content has exactly one payload: a varint with idle bytes, an unknown flag or bits left over are damage, and so is
a residual that range_coder.py would not have written for the dropped tokens. The input is untrusted, so nothing is
allocated because of what a preamble claims before the bytes are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from zprompt.errors import DamagedSpanError, TruncatedSpanError
from zprompt.zspan.alphabet import Alphabet, ZToken

DIGEST_BYTES = 8
_ESCAPED = 1  # flag
_VARINT_BYTES = 9  # 63 bits
_GROUP = 8  # Z-tokens that are packed together


@dataclass(frozen=True, slots=True)
class Preamble:
    """What comes before the Z-tokens in a payload."""

    source_tokens: int
    window: int  # source tokens per window; 0 if the text was not cut
    escaped: bool
    digest: bytes  # first bytes of the SHA-256 of the source text


def pack_preamble(preamble: Preamble) -> bytes:
    """Pack a preamble, its numbers below 2^63 and its digest of 8 bytes."""
    numbers = _varint(preamble.window) + _varint(preamble.source_tokens)
    return bytes([_ESCAPED * preamble.escaped]) + numbers + preamble.digest


def unpack_preamble(payload: bytes) -> tuple[Preamble, bytes]:
    """Split a payload into its preamble and its body: Z-tokens and residual.

    :param payload: All bytes of a Z-span.
    :return: The preamble, and the bytes after it.
    :raises TruncatedSpanError: If the payload ends inside the preamble.
    :raises DamagedSpanError: If a flag is unknown or a number is not in its shortest form.
    """
    flags = payload[0] if payload else 0
    if flags & ~_ESCAPED:
        raise DamagedSpanError(f"A Z-span has unknown flags ({flags:#010b}). Ask for it again where it came from.")
    window, position = _read_varint(payload, 1)
    source_tokens, position = _read_varint(payload, position)
    end = position + DIGEST_BYTES
    if len(payload) < end:
        raise _preamble_cut(payload)
    preamble = Preamble(source_tokens, window, bool(flags & _ESCAPED), payload[position:end])
    return preamble, payload[end:]


def packed_size(count: int, alphabet: Alphabet) -> int:
    """Return how many bytes so many Z-tokens take."""
    return -(-count * alphabet.bits_per_z_token // 8)


def pack_tokens(tokens: Iterable[ZToken], alphabet: Alphabet) -> bytes:
    """Pack Z-tokens into `packed_size` bytes; raise OptionError if one is not of the alphabet."""
    bits = alphabet.bits_per_z_token
    numbers = map(alphabet.pack, tokens)
    groups = []
    while group := list(islice(numbers, _GROUP)):
        joined = 0
        for number in group:
            joined = joined << bits | number
        padding = -len(group) * bits % 8
        groups.append((joined << padding).to_bytes(packed_size(len(group), alphabet), "big"))
    return b"".join(groups)


def unpack_tokens(data: bytes, count: int, alphabet: Alphabet) -> list[ZToken]:
    """Unpack Z-tokens; the inverse of `pack_tokens`.

    :param data: The `packed_size` bytes of the Z-tokens.
    :param count: How many Z-tokens there are.
    :param alphabet: The alphabet that numbers them.
    :return: The Z-tokens.
    :raises DamagedSpanError: If a padding bit is set, or a number stands for no Z-token.
    """
    bits = alphabet.bits_per_z_token
    mask = (1 << bits) - 1
    tokens: list[ZToken] = []
    for start in range(0, len(data), bits):  # 8 Z-tokens of b bits are b bytes
        chunk = data[start : start + bits]
        members = min(_GROUP, count - len(tokens))
        padding = 8 * len(chunk) - members * bits
        joined = int.from_bytes(chunk, "big")
        if joined & (1 << padding) - 1:
            raise DamagedSpanError("A Z-span has bits set after its last Z-token. Ask for it again where it came from.")
        joined >>= padding
        tokens += [alphabet.unpack(joined >> shift & mask) for shift in range((members - 1) * bits, -1, -bits)]
    return tokens


def split_body(body: bytes, count: int, alphabet: Alphabet) -> tuple[bytes, bytes]:
    """Split the body of a payload into the bytes of `count` Z-tokens and the residual.

    :param body: What follows the preamble.
    :param count: How many Z-tokens the span announces.
    :param alphabet: Their alphabet.
    :return: The bytes of the Z-tokens, and the residual.
    :raises TruncatedSpanError: If there are fewer bytes than the Z-tokens take.
    """
    needed = packed_size(count, alphabet)
    if len(body) < needed:
        raise TruncatedSpanError(
            f"A Z-span announces {count} Z-tokens, which take {needed} bytes, but has {len(body)}. "
            "Ask for it again where it came from."
        )
    return body[:needed], body[needed:]


def _varint(number: int) -> bytes:
    """Encode a number in groups of 7 bits, lowest first; the top bit of a byte is set if more follow."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    number = 0
    for index in range(_VARINT_BYTES):
        if position + index >= len(data):
            raise _preamble_cut(data)
        byte = data[position + index]
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise DamagedSpanError("A number in a Z-span's header is not in its shortest form.")
            return number, position + index + 1
    raise DamagedSpanError(f"A number in a Z-span's header takes more than {_VARINT_BYTES} bytes.")


def _preamble_cut(payload: bytes) -> TruncatedSpanError:
    return TruncatedSpanError(
        f"A Z-span ends inside its header, after {len(payload)} bytes. Ask for it again where it came from."
    )
