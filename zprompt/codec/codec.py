"""Documents in, Z-spans out, and back: the object behind `zprompt.compress` and `zprompt.decompress`.

A text is escaped where the tokenizer cannot escape it, cut into tokens and windows, and each window into Z-tokens; the
Z-span that takes its place carries them, the residual, the codec's fingerprint and a hash of the text. Without a wanted
length, windows are done batch after batch; with one, all windows of the call are analysed first, since they share one
exchange rate (planning.py).
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from zprompt.codec.compressor import Compressor, TiledWindow
from zprompt.codec.decompressor import Decompressor, KnownWindow
from zprompt.codec.heads import CodecHeads
from zprompt.codec.importance import TokenImportance, token_importance
from zprompt.codec.rate_control import Job, tile_windows
from zprompt.documents import read_documents
from zprompt.errors import DamagedSpanError, IntegrityError, InvalidTextError
from zprompt.llm import Backbone
from zprompt.options import CompressOptions, OnError, Protect, check_batch_size
from zprompt.progress import Progress
from zprompt.results import CompressionResult, CompressionStats, ExplainedToken, Explanation
from zprompt.zspan import (
    FINGERPRINT_DIGITS,
    OffsetMap,
    ZSpan,
    ZToken,
    escape,
    escape_literal,
    find_spans,
    format_span,
    parse_span,
    require_no_surrogates,
    text_digest,
    unescape,
    unescape_literal,
)

COMPRESS_BATCH = 8  # windows a pass
DECOMPRESS_BATCH = 16  # windows a step


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text on its way into Z-tokens."""

    text: str
    escaped: bool
    ids: list[int]
    offsets: list[tuple[int, int]]  # of each token, in characters of `text`
    worth: list[TokenImportance] | None  # of each token; None: all the same


class Codec:
    """Compresses documents to Z-spans and restores them; may be used from several threads at a time."""

    def __init__(self, backbone: Backbone, heads: CodecHeads, name: str = "custom") -> None:
        """Put a codec together; `zprompt.load` does it for most uses.

        :param backbone: The LLM.
        :param heads: Heads that were trained for it.
        :param name: What the codec is called.
        """
        self.name, self.backbone, self.heads, self.settings = name, backbone, heads, heads.settings
        heads.round_to_half()
        self.alphabet = self.settings.alphabet(backbone.vocab_size)
        parts = (backbone.fingerprint + heads.fingerprint()).encode()
        self.fingerprint = hashlib.sha256(parts).hexdigest()[:FINGERPRINT_DIGITS]
        self._compressor = Compressor(backbone, heads)
        self._decompressor = Decompressor(backbone, heads)

    def __repr__(self) -> str:
        """Name the codec.

        :return: A short description.
        """
        bits = self.alphabet.bits_per_z_token
        return f"Codec({self.name!r}, {self.fingerprint}, {bits} bits per Z-token, {self.backbone!r})"

    def compress(
        self,
        docs: Any,  # noqa: ANN401 - str, dict, LangChain and LlamaIndex documents, and sequences of them
        *,
        ratio: float | None = None,
        max_tokens: int | None = None,
        query: str | None = None,
        protect: Protect | None = None,
        min_tokens: int | None = None,
        on_error: OnError = "raise",
        batch_size: int = COMPRESS_BATCH,
        progress: Progress | None = None,
    ) -> CompressionResult:
        """Replace the text of documents by Z-spans.

        :param docs: A document or a sequence of them: str, dict with "text", LangChain Document, LlamaIndex node.
        :param ratio: Source tokens per Z-token that all documents together are to reach, as far as their texts allow;
            None: the usual exchange rate of Z-tokens and bits. Every text is restored exactly at every ratio: at a
            lower one Z-tokens say more by anchors and codes, at a higher one the residual is longer.
        :param max_tokens: Z-tokens that all documents may take together.
        :param query: What will be asked; sentences that share words with it are rather kept word for word, as anchors.
        :param protect: A regex, or a sequence of literal strings, whose tokens are all kept as anchors.
        :param min_tokens: Texts with fewer tokens pass through unchanged.
        :param on_error: "raise", or "passthrough" to leave texts that cannot be compressed as they are.
        :param batch_size: Windows that the LLM reads at a time; the result does not depend on it.
        :param progress: Called with ("compress", windows done, windows in all).
        :return: The documents, of the same types and in the same order, and the figures of the call.
        """
        began = time.perf_counter()
        check_batch_size(batch_size)
        options = CompressOptions(ratio, max_tokens, query, protect, min_tokens, on_error)
        batch = read_documents(docs)
        sources = [self._read(text, options) for text in batch.texts]
        tiled = self._tile(sources, options, batch_size, progress)
        spans = [
            None if source is None else self._span(source, windows or [])
            for source, windows in zip(sources, tiled, strict=True)
        ]
        texts = [
            format_span(span, self.alphabet) if span else escape_literal(text)
            for text, span in zip(batch.texts, spans, strict=True)
        ]
        stats = self._stats(batch.texts, spans, time.perf_counter() - began)
        return CompressionResult(batch.with_texts(texts), stats)

    def decompress(
        self,
        docs: Any,  # noqa: ANN401 - as in compress
        *,
        batch_size: int = DECOMPRESS_BATCH,
        progress: Progress | None = None,
    ) -> Any:  # noqa: ANN401 - as it was given
        """Put the text back in place of every Z-span of documents; what is around them stays.

        :param docs: A document or a sequence of them, as `compress` takes and gives them.
        :param batch_size: Windows that are decoded at a time; the result does not depend on it.
        :param progress: Called with ("decompress", windows done, windows in all).
        :return: The documents, of the same types and in the same order.
        """
        check_batch_size(batch_size)
        batch = read_documents(docs)
        pieces = [list(self._pieces(text)) for text in batch.texts]
        spans = [piece for document in pieces for piece in document if isinstance(piece, ZSpan)]
        restored = iter(self._restore(spans, batch_size, progress))
        texts = [
            "".join(next(restored) if isinstance(piece, ZSpan) else piece for piece in document) for document in pieces
        ]
        return batch.with_texts(texts)

    def explain(self, text: str, *, batch_size: int = COMPRESS_BATCH, **options: Any) -> Explanation:  # noqa: ANN401
        """Show how a text is cut into Z-tokens.

        :param text: The text.
        :param batch_size: As in `compress`.
        :param options: As in `compress`: ratio, max_tokens, query, protect.
        :return: The tiling, with what each Z-token stands for.
        """
        began = time.perf_counter()
        source = self._read(text, CompressOptions(**options), must=True)
        assert source is not None
        [windows] = self._tile([source], CompressOptions(**options), batch_size, None)
        span = self._span(source, windows or [])
        stats = self._stats([text], [span], time.perf_counter() - began)
        tokens = self._explained(source, windows or [])
        return Explanation(text, tuple(tokens), stats, format_span(span, self.alphabet))

    def shorthand(self, span: str) -> str:
        """Give the anchors of Z-spans as readable text, for an LLM that knows no Z-tokens.

        :param span: A Z-span, or a text with Z-spans in it.
        :return: The text, with each Z-span replaced by its anchors; an ellipsis stands for what was dropped.
        """
        return "".join(self._anchors(piece) if isinstance(piece, ZSpan) else piece for piece in self._pieces(span))

    def _read(self, text: str, options: CompressOptions, must: bool = False) -> SourceText | None:
        """Cut a text into tokens; None if it is to pass through."""
        try:
            require_no_surrogates(text)
            carried = escape(text, lambda piece: self.backbone.decode(self.backbone.encode(piece)) == piece)
        except InvalidTextError:
            if options.on_error == "passthrough" and not must:
                return None
            raise
        ids, offsets = self.backbone.encode_with_offsets(carried.text)
        if options.min_tokens is not None and len(ids) < options.min_tokens and not must:
            return None
        if carried.escaped:
            to_source = OffsetMap.of(carried).to_source
            offsets = [(to_source(start), to_source(end)) for start, end in offsets]
        worth = None
        if options.has_length or options.has_weights:
            encode = self.backbone.encode
            worth = token_importance(text, offsets, encode, query=options.query, protect=options.protection)
        return SourceText(text, carried.escaped, ids, offsets, worth)

    def _tile(
        self,
        sources: Sequence[SourceText | None],
        options: CompressOptions,
        batch_size: int,
        progress: Progress | None,
    ) -> list[list[TiledWindow] | None]:
        """Tile the windows of all texts."""
        size, windows, worth, owner = self.settings.window, [], [], []
        for index, source in enumerate(sources):
            for start in range(0, len(source.ids) if source else 0, size):
                assert source is not None
                windows.append(source.ids[start : start + size])
                worth.append(source.worth[start : start + size] if source.worth is not None else None)
                owner.append(index)
        tiled: list[list[TiledWindow] | None] = [None if source is None else [] for source in sources]
        job = Job(self._compressor, windows, worth, batch_size, progress)
        for index, result in zip(owner, tile_windows(job, options), strict=True):
            document = tiled[index]
            assert document is not None
            document.append(result)
        return tiled

    def _span(self, source: SourceText, windows: Sequence[TiledWindow]) -> ZSpan:
        """Make a text's Z-span."""
        return ZSpan(
            fingerprint=self.fingerprint,
            tokens=tuple(token for window in windows for token in window.tokens),
            residual=self._compressor.rank_code.encode(_symbols(windows)),
            source_tokens=len(source.ids),
            window=self.settings.window,
            escaped=source.escaped,
            digest=text_digest(source.text),
        )

    def _pieces(self, text: str) -> Iterator[str | ZSpan]:
        """Split a text into Z-spans and what is between them."""
        end = 0
        for match in find_spans(text):
            yield unescape_literal(text[end : match.start])
            yield self._parse(match.text)
            end = match.end
        yield unescape_literal(text[end:])

    def _parse(self, text: str) -> ZSpan:
        """Read a Z-span of this codec."""
        span = parse_span(text, self.alphabet, self.fingerprint)
        if span.window != self.settings.window:  # a longer one could cost any amount of memory
            raise DamagedSpanError(
                f"A Z-span announces windows of {span.window} tokens, but this codec's have {self.settings.window}. "
                "Ask for it again where it came from."
            )
        return span

    def _restore(self, spans: Sequence[ZSpan], batch_size: int, progress: Progress | None) -> list[str]:
        """Decode Z-spans."""
        windows = [self._known_windows(span) for span in spans]
        flat = [window for document in windows for window in document]
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if progress:
                progress("decompress", done, len(flat))

        ids = iter(self._decompressor.restore(flat, batch_size, advance))
        texts = []
        for span, document in zip(spans, windows, strict=True):
            text = self.backbone.decode([token for _ in document for token in next(ids)])
            texts.append(self._finish(span, text))
        return texts

    def _known_windows(self, span: ZSpan) -> list[KnownWindow]:
        """Read the residual of a Z-span, and cut it into windows."""
        dropped = sum(token.gap for token in span.tokens)
        symbols = iter(self._compressor.rank_code.decode(span.residual, dropped))
        return [
            KnownWindow(tokens, [next(symbols) for token in tokens for _ in range(token.gap)])
            for tokens in split_windows(span)
        ]

    def _finish(self, span: ZSpan, carried: str) -> str:
        """Undo the escaping of a restored text, and check it."""
        text = unescape(carried) if span.escaped else carried
        if text_digest(text) != span.digest:
            raise IntegrityError(
                "A Z-span came back as a text with another hash than the one that was compressed. It was forged, or "
                "this machine computes differently from the one that wrote it by more than the codec's margin. "
                "Compress the text again, or restore it where it was compressed."
            )
        return text

    def _anchors(self, span: ZSpan) -> str:
        """Write the anchors of a Z-span as text; neighbouring ones belong together."""
        parts: list[str] = []
        run: list[int] = []
        for token in span.tokens:
            run.append(token.anchor)
            if token.gap:
                parts.append(self.backbone.decode(run))
                run = []
        parts.append(self.backbone.decode(run))
        text = " …".join(parts)
        return unescape(text) if span.escaped else text

    def _explained(self, source: SourceText, windows: Sequence[TiledWindow]) -> Iterator[ExplainedToken]:
        """Lay Z-tokens over a text."""
        # Tokens may share a character (its bytes): it belongs to the first of them, and the others have none.
        edges = [0, *accumulate((end for _, end in source.offsets), max)]
        edges[-1] = len(source.text)
        bits = iter(self._compressor.rank_code.costs(_symbols(windows)))
        start = 0
        for index, token in enumerate(token for window in windows for token in window.tokens):
            end = start + token.gap + 1
            residual_bits = sum(next(bits) for _ in range(token.gap))
            yield ExplainedToken(
                index=index,
                anchor=source.text[edges[start] : edges[start + 1]],
                start=edges[start],
                anchor_end=edges[start + 1],
                end=edges[end],
                gap=token.gap,
                code=token.code,
                residual_bits=residual_bits,
                cost=self.alphabet.bits_per_z_token + residual_bits,
            )
            start = end

    def _stats(
        self,
        texts: Sequence[str],
        spans: Sequence[ZSpan | None],
        seconds: float,
    ) -> CompressionStats:
        """Sum up a call."""
        # What passed through may hold lone surrogates, which no tokenizer takes.
        passed = [
            len(self.backbone.encode(text.encode("utf-8", "replace").decode()))
            for text, span in zip(texts, spans, strict=True)
            if span is None
        ]
        written = [span for span in spans if span]
        compressed, z_tokens = sum(span.source_tokens for span in written), sum(len(span.tokens) for span in written)
        bits = z_tokens * self.alphabet.bits_per_z_token + sum(8 * len(span.residual) for span in written)
        source_tokens, positions = compressed + sum(passed), z_tokens + sum(passed)
        return CompressionStats(
            documents=len(texts),
            source_tokens=source_tokens,
            z_tokens=positions,
            ratio=source_tokens / positions if positions else 1.0,
            bits_per_z_token=bits / z_tokens if z_tokens else 0.0,
            bits_per_source_token=bits / compressed if compressed else 0.0,
            exact=1.0,  # by construction: `benchmarks.codec` and the tests restore and compare
            passed_through=len(passed),
            seconds=seconds,
        )


def _symbols(windows: Sequence[TiledWindow]) -> list[int]:
    """List the symbols of a text."""
    return [symbol for window in windows for symbol in window.symbols]


def split_windows(span: ZSpan) -> Iterator[list[ZToken]]:
    """Cut the Z-tokens of a Z-span into its windows.

    :param span: The Z-span.
    :return: The Z-tokens of each window.
    :yields: The Z-tokens of one window.
    :raises DamagedSpanError: If a Z-token belongs to two windows.
    """
    window: list[ZToken] = []
    length = 0
    for token in span.tokens:
        window.append(token)
        length += token.gap + 1
        if length > span.window:
            raise DamagedSpanError(
                "A Z-token reaches into the next window. Ask for the Z-span again where it came from."
            )
        if length == span.window:
            yield window
            window, length = [], 0
    if window:
        yield window
