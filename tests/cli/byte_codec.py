"""A codec without a model: real Z-spans, whose Z-tokens hold the bytes of the text; and a reader without a model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zprompt.documents import read_documents
from zprompt.errors import InvalidTextError, RatioWarning, SpanError
from zprompt.reader import Answer, Usage
from zprompt.results import CompressionResult, CompressionStats, ExplainedToken, Explanation
from zprompt.zspan import (
    LITERALS,
    ZSpan,
    ZToken,
    escape_literal,
    format_span,
    parse_span,
    split_at_spans,
    text_digest,
)

FINGERPRINT = "0123456789ab"
_GROUP = 4  # source tokens of a Z-token


@dataclass
class ByteCodec:
    """A codec whose source tokens are bytes: anchors, and up to three bytes after each as literals of the residual."""

    calls: list[dict[str, object]] = field(default_factory=list)
    inputs: list[object] = field(default_factory=list)  # arguments of compress
    bad: str = "\0bad"  # a text that it refuses
    missed: str | None = None  # why a ratio is missed, if it is

    def compress(self, documents: object, **options: object) -> CompressionResult:
        self.calls.append(options)
        self.inputs.append(documents)
        batch = read_documents(documents)
        if options.get("query"):
            batch = replace(batch, texts=tuple(map(_restore_all, batch.texts)))
        if self.bad in batch.texts and options.get("on_error") == "raise":
            raise InvalidTextError("The text is bad. Give a better one.")
        min_tokens = int(str(options.get("min_tokens", 0)))
        passed = [len(text) < min_tokens or text == self.bad for text in batch.texts]
        texts = [
            escape_literal(text) if passes else write_span(text)
            for text, passes in zip(batch.texts, passed, strict=True)
        ]
        if self.missed:
            warnings.warn(self.missed, RatioWarning, stacklevel=2)
        stats = stats_of(batch.texts, sum(passed), self.missed)
        lengths = tuple((len(text), 1) for text in batch.texts)
        return CompressionResult(batch.with_texts(texts), stats, batch.texts, lengths)

    def decompress(self, documents: object, **options: object) -> object:
        self.calls.append(options)
        batch = read_documents(documents)
        return batch.with_texts([_restore_all(text) for text in batch.texts])

    def restore_texts(self, texts: Sequence[str], **options: object) -> list[str | SpanError]:
        self.calls.append(options)
        restored: list[str | SpanError] = []
        for text in texts:
            try:
                restored.append(_restore_all(text))
            except SpanError as error:
                restored.append(error)
        return restored

    def explain(self, text: str, **options: object) -> Explanation:
        self.calls.append(options)
        groups = [text[i : i + _GROUP] for i in range(0, len(text), _GROUP)]
        tokens = tuple(_explained(index, group) for index, group in enumerate(groups))
        return Explanation(text, tokens, stats_of([text], missed=self.missed), write_span(text))


@dataclass
class FakeReader:
    """A reader that records its calls and always gives the same answer."""

    codec: ByteCodec
    reply: str = "Margaret Hale"
    usage: Usage = field(default_factory=lambda: Usage(100, 60, 400, 5))
    questions: list[tuple[str, list[object], dict[str, object]]] = field(default_factory=list)
    opened: list[tuple[object, ...]] = field(default_factory=list)

    def answer(self, question: str, passages: list[object], **options: object) -> Answer:
        self.questions.append((question, passages, options))
        return Answer(question, self.reply, "stop", self.usage)


def write_span(text: str) -> str:
    data = text.encode()
    tokens = tuple(ZToken(data[i], len(data[i : i + _GROUP]) - 1) for i in range(0, len(data), _GROUP))
    symbols = tuple(LITERALS + byte for i, byte in enumerate(data) if i % _GROUP)
    return format_span(ZSpan(FINGERPRINT, tokens, symbols, False, text_digest(text)))


def stats_of(texts: Sequence[str], passed_through: int = 0, missed: str | None = None) -> CompressionStats:
    return CompressionStats(len(texts), sum(map(len, texts)), 1, 1, 4.0, 12.0, 3.0, passed_through, 0.1, missed)


def _restore(text: str) -> str:
    span = parse_span(text, FINGERPRINT)
    symbols = iter(span.symbols)
    groups = ([token.anchor, *(next(symbols) - LITERALS for _ in range(token.gap))] for token in span.tokens)
    return bytes(byte for group in groups for byte in group).decode()


def _restore_all(text: str) -> str:
    return "".join(piece if isinstance(piece, str) else _restore(piece.text) for piece in split_at_spans(text))


def _explained(index: int, group: str) -> ExplainedToken:
    start = index * _GROUP
    gap = len(group) - 1
    return ExplainedToken(index, group[0], start, start + 1, start + len(group), gap, (), 8.0 * gap, 12.0 + 8.0 * gap)
