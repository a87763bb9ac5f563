r"""Write, find and read Z-spans: strings that survive JSON, URLs, HTML and line folding.

    [z2:<fingerprint>:<count>:<payload>:<checksum>]

    z2           marker and version of this form
    fingerprint  12 hexadecimal digits that name the codec
    count        Z-tokens, decimal
    payload      preamble and stream in base64url (RFC 4648) without padding
    checksum     8 hexadecimal digits: SHA-256 of everything between `[` and the last `:`

    preamble     flags (1 byte; bit 0: characters are escaped), source tokens (varint), digest (8 bytes)
    stream       Z-tokens and residual, see stream.py

White space anywhere in it is ignored, and HTML escapes of its punctuation are read: mail and YAML fold lines, templates
escape. Anything that does not have the full form is text. A form of which only the end is missing is a truncated
Z-span, and one with another checksum was changed: both are refused, since what they stood for is lost.

The checksum detects accidental damage, not forgery: anyone can compute it. So a Z-span is read as untrusted input: each
content has exactly one form (redundant varint bytes, unknown flags and trailing bits are damage), nothing is allocated
that a preamble claims before the bytes are there, and each kind of failure has its own error.

If a text that passes through contains something of this form, that is *escaped*: `[z2:…]` becomes `[\z2:…]`, that
becomes `[\\z2:…]`, and so on.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from zprompt.errors import (
    DamagedSpanError,
    ForgedSpanError,
    OptionError,
    SpanError,
    SpanVersionError,
    TruncatedSpanError,
    WrongCodecError,
)
from zprompt.zspan.stream import LITERALS, NO_CODE, ZToken, decode, encode

VERSION = "2"
FINGERPRINT_DIGITS = 12
DIGEST_BYTES = 8
_CHECKSUM_DIGITS = 8
_ESCAPED = 1  # flag
_VARINT_BYTES = 9  # 63 bits
_SHOWN = 40  # characters of a Z-span that a message quotes
_ASK_AGAIN = "Get it again from its source."

# White space that may stand between any two characters, and the punctuation, also as HTML escapes.
_FOLD = r"(?:\s|&(?:\#(?:9|10|13|32|160)|\#[xX](?:9|[aA]|[dD]|20|[aA]0)|Tab|NewLine|nbsp);)*+"
_COLON = rf"(?::|&(?:\#58|\#[xX]3[aA]|colon);){_FOLD}"
_OPEN = r"(?:\[|&(?:\#91|\#[xX]5[bB]|lbrack|lsqb);)"
_CLOSE = r"(?:\]|&(?:\#93|\#[xX]5[dD]|rbrack|rsqb);)"
_PAYLOAD = rf"(?:(?:[0-9A-Za-z_-]|&(?:\#45|\#95|\#[xX]2[dD]|\#[xX]5[fF]|lowbar);){_FOLD})"
_HEX, _NUMBER = rf"(?:[0-9a-f]{_FOLD})", rf"(?:[0-9]{_FOLD})++"
_START = rf"{_FOLD}z{_FOLD}{VERSION}{_FOLD}{_COLON}{_HEX}{{{FINGERPRINT_DIGITS}}}{_COLON}{_NUMBER}{_COLON}"
_WHOLE = rf"{_START}{_PAYLOAD}*+{_COLON}{_HEX}{{{_CHECKSUM_DIGITS}}}{_CLOSE}"
_CUT = rf"{_START}{_PAYLOAD}{{16,}}+(?:{_COLON}{_HEX}*+)?+"
_OTHER_VERSION = rf"z[0-9]++:[0-9a-f]{{{FINGERPRINT_DIGITS}}}:[0-9]++:[^\s\[\]:]*+:[0-9a-f]{{{_CHECKSUM_DIGITS}}}\]"
_REST = rf"(?:{_WHOLE}|{_CUT}|{_OTHER_VERSION})"
_CANDIDATE = re.compile(_OPEN + _REST)
_LITERAL = re.compile(rf"({_OPEN})(?=\\*+{_REST})")
_ESCAPED_LITERAL = re.compile(rf"({_OPEN})\\(?=\\*+{_REST})")

_VERSION = re.compile(r"\[z([0-9]++):")
_FORM = re.compile(
    rf"\[(?P<sealed>z{VERSION}:(?P<fingerprint>[0-9a-f]{{{FINGERPRINT_DIGITS}}}):(?P<count>0|[1-9][0-9]{{0,17}}):"
    rf"(?P<payload>[0-9A-Za-z_-]*+)):(?P<checksum>[0-9a-f]{{{_CHECKSUM_DIGITS}}})\]"
)
_FINGERPRINT = re.compile(rf"[0-9a-f]{{{FINGERPRINT_DIGITS}}}")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class ZSpan:
    """A compressed text: its Z-tokens, and what restores and verifies it."""

    fingerprint: str  # 12 lower-case hexadecimal digits: the codec that wrote it
    tokens: tuple[ZToken, ...]
    symbols: tuple[int, ...]  # of the dropped tokens, see stream.py
    escaped: bool  # characters that the tokenizer would lose were escaped
    digest: bytes  # `text_digest` of the source text

    @property
    def source_tokens(self) -> int:
        """Return the number of source tokens that it stands for."""
        return len(self.tokens) + len(self.symbols)

    @cached_property
    def stream(self) -> bytes:
        """Return Z-tokens and residual as bytes."""
        return encode(self.tokens, self.symbols)

    def focus(self, sentences: Iterable[tuple[int, Sequence[int]]]) -> ZSpan:
        """Keep some sentences of the text word for word: all their tokens become anchors.

        This needs no LLM. Nothing else changes, and the Z-span still restores the whole text.

        :param sentences: The position of each sentence's first token in the text, and its token ids.
        :return: The focused Z-span.
        :raises OptionError: If the ids are not those of the text, or a sentence ends within a span that has a code.
        """
        ids = {start + i: token for start, sentence in sentences for i, token in enumerate(sentence)}
        beyond = [position for position in ids if not 0 <= position < self.source_tokens]
        if beyond:
            raise OptionError(
                f"A sentence has token {beyond[-1]}, but the Z-span has only {self.source_tokens} source tokens."
            )
        tokens: list[ZToken] = []
        symbols: list[int] = []
        start = first_symbol = 0
        for token in self.tokens:
            dropped = self.symbols[first_symbol : first_symbol + token.gap]
            for position, known in enumerate((token.anchor, *(symbol - LITERALS for symbol in dropped)), start):
                if known >= 0 and ids.get(position, known) != known:
                    raise OptionError(
                        f"Token {position} of a Z-span is {known}, but the sentence has {ids[position]} there. "
                        "Focus it with the sentences of its own text."
                    )
            kept = [j for j in range(token.gap) if start + 1 + j in ids]
            tokens += _split(token, kept, [ids[start + 1 + j] for j in kept])
            symbols += [symbol for j, symbol in enumerate(dropped) if start + 1 + j not in ids]
            start, first_symbol = start + token.gap + 1, first_symbol + token.gap
        return replace(self, tokens=tuple(tokens), symbols=tuple(symbols))


def _split(token: ZToken, kept: Sequence[int], ids: Sequence[int]) -> Iterator[ZToken]:
    """Split a Z-token at the dropped tokens that become anchors, given their indices in the gap and their ids."""
    if not kept:
        yield token
        return
    if len(kept) < token.gap and any(subcode != NO_CODE for subcode in token.code):
        raise OptionError(
            f"A span of {token.gap} tokens has a code, so {len(kept)} of them cannot be kept word for word alone. "
            "Focus whole sentences."
        )
    for anchor, (index, end) in zip([token.anchor, *ids], pairwise([-1, *kept, token.gap]), strict=True):
        yield ZToken(anchor, end - index - 1, (NO_CODE,) * len(token.code))


@dataclass(frozen=True, slots=True)
class SpanHeader:
    """The fields of a Z-span that are read without decoding its stream."""

    fingerprint: str
    count: int  # Z-tokens
    source_tokens: int
    escaped: bool
    digest: bytes
    stream_bytes: int  # of Z-tokens and residual


@dataclass(frozen=True, slots=True)
class SpanMatch:
    """A part of a string that has the form of a Z-span; it may turn out to be damaged."""

    start: int
    end: int
    text: str


def verbatim_runs(tokens: Iterable[ZToken]) -> Iterator[list[ZToken]]:
    """Group Z-tokens into runs within which nothing is dropped; only the last one of a run may have a gap."""
    run: list[ZToken] = []
    for token in tokens:
        run.append(token)
        if token.gap:
            yield run
            run = []
    if run:
        yield run


def text_digest(text: str) -> bytes:
    """Return the first 8 bytes of the SHA-256 of a source text in UTF-8."""
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]


def format_span(span: ZSpan) -> str:
    """Write a Z-span as a string; raise OptionError if one of its fields is out of range."""
    _check(span)
    preamble = bytes([_ESCAPED * span.escaped]) + _varint(span.source_tokens) + span.digest
    payload = base64.urlsafe_b64encode(preamble + span.stream).decode("ascii").rstrip("=")
    sealed = f"z{VERSION}:{span.fingerprint}:{len(span.tokens)}:{payload}"
    return f"[{sealed}:{_checksum(sealed)}]"


def parse_span(text: str, fingerprint: str | None = None) -> ZSpan:
    """Read a Z-span from a string; the inverse of `format_span`.

    :param text: A Z-span and nothing else.
    :param fingerprint: The codec's fingerprint; spans of any other codec are refused. None: any codec.
    :return: The Z-span.
    :raises SpanVersionError: If this version of the form is unknown.
    :raises TruncatedSpanError: If the end is missing.
    :raises DamagedSpanError: If it does not have the form that its version prescribes.
    :raises ForgedSpanError: If the checksum does not match.
    :raises WrongCodecError: If it was written by another codec.
    """
    header, stream = _read(text)
    if fingerprint is not None:
        require_codec(header, fingerprint)
    tokens, symbols = decode(stream, header.count, header.source_tokens)
    return ZSpan(header.fingerprint, tuple(tokens), tuple(symbols), header.escaped, header.digest)


def read_header(text: str) -> SpanHeader:
    """Read the header of a Z-span without decoding its stream.

    :param text: A Z-span and nothing else.
    :return: Its header.
    :raises SpanVersionError: If this version of the form is unknown.
    :raises TruncatedSpanError: If the end is missing.
    :raises DamagedSpanError: If it does not have the form that its version prescribes.
    :raises ForgedSpanError: If the checksum does not match.
    """
    return _read(text)[0]


def require_codec(header: SpanHeader, fingerprint: str) -> None:
    """Raise WrongCodecError if a Z-span was written by another codec than the one with this fingerprint."""
    if header.fingerprint != fingerprint:
        raise WrongCodecError(
            f"The Z-span was written by the codec {header.fingerprint}, but the codec {fingerprint} is loaded. "
            "A codec is its backbone's weights, its settings and its heads: load the one that wrote the span with "
            "zprompt.load(…), or compress the text again with this one."
        )


def find_spans(text: str) -> Iterator[SpanMatch]:
    """Find everything in a string that has the form of a Z-span, from left to right; reading it may still fail."""
    return (SpanMatch(match.start(), match.end(), match.group()) for match in _CANDIDATE.finditer(text))


def is_span(text: str) -> bool:
    """Return whether a whole string has the form of a Z-span; reading it may still fail."""
    return _CANDIDATE.fullmatch(text) is not None


def split_at_spans(text: str) -> Iterator[str | SpanMatch]:
    """Split a text at its Z-spans.

    :param text: Any text; literal text of the form of a Z-span is escaped in it, as by `escape_literal`.
    :yields: From left to right, the Z-spans and the unescaped, non-empty texts between them.
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
    """Escape whatever has the form of a Z-span in a text, so that `find_spans` finds nothing in it."""
    return _LITERAL.sub(r"\1\\", text)


def unescape_literal(text: str) -> str:
    """Restore a text that was escaped; the inverse of `escape_literal`."""
    return _ESCAPED_LITERAL.sub(r"\1", text)


def _read(text: str) -> tuple[SpanHeader, bytes]:
    """Read the header of a Z-span, and its stream, not decoded."""
    plain = _SPACES.sub("", html.unescape(text))
    match = _FORM.fullmatch(plain)
    if match is None:
        raise _form_error(text, plain)
    if match["checksum"] != _checksum(match["sealed"]):
        raise ForgedSpanError(f"A Z-span's checksum does not match: {_quote(plain)} was changed or cut. {_ASK_AGAIN}")
    payload = _decode(match["payload"])
    flags = payload[0] if payload else 0
    if flags & ~_ESCAPED:
        raise DamagedSpanError(f"A Z-span has unknown flags ({flags:#010b}). {_ASK_AGAIN}")
    source_tokens, position = _read_varint(payload, 1)
    end = position + DIGEST_BYTES
    if len(payload) < end:
        raise _preamble_cut(payload)
    digest, stream = payload[position:end], payload[end:]
    header = SpanHeader(
        match["fingerprint"], int(match["count"]), source_tokens, bool(flags & _ESCAPED), digest, len(stream)
    )
    return header, stream


def _checksum(sealed: str) -> str:
    return hashlib.sha256(sealed.encode()).hexdigest()[:_CHECKSUM_DIGITS]


def _decode(payload: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except ValueError:
        data = None
    # Several strings decode to the same bytes if the last group is short: accept only the one that is written.
    if data is None or base64.urlsafe_b64encode(data).decode("ascii").rstrip("=") != payload:
        raise DamagedSpanError(f"A Z-span's payload is not base64url. {_ASK_AGAIN}")
    return data


def _form_error(text: str, plain: str) -> SpanError:
    """Explain why a string is no Z-span of this version; `plain` has no white space or HTML escapes."""
    version = _VERSION.match(plain)
    if version is None:
        return DamagedSpanError(f"Not a Z-span: {_quote(text)}. A Z-span begins with '[z{VERSION}:'.")
    if version[1] != VERSION:
        return SpanVersionError(
            f"A Z-span has version {_quote(version[1])}, but this release reads version {VERSION} only. "
            "Compress the text again, or use the release of zprompt that wrote it."
        )
    if not plain.endswith("]"):
        return TruncatedSpanError(
            f"A Z-span is cut off: {_quote(text)} has no closing bracket. Split or shorten texts before compressing "
            f"them, not after. {_ASK_AGAIN}"
        )
    return DamagedSpanError(
        f"{_quote(text)} does not have the form [z{VERSION}:<fingerprint>:<count>:<payload>:<checksum>] "
        f"with {FINGERPRINT_DIGITS} hexadecimal digits, a number, base64url and {_CHECKSUM_DIGITS} hexadecimal digits. "
        f"{_ASK_AGAIN}"
    )


def _quote(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _check(span: ZSpan) -> None:
    """Raise OptionError if the Z-span could not be read back."""
    if _FINGERPRINT.fullmatch(span.fingerprint) is None:
        raise OptionError(
            f"A fingerprint must be {FINGERPRINT_DIGITS} lower-case hexadecimal digits, got {span.fingerprint!r}."
        )
    if len(span.digest) != DIGEST_BYTES:
        raise OptionError(f"A digest must be {DIGEST_BYTES} bytes, got {len(span.digest)}; use text_digest(text).")
    dropped = sum(token.gap for token in span.tokens)
    if dropped != len(span.symbols):
        raise OptionError(f"A Z-span has {len(span.symbols)} symbols, but its Z-tokens drop {dropped} tokens.")


def _varint(number: int) -> bytes:
    """Encode a number in groups of 7 bits, lowest first; the top bit of a byte is set if another byte follows."""
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
                raise DamagedSpanError(f"A number in a Z-span's header is not in its shortest form. {_ASK_AGAIN}")
            return number, position + index + 1
    raise DamagedSpanError(f"A number in a Z-span's header takes more than {_VARINT_BYTES} bytes. {_ASK_AGAIN}")


def _preamble_cut(payload: bytes) -> TruncatedSpanError:
    return TruncatedSpanError(f"A Z-span ends inside its header, after {len(payload)} bytes. {_ASK_AGAIN}")
