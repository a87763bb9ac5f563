"""."""

from zprompt.zspan.alphabet import Alphabet, ZToken
from zprompt.zspan.escaping import OffsetMap, escape, require_no_surrogates, unescape
from zprompt.zspan.range_coder import BUCKETS, LITERAL_BUCKET, LITERALS, PRECISION, RankCode, check_table
from zprompt.zspan.span import (
    FINGERPRINT_DIGITS,
    SpanHeader,
    ZSpan,
    escape_literal,
    find_spans,
    format_span,
    parse_span,
    read_header,
    text_digest,
    unescape_literal,
)

__all__ = [
    "Alphabet",
    "BUCKETS",
    "FINGERPRINT_DIGITS",
    "LITERALS",
    "LITERAL_BUCKET",
    "OffsetMap",
    "PRECISION",
    "RankCode",
    "SpanHeader",
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
    "text_digest",
    "unescape",
    "unescape_literal",
]
