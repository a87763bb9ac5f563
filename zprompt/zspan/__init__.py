"""The format of Z-spans: integers, bytes and strings; no model."""

from zprompt.zspan.escaping import EscapedText, OffsetMap, escape, require_no_surrogates, unescape
from zprompt.zspan.span import (
    FINGERPRINT_DIGITS,
    SpanHeader,
    SpanMatch,
    ZSpan,
    escape_literal,
    find_spans,
    format_span,
    parse_span,
    read_header,
    split_at_spans,
    text_digest,
    unescape_literal,
)
from zprompt.zspan.stream import LITERALS, NO_CODE, ZToken, encode, measure, symbol_bits

__all__ = [
    "FINGERPRINT_DIGITS",
    "LITERALS",
    "NO_CODE",
    "EscapedText",
    "OffsetMap",
    "SpanHeader",
    "SpanMatch",
    "ZSpan",
    "ZToken",
    "encode",
    "escape",
    "escape_literal",
    "find_spans",
    "format_span",
    "measure",
    "parse_span",
    "read_header",
    "require_no_surrogates",
    "split_at_spans",
    "symbol_bits",
    "text_digest",
    "unescape",
    "unescape_literal",
]
