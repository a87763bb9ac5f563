"""A codec without a model: real Z-spans, whose Z-tokens hold the bytes of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from zprompt.documents import read_documents
from zprompt.errors import InvalidTextError
from zprompt.results import CompressionResult, CompressionStats, ExplainedToken, Explanation
from zprompt.zspan.alphabet import Alphabet, ZToken
from zprompt.zspan.range_coder import LITERALS, RankCode
from zprompt.zspan.span import ZSpan, escape_literal, format_span, parse_span, split_at_spans, text_digest

FINGERPRINT = "0123456789ab"
ALPHABET = Alphabet(vocab_size=256, max_gap=3, subcodes=1, subcode_size=4)
_RANK_CODE = RankCode(ALPHABET.vocab_size)
_GROUP = ALPHABET.max_gap + 1


@dataclass
class ByteCodec:
    """A codec whose source tokens are bytes: anchors, and up to three bytes after each as literals of the residual."""

    calls: list[dict[str, object]] = field(default_factory=list)
    bad: str = "\0bad"  # a text that it refuses

    def compress(self, documents: object, **options: object) -> CompressionResult:
        self.calls.append(options)
        batch = read_documents(documents)
        if self.bad in batch.texts and options.get("on_error") == "raise":
            raise InvalidTextError("The text is bad. Give a better one.")
        least = int(str(options.get("min_tokens", 0)))
        kept = [len(text) < least or text == self.bad for text in batch.texts]
        texts = [
            escape_literal(text) if keep else write_span(text) for text, keep in zip(batch.texts, kept, strict=True)
        ]
        return CompressionResult(batch.with_texts(texts), stats_of(batch.texts, passed_through=sum(kept)))

    def decompress(self, documents: object, **options: object) -> object:
        self.calls.append(options)
        batch = read_documents(documents)
        return batch.with_texts([_restore_all(text) for text in batch.texts])

    def explain(self, text: str, **options: object) -> Explanation:
        self.calls.append(options)
        groups = [text[i : i + _GROUP] for i in range(0, len(text), _GROUP)]
        tokens = tuple(_explained(index, group) for index, group in enumerate(groups))
        return Explanation(text, tokens, stats_of([text]), write_span(text))


def write_span(text: str) -> str:
    data = text.encode()
    tokens = tuple(_pack(data[i : i + _GROUP]) for i in range(0, len(data), _GROUP))
    dropped = [LITERALS + byte for i, byte in enumerate(data) if i % _GROUP]
    residual = _RANK_CODE.encode(dropped)
    return format_span(ZSpan(FINGERPRINT, tokens, residual, len(data), 0, False, text_digest(text)), ALPHABET)


def stats_of(texts: Sequence[str], passed_through: int = 0) -> CompressionStats:
    bits = ALPHABET.bits_per_z_token
    return CompressionStats(len(texts), sum(map(len, texts)), 1, 1, 4.0, bits, bits / 4, passed_through, 0.1)


def _pack(group: bytes) -> ZToken:
    return ZToken(group[0], len(group) - 1, (0,))


def _restore(text: str) -> str:
    span = parse_span(text, ALPHABET, FINGERPRINT)
    symbols = iter(_RANK_CODE.decode(span.residual, sum(token.gap for token in span.tokens)))
    groups = ([token.anchor, *(next(symbols) - LITERALS for _ in range(token.gap))] for token in span.tokens)
    return bytes(byte for group in groups for byte in group).decode()


def _restore_all(text: str) -> str:
    return "".join(piece if isinstance(piece, str) else _restore(piece.text) for piece in split_at_spans(text))


def _explained(index: int, group: str) -> ExplainedToken:
    start = index * _GROUP
    gap = len(group) - 1
    return ExplainedToken(
        index, group[0], start, start + 1, start + len(group), gap, (gap,), 8.0 * gap, 12.0 + 8.0 * gap
    )
