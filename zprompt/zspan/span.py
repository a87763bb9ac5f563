r"""The written form of a Z-span: a string that survives JSON, databases and prompts; write it, find it, read it.

    [z1:<fingerprint>:<count>:<payload>:<checksum>]

    z1           marker and version of this form
    fingerprint  12 hexadecimal digits that name the codec
    count        Z-tokens, decimal
    payload      preamble, Z-tokens and residual in base85 (RFC 1924): none of `[ ] : , . / \ " '`
    checksum     8 hexadecimal digits: SHA-256 of everything between `[` and the last `:`

    preamble     flags (1 byte), window (varint), source tokens (varint), digest (8 bytes)
    flags        bit 0: characters are escaped; the others are 0
    Z-tokens     the same number of bits each, most significant first; the last byte is filled up with zero bits
    residual     what range_coder.py wrote

The checksum detects chance damage, not forgery: anyone can compute it. So a Z-span is read as untrusted input: each
content has exactly one form (a varint with idle bytes, an unknown flag or bits left over are damage), nothing is
allocated because of what a preamble claims before the bytes are there, and each way to be wrong has its own error.

Text that only looks like a Z-span is *escaped*: `[z1:` becomes `[z\1:`, `[z\1:` becomes `[z\\1:`, and so on. Escaped
text holds no candidate, and unescaping restores any text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from zprompt.errors import (
    DamagedSpanError,
    ForgedSpanError,
    OptionError,
    SpanVersionError,
    TruncatedSpanError,
    WrongCodecError,
)
from zprompt.zspan.alphabet import Alphabet, ZToken

VERSION = "1"
FINGERPRINT_DIGITS = 12
_CHECKSUM_DIGITS = 8
DIGEST_BYTES = 8
_ESCAPED = 1  # flag
_VARINT_BYTES = 9  # 63 bits
_GROUP = 8  # Z-tokens that are packed together

_BASE85 = r"0-9A-Za-z!#$%&()*+\-;<=>?@^_`{|}~"
_CANDIDATE = re.compile(rf"\[z[0-9]++:[{_BASE85}:]*+\]?")
_VERSION = re.compile(r"\[z([0-9]++):")
_FORM = re.compile(
    rf"\[(?P<sealed>z[0-9]+:(?P<fingerprint>[0-9a-f]{{{FINGERPRINT_DIGITS}}}):(?P<count>0|[1-9][0-9]{{0,17}}):"
    rf"(?P<payload>[{_BASE85}]*+)):(?P<checksum>[0-9a-f]{{{_CHECKSUM_DIGITS}}})\]"
)
_FINGERPRINT = re.compile(rf"[0-9a-f]{{{FINGERPRINT_DIGITS}}}")
_LITERAL = re.compile(r"\[z(?=\\*+[0-9]++:)")
_ESCAPED_LITERAL = re.compile(r"\[z\\(?=\\*+[0-9]++:)")

_ASK_AGAIN = "Ask for it again where it came from."
_SHOWN = 40  # characters of a Z-span that a message quotes


@dataclass(frozen=True, slots=True)
class ZSpan:
    """A compressed text: its Z-tokens, and what restores and verifies it."""

    fingerprint: str  # 12 lower-case hexadecimal digits: the codec that wrote it
    tokens: tuple[ZToken, ...]
    residual: bytes  # the dropped tokens, see range_coder.py
    source_tokens: int  # of the text, each Z-token standing for its anchor and its gap
    window: int  # source tokens per window, the codec's
    escaped: bool  # characters that the tokenizer would lose were escaped
    digest: bytes  # `text_digest` of the source text


@dataclass(frozen=True, slots=True)
class SpanHeader:
    """The fields of a Z-span that can be read without a codec."""

    fingerprint: str
    count: int  # Z-tokens
    source_tokens: int
    window: int
    escaped: bool
    digest: bytes
    body_bytes: int  # of Z-tokens and residual


@dataclass(frozen=True, slots=True)
class SpanMatch:
    """A candidate for a Z-span, found in a string; it may turn out to be damaged."""

    start: int
    end: int
    text: str


def text_digest(text: str) -> bytes:
    """Return the first 8 bytes of the SHA-256 of a source text in UTF-8."""
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]


def format_span(span: ZSpan, alphabet: Alphabet) -> str:
    """Write a Z-span as a string; raise OptionError if a field of it or of a Z-token is out of range."""
    _check(span)
    preamble = Preamble(span.source_tokens, span.window, span.escaped, span.digest)
    data = pack_preamble(preamble) + pack_tokens(span.tokens, alphabet) + span.residual
    payload = base64.b85encode(data).decode("ascii")
    sealed = f"z{VERSION}:{span.fingerprint}:{len(span.tokens)}:{payload}"
    return f"[{sealed}:{_checksum(sealed)}]"


def parse_span(text: str, alphabet: Alphabet, fingerprint: str | None = None) -> ZSpan:
    """Read a Z-span from a string; the inverse of `format_span`.

    :param text: A Z-span and nothing else.
    :param alphabet: The alphabet of its Z-tokens.
    :param fingerprint: The codec that the alphabet belongs to; if given, spans of any other codec are refused.
    :return: The Z-span.
    :raises SpanVersionError: If this version of the form is unknown.
    :raises TruncatedSpanError: If the end is missing, or there are fewer Z-tokens than announced.
    :raises DamagedSpanError: If it does not have the form that its version prescribes.
    :raises ForgedSpanError: If the checksum does not match.
    :raises WrongCodecError: If it was written by another codec.
    """
    frame = _read_frame(text)
    preamble, body = unpack_preamble(frame.payload)
    # Another codec's Z-tokens have another size; but a fingerprint is only believed where the checksum confirms it.
    if fingerprint is not None and frame.intact:
        require_codec(_header(frame, preamble, len(body)), fingerprint)
    packed, residual = split_body(body, frame.count, alphabet)
    frame.require_intact()
    tokens = tuple(unpack_tokens(packed, frame.count, alphabet))
    covered = sum(token.gap + 1 for token in tokens)
    if covered != preamble.source_tokens:
        raise DamagedSpanError(
            f"A Z-span announces {preamble.source_tokens} source tokens, but its Z-tokens stand for {covered}. "
            f"{_ASK_AGAIN}"
        )
    return ZSpan(
        frame.fingerprint,
        tokens,
        residual,
        preamble.source_tokens,
        preamble.window,
        preamble.escaped,
        preamble.digest,
    )


def read_header(text: str) -> SpanHeader:
    """Read the header of a Z-span, without a codec.

    :param text: A Z-span and nothing else.
    :return: Its header.
    :raises SpanVersionError: If this version of the form is unknown.
    :raises TruncatedSpanError: If the end is missing.
    :raises DamagedSpanError: If it does not have the form that its version prescribes.
    :raises ForgedSpanError: If the checksum does not match.
    """
    frame = _read_frame(text)
    frame.require_intact()
    preamble, body = unpack_preamble(frame.payload)
    return _header(frame, preamble, len(body))


def require_codec(header: SpanHeader, fingerprint: str) -> None:
    """Raise WrongCodecError if a Z-span was written by another codec than the one with this fingerprint."""
    if header.fingerprint != fingerprint:
        raise WrongCodecError(
            f"The Z-span was written by the codec {header.fingerprint}, but the codec {fingerprint} is loaded. "
            "A codec is its backbone's weights, its heads and its settings: load the one that wrote the span with "
            "zprompt.load(…), or compress the text again with this one."
        )


def find_spans(text: str) -> Iterator[SpanMatch]:
    """Find all candidates for Z-spans in a string, from left to right, in linear time; parsing one may still fail."""
    return (SpanMatch(match.start(), match.end(), match.group()) for match in _CANDIDATE.finditer(text))


def split_at_spans(text: str) -> Iterator[str | SpanMatch]:
    """Split a text at its Z-spans.

    :param text: Any text; what only looks like a Z-span is escaped in it, as by `escape_literal`.
    :yields: From left to right, the candidate Z-spans and the unescaped, non-empty texts between them.
    """
    end = 0
    for match in find_spans(text):
        if match.start > end:
            yield unescape_literal(text[end : match.start])
        yield match
        end = match.end
    if end < len(text):
        yield unescape_literal(text[end:])


def escape_literal(text: str) -> str:
    """Escape whatever looks like a Z-span in a text, so that `find_spans` finds nothing in it."""
    return _LITERAL.sub(r"[z\\", text)


def unescape_literal(text: str) -> str:
    """Restore a text that was escaped; the inverse of `escape_literal`."""
    return _ESCAPED_LITERAL.sub("[z", text)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The parts of a Z-span's string, with the payload still packed."""

    fingerprint: str
    count: int
    payload: bytes
    intact: bool  # the checksum matches

    def require_intact(self) -> None:
        if not self.intact:
            raise ForgedSpanError(f"A Z-span's checksum does not fit: it was changed or cut. {_ASK_AGAIN}")


def _read_frame(text: str) -> _Frame:
    _require_version(text)
    match = _FORM.fullmatch(text)
    if match is None:
        raise _form_error(text)
    intact = match["checksum"] == _checksum(match["sealed"])
    return _Frame(match["fingerprint"], int(match["count"]), _decode(match["payload"]), intact)


def _header(frame: _Frame, preamble: Preamble, body_bytes: int) -> SpanHeader:
    return SpanHeader(
        frame.fingerprint,
        frame.count,
        preamble.source_tokens,
        preamble.window,
        preamble.escaped,
        preamble.digest,
        body_bytes,
    )


def _checksum(sealed: str) -> str:
    return hashlib.sha256(sealed.encode()).hexdigest()[:_CHECKSUM_DIGITS]


def _decode(payload: str) -> bytes:
    try:
        data = base64.b85decode(payload)
    except ValueError:
        data = None
    # Several strings decode to the same bytes when the last group is short: only the one that was written is good.
    if data is None or base64.b85encode(data).decode("ascii") != payload:
        raise DamagedSpanError(f"A Z-span's payload is not base85. {_ASK_AGAIN}")
    return data


def _require_version(text: str) -> None:
    match = _VERSION.match(text)
    if match is None:
        raise DamagedSpanError(f"Not a Z-span: {_quote(text)}. A Z-span begins with '[z{VERSION}:'.")
    if match[1] != VERSION:
        raise SpanVersionError(
            f"A Z-span has version {_quote(match[1])}, but this release reads version {VERSION} only. "
            "Upgrade zprompt, or compress the text again."
        )


def _form_error(text: str) -> DamagedSpanError:
    """Explain why a string of a known version does not have that version's form."""
    if "]" not in text:
        return TruncatedSpanError(f"A Z-span is cut off: {_quote(text)} has no closing bracket. {_ASK_AGAIN}")
    if _CANDIDATE.fullmatch(text) is None:
        return DamagedSpanError(f"A Z-span holds other characters than its own: {_quote(text)}. {_ASK_AGAIN}")
    return DamagedSpanError(
        f"{_quote(text)} does not have the form [z{VERSION}:<fingerprint>:<count>:<payload>:<checksum>] "
        f"with {FINGERPRINT_DIGITS} hexadecimal digits, a number, base85 and {_CHECKSUM_DIGITS} hexadecimal digits. "
        f"{_ASK_AGAIN}"
    )


def _quote(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _check(span: ZSpan) -> None:
    """Raise OptionError if the Z-span could not be read back."""
    if _FINGERPRINT.fullmatch(span.fingerprint) is None:
        raise OptionError(
            f"A fingerprint must be {FINGERPRINT_DIGITS} lower-case hexadecimal digits, but it is {span.fingerprint!r}."
        )
    if len(span.digest) != DIGEST_BYTES:
        raise OptionError(
            f"A digest must be {DIGEST_BYTES} bytes, but it has {len(span.digest)}; use text_digest(text)."
        )
    if not 0 <= span.window < 1 << 63:
        raise OptionError(f"The window must be a number of source tokens below 2^63, or 0, but it is {span.window}.")
    covered = sum(token.gap + 1 for token in span.tokens)
    if covered != span.source_tokens:
        raise OptionError(
            f"source_tokens is {span.source_tokens}, but the Z-tokens stand for {covered}: an anchor and a gap each."
        )


# The payload.


@dataclass(frozen=True, slots=True)
class Preamble:
    """What comes before the Z-tokens in a payload."""

    source_tokens: int
    window: int  # source tokens per window, the codec's
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
        # By eights, which fill bytes exactly: one integer of all Z-tokens would take quadratic time.
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
