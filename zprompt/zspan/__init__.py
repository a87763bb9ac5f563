"""The format of Z-spans: integers, bytes and strings; no model."""

from zprompt.zspan.alphabet import Alphabet, ZToken
from zprompt.zspan.escaping import EscapedText, OffsetMap, escape, require_no_surrogates, unescape
from zprompt.zspan.range_coder import BUCKETS, LITERAL_BUCKET, LITERALS, PRECISION, RankCode, check_table
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

__all__ = [
    "BUCKETS",
    "FINGERPRINT_DIGITS",
    "LITERALS",
    "LITERAL_BUCKET",
    "PRECISION",
    "Alphabet",
    "EscapedText",
    "OffsetMap",
    "RankCode",
    "SpanHeader",
    "SpanMatch",
    "ZSpan",
    "ZToken",
    "check_table",
    "escape",
    "escape_literal",
    "find_spans",
    "format_span",
    "parse_span",
    "read_header",
    "require_no_surrogates",
    "split_at_spans",
    "text_digest",
    "unescape",
    "unescape_literal",
]
