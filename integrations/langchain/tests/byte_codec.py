"""A codec without a model: real Z-spans whose Z-tokens hold the bytes of the text, four at a time."""

import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from zprompt.documents import read_documents
from zprompt.errors import InvalidTextError, OptionError
from zprompt.options import CompressOptions
from zprompt.results import CompressionResult, CompressionStats
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

_GROUP = 4  # source tokens of a Z-token


class ByteCodec:
    """Source tokens are bytes: an anchor, and up to three bytes after it in the residual."""

    def __init__(self, fingerprint: str = "0123456789ab") -> None:
        self.fingerprint = fingerprint
        self.calls: list[dict[str, Any]] = []
        self.threads: set[int] = set()

    def compress(self, docs: list[str]) -> CompressionResult:
        return self.compress_with(CompressOptions(), docs)

    def compress_with(
        self, options: CompressOptions, docs: Sequence[str], *, batch_size: int = 1, read_spans: bool = True
    ) -> CompressionResult:
        self.calls.append({"docs": list(docs), "batch_size": batch_size, **asdict(options)})
        self.threads.add(threading.get_ident())
        most = options.max_tokens
        if most is not None and sum(-(-len(text) // _GROUP) for text in docs) > most:
            raise OptionError("max_tokens cannot be met.")
        texts = [self._write(text, options) for text in docs]
        stats = CompressionStats(len(docs), 1, 1, 1, 1.0, 1.0, 1.0, 0, 0.0)
        return CompressionResult(texts, stats, tuple(docs), ((1, 1),) * len(docs))

    def parse(self, text: str) -> ZSpan:
        return parse_span(text, self.fingerprint)

    def decompress(self, docs: Any) -> Any:  # noqa: ANN401
        batch = read_documents(docs)
        return batch.with_texts([self._restore_all(text) for text in batch.texts])

    def _write(self, text: str, options: CompressOptions) -> str:
        if "\ud800" in text:
            if options.on_error == "raise":
                raise InvalidTextError("lone surrogate")
            return escape_literal(text)
        data = text.encode()
        if len(data) < (options.min_tokens or 0):
            return escape_literal(text)
        tokens = tuple(ZToken(data[i], len(data[i : i + _GROUP]) - 1) for i in range(0, len(data), _GROUP))
        symbols = tuple(LITERALS + byte for i, byte in enumerate(data) if i % _GROUP)
        return format_span(ZSpan(self.fingerprint, tokens, symbols, False, text_digest(text)))

    def _restore_all(self, text: str) -> str:
        return "".join(piece if isinstance(piece, str) else self._restore(piece.text) for piece in split_at_spans(text))

    def _restore(self, text: str) -> str:
        span = self.parse(text)
        symbols = iter(span.symbols)
        groups = ([token.anchor, *(next(symbols) - LITERALS for _ in range(token.gap))] for token in span.tokens)
        return bytes(byte for group in groups for byte in group).decode()
