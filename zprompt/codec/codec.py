"""Documents in, Z-spans out, and back: the class behind `zprompt.compress` and `zprompt.decompress`.

    text ─► tokens (source.py, focused.py) ─► windows ─► symbols (compressor.py) ─► Z-tokens (tiling.py) ─► Z-span
    text ◄─ tokens, checked by the text's hash ◄─ windows (decompressor.py) ◄─ Z-tokens and symbols ◄─ Z-span

A codec is a causal LM and two numbers (settings.py); nothing in it is trained for compression. A codec with heads may
also write learned codes (codes.py).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from zprompt.codec.checkpoint import CodecConfig, find_codec, load_heads, read_config, write_codec
from zprompt.codec.codes import CodeWriter, Written
from zprompt.codec.compressor import Compressor
from zprompt.codec.decompressor import Decompressor, split_windows
from zprompt.codec.focused import focus_sources, matching_span, span_symbols
from zprompt.codec.heads import CodecHeads
from zprompt.codec.settings import CodecSettings
from zprompt.codec.source import SourceText, explain_tokens, read_source
from zprompt.codec.symbol_cache import SymbolCache
from zprompt.codec.tiling import Ints, ScoredWindow, choose_kept, explain_miss
from zprompt.documents import DocumentBatch, read_documents, title_of
from zprompt.errors import (
    DamagedSpanError,
    DocumentTypeError,
    IntegrityError,
    InvalidTextError,
    OptionError,
    RatioWarning,
    SpanError,
)
from zprompt.llm import Backbone, choose_device, choose_quantization, load_backbone
from zprompt.options import CompressOptions, OnError, Protect, check_batch_size, check_on_error
from zprompt.paths import cache_dir
from zprompt.progress import Progress
from zprompt.recent import Recent
from zprompt.relevance import Relevance, shared_relevance
from zprompt.results import CompressionResult, CompressionStats, Explanation, KeptText
from zprompt.zspan import (
    FINGERPRINT_DIGITS,
    LITERALS,
    ZSpan,
    ZToken,
    escape_literal,
    find_spans,
    format_span,
    is_span,
    parse_span,
    split_at_spans,
    text_digest,
    unescape,
)

COMPRESS_BATCH = 8  # windows per pass
DECOMPRESS_BATCH = 16  # windows per step
SYMBOLS = "symbols.sqlite"  # in the cache folder
TEXTS = 20_000_000  # characters of source texts kept in memory, so that their Z-spans are focused without the LLM
SPANS = 200_000  # source tokens of parsed Z-spans kept in memory: parsing one of 150 tokens takes 7 ms

logger = logging.getLogger(__name__)


class Codec:
    """Compresses documents to Z-spans and restores them; thread-safe."""

    def __init__(
        self,
        backbone: Backbone,
        settings: CodecSettings | None = None,
        heads: CodecHeads | None = None,
        name: str = "custom",
    ) -> None:
        """Build a codec from its parts; `Codec.from_pretrained` is for most uses.

        :param backbone: The LLM.
        :param settings: None: the defaults for the LLM's context length.
        :param heads: Heads trained for the LLM, with which spans may have learned codes.
        :param name: What the codec is called.
        """
        self.name, self.backbone, self.heads = name, backbone, heads
        self.settings = settings or CodecSettings.for_positions(backbone.max_positions)
        identity = backbone.fingerprint + self.settings.to_json()
        if heads:
            heads.round_to_half()
            identity += heads.fingerprint()
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:FINGERPRINT_DIGITS]
        self._compressor = Compressor(backbone, self.settings)
        self._code_writer = CodeWriter(self._compressor, heads) if heads else None
        self._decompressor = Decompressor(backbone, heads)
        self.cache: SymbolCache | None = SymbolCache(self._cache_key)  # None: symbols are always computed
        self._texts: Recent[bytes, str] = Recent(TEXTS)  # by digest
        self._spans: Recent[str, ZSpan] = Recent(SPANS)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "default",
        *,
        backbone: str | None = None,
        device: str = "auto",
        quantization: str = "auto",
    ) -> Codec:
        """Load a codec.

        :param name_or_path: An LLM ("default", the folder of a causal LM, or its name on the Hugging Face hub), a
            shipped codec, or a folder that `save_pretrained` wrote.
        :param backbone: The LLM, if it lies elsewhere than a codec's folder says: a path or a Hugging Face name.
        :param device: "auto" (a GPU if there is one), "cpu" or "cuda".
        :param quantization: "auto" ("nf4" on a GPU, else "none"), "none", "nf4" or "int8".
        :return: The codec.
        """
        name = str(name_or_path)
        folder = find_codec(name)
        config = read_config(folder) if folder else None
        llm = load_backbone(backbone or (config.backbone if config else name), device=device, quantization=quantization)
        if folder and config:
            codec = cls(llm, config.settings, load_heads(folder, config, llm), name)
        else:
            codec = cls(llm, name=name)
        codec.cache = SymbolCache(codec._cache_key, cache_dir() / SYMBOLS)
        return codec

    def remember_nothing(self) -> None:
        """Stop caching, in memory and on disk: for texts that are compressed only once."""
        self.cache, self._texts, self._spans = None, Recent(0), Recent(0)

    @property
    def _cache_key(self) -> str:
        return f"{self.fingerprint} {self.backbone.device.type}"

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the codec to a folder that `from_pretrained` loads; the LLM is named, not copied."""
        heads = self.heads.settings if self.heads else None
        config = CodecConfig(self.backbone.name, self.backbone.weights_fingerprint, self.settings, heads)
        write_codec(Path(folder), config, self.heads)

    def __repr__(self) -> str:
        return f"Codec({self.name!r}, {self.fingerprint}, {self.backbone!r}{', learned codes' if self.heads else ''})"

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
        verify: bool = False,
        relevance: Relevance | None = None,
    ) -> CompressionResult:
        """Replace the text of documents with Z-spans.

        :param docs: A document or a sequence of them: str, dict with "text", LangChain Document, LlamaIndex node.
        :param ratio: Source tokens per Z-token, to be met over all documents together; None: it depends on how
            predictable they are. Each sentence and line keeps its first token, so a ratio may be out of reach: then the
            nearest is taken, a miss of more than a tenth is a RatioWarning, and `stats.missed` says why. Every text is
            restored exactly at every ratio: at a lower one the anchors hold more of it, at a higher one the residual.
        :param max_tokens: Most Z-tokens that all documents may take together.
        :param query: The question that will be asked. The sentences that it needs are kept word for word, as anchors:
            over all documents as many as the ratio or max_tokens allows, or without either as many as 95 % of the
            answers need. Documents that are Z-spans of this codec are focused, without the LLM if their text is known.
        :param protect: A regex, or a sequence of literal strings and compiled regexes; all tokens of their matches are
            kept as anchors.
        :param min_tokens: Texts with fewer tokens pass through unchanged.
        :param on_error: "raise", or "passthrough" to leave texts that cannot be compressed as they are.
        :param batch_size: Windows per pass of the LLM; the result does not depend on it.
        :param progress: Called with ("compress", windows done, windows in all).
        :param verify: Restore every Z-span and compare; `stats.exact` is then the share that came back byte for byte.
            It takes as long as `decompress`.
        :param relevance: Chooses the sentences; None: the default, shared by the process.
        :return: The documents, of the same types and in the same order, and the statistics of the call.
        """
        options = CompressOptions(ratio, max_tokens, query, protect, min_tokens, on_error)
        result = self.compress_with(
            options, docs, batch_size=batch_size, progress=progress, verify=verify, relevance=relevance
        )
        if result.stats.missed:
            warnings.warn(result.stats.missed, RatioWarning, stacklevel=2)
        return result

    def compress_with(
        self,
        options: CompressOptions,
        docs: Any,  # noqa: ANN401 - as in compress
        *,
        batch_size: int = COMPRESS_BATCH,
        progress: Progress | None = None,
        verify: bool = False,
        relevance: Relevance | None = None,
        read_spans: bool = True,
        each: bool = False,
    ) -> CompressionResult:
        """Compress documents with options that are already checked; a missed ratio is in `stats.missed`, not a warning.

        :param options: The options.
        :param docs: As in `compress`.
        :param batch_size: As in `compress`.
        :param progress: As in `compress`.
        :param verify: As in `compress`.
        :param relevance: As in `compress`.
        :param read_spans: With a query, focus documents that are Z-spans; False: treat them as any other text.
        :param each: Meet the ratio in each document by itself, so that none depends on the others; not with a query.
        :return: As from `compress`.
        :raises OptionError: If `each` is set and there is a query.
        """
        began = time.perf_counter()
        batch_size = check_batch_size(batch_size)
        if each and options.query:
            raise OptionError("each=True excludes a query. Compress each document in its own call.")
        batch = read_documents(docs)
        refocus = bool(options.query) and read_spans  # Z-spans stand for their texts
        originals = self.original_texts(batch, options.on_error, batch_size) if refocus else list(batch.texts)
        sources: list[SourceText | None] = []
        for index, (text, original) in enumerate(zip(batch.texts, originals, strict=True)):
            if refocus and original == text and is_span(text.strip()):  # cannot be restored: it passes through
                sources.append(None)
                continue
            with batch.naming(index):
                span = self._reusable_span(text) if original != text else None
                sources.append(self._source(original, options, span))
        if options.max_tokens is not None:
            passing = [self._count_tokens(text) for text, source in zip(originals, sources, strict=True) if not source]
            options = options.beside(sum(passing), alone=len(passing) == len(sources))
        kept: list[KeptText] | None = None
        if options.query:
            relevance = relevance or shared_relevance()
            kept = self._focus(sources, originals, batch, options, relevance)
        spans, missed = self._tile(sources, options, batch_size, progress, each)
        if kept and options.max_tokens is not None and not any(kept_text.ranges for kept_text in kept):
            missed = f"max_tokens={options.max_tokens} has no room for any sentence: none stays word for word"
        texts = [
            format_span(span) if span else escape_literal(original)
            for original, span in zip(originals, spans, strict=True)
        ]
        self._remember_texts(originals, spans)
        for text, span in zip(texts, spans, strict=True):
            if span:
                self._spans.put(text, span, span.source_tokens)
        seconds = time.perf_counter() - began
        exact = self._share_restored(originals, texts) if verify else None
        lengths = self._lengths(originals, spans)
        stats = self._stats(lengths, spans, seconds, exact, missed)
        if relevance and kept is not None:
            verbatim = sum(int(source.forced.sum()) for source in sources if source)
            stats = replace(stats, relevance=relevance.name, verbatim=verbatim / max(1, stats.source_tokens))
        return CompressionResult(
            documents=batch.with_texts(texts),
            stats=stats,
            sources=tuple(originals),
            tokens=lengths,
            query=options.query,
            kept=None if kept is None else tuple(kept),
        )

    def decompress(
        self,
        docs: Any,  # noqa: ANN401 - as in compress
        *,
        on_error: OnError = "raise",
        batch_size: int = DECOMPRESS_BATCH,
        progress: Progress | None = None,
    ) -> Any:  # noqa: ANN401 - as it was given
        """Replace every Z-span in documents with its text; what is around it stays.

        :param docs: A document or a sequence of them, as `compress` takes and returns them.
        :param on_error: "raise", or "passthrough" to leave documents that cannot be restored as they are, with a
            warning in the log for each.
        :param batch_size: Windows decoded at a time; the result does not depend on it.
        :param progress: Called with ("decompress", windows done, windows in all).
        :return: The documents, of the same types and in the same order.
        :raises SpanError: If a document cannot be restored; the message names its position.
        """
        check_on_error(on_error)
        batch = read_documents(docs)
        restored = self.restore_texts(batch.texts, batch_size=batch_size, progress=progress)
        texts = list(batch.texts)
        for index, outcome in enumerate(restored):
            if isinstance(outcome, str):
                texts[index] = outcome
            else:
                _raise_or_log(batch, index, outcome, on_error)
        return batch.with_texts(texts)

    def restore_texts(
        self, texts: Sequence[str], *, batch_size: int = DECOMPRESS_BATCH, progress: Progress | None = None
    ) -> list[str | SpanError]:
        """Replace every Z-span in texts with its text.

        :param texts: The texts.
        :param batch_size: As in `decompress`.
        :param progress: As in `decompress`.
        :return: Each text restored, or why it cannot be.
        """
        split_texts: list[list[str | ZSpan] | SpanError] = []
        for text in texts:
            try:
                split_texts.append(list(self._pieces(text)))
            except SpanError as error:
                split_texts.append(error)
        readable = [pieces for pieces in split_texts if not isinstance(pieces, SpanError)]
        spans = [piece for pieces in readable for piece in pieces if isinstance(piece, ZSpan)]
        try:
            ids: list[list[int] | SpanError] = [*self.restore_ids(spans, batch_size=batch_size, progress=progress)]
        except SpanError:  # some of them are forged: restore each alone to find out which
            ids = [self._ids_or_error(span) for span in spans]
        restored = [self._text_or_error(span, span_ids) for span, span_ids in zip(spans, ids, strict=True)]
        good = [(text, span) for text, span in zip(restored, spans, strict=True) if isinstance(text, str)]
        self._remember_texts([text for text, _ in good], [span for _, span in good])
        remaining = iter(restored)
        return [pieces if isinstance(pieces, SpanError) else _join_pieces(pieces, remaining) for pieces in split_texts]

    def explain(
        self,
        text: str,
        *,
        ratio: float | None = None,
        max_tokens: int | None = None,
        query: str | None = None,
        protect: Protect | None = None,
    ) -> Explanation:
        """Show how a text is cut into Z-tokens.

        :param text: The text.
        :param ratio: As in `compress`.
        :param max_tokens: As in `compress`.
        :param query: As in `compress`.
        :param protect: As in `compress`.
        :return: The tiling, with the text that each Z-token stands for.
        """
        began = time.perf_counter()
        options = CompressOptions(ratio, max_tokens, query, protect)
        if not isinstance(text, str):
            raise DocumentTypeError(f"explain takes a str, got {type(text).__name__}.")
        source = read_source(text, self.backbone, options)
        if options.query:
            [source], _ = focus_sources([source], [""], options, shared_relevance(), self.settings.window)
        [span], missed = self._tile([source], options, COMPRESS_BATCH, None)
        span = cast(ZSpan, span)  # nothing passes through
        stats = self._stats(self._lengths([text], [span]), [span], time.perf_counter() - began, None, missed)
        return Explanation(text, tuple(explain_tokens(source, span)), stats, format_span(span))

    def original_texts(
        self, batch: DocumentBatch, on_error: OnError = "raise", batch_size: int = DECOMPRESS_BATCH
    ) -> list[str]:
        """Return the texts that documents stand for, without the LLM where the texts of their Z-spans are in memory.

        :param batch: The documents.
        :param on_error: As in `decompress`, for documents that are a Z-span or have a valid one of this codec. In any
            other document, what has the form of a Z-span is text.
        :param batch_size: As in `decompress`.
        :return: The text of each, with what is around its Z-spans.
        :raises SpanError: If a document cannot be restored; the message names its position.
        """
        texts = list(batch.texts)
        unknown = []
        for index, text in enumerate(texts):
            if any(find_spans(text)):
                remembered = self._remembered_text(text)
                if remembered is None:
                    unknown.append(index)
                else:
                    texts[index] = remembered
        if not unknown:
            return texts
        restored = self.restore_texts([texts[index] for index in unknown], batch_size=batch_size)
        for index, outcome in zip(unknown, restored, strict=True):
            if isinstance(outcome, str):
                texts[index] = outcome
            elif is_span(texts[index].strip()) or self._has_valid_span(texts[index]):
                _raise_or_log(batch, index, outcome, on_error)
        return texts

    def _has_valid_span(self, text: str) -> bool:
        for match in find_spans(text):
            with suppress(SpanError):
                self.parse(match.text)
                return True
        return False

    def parse(self, text: str) -> ZSpan:
        """Read a Z-span of this codec; raise a SpanError for anything else."""
        span = self._spans.get(text)
        if span is None:
            span = self._parse(text)
            self._spans.put(text, span, span.source_tokens)
        return span

    def _parse(self, text: str) -> ZSpan:
        span = parse_span(text, self.fingerprint)
        largest = max(
            (*(token.anchor for token in span.tokens), *(symbol - LITERALS for symbol in span.symbols)), default=0
        )
        if largest >= self.backbone.vocab_size:
            raise DamagedSpanError(
                f"A Z-span has the token {largest}, but its codec's LLM has only {self.backbone.vocab_size} tokens. "
                "Get it again from its source."
            )
        subcodes, size = (self.heads.settings.subcodes, self.heads.settings.subcode_size) if self.heads else (0, 0)
        if any(token.code and (len(token.code) != subcodes or max(token.code) >= size) for token in span.tokens):
            raise DamagedSpanError("A Z-span has codes that its codec does not have. Get it again from its source.")
        return span

    def restore_ids(
        self, spans: Sequence[ZSpan], *, batch_size: int = DECOMPRESS_BATCH, progress: Progress | None = None
    ) -> list[list[int]]:
        """Restore the source token ids of Z-spans; `decompress` also checks the text's hash.

        :param spans: Z-spans, from `parse`.
        :param batch_size: As in `decompress`.
        :param progress: As in `decompress`.
        :return: The token ids of each.
        """
        batch_size = check_batch_size(batch_size)
        windows = [list(split_windows(span, self.settings.window)) for span in spans]
        flat = [window for span_windows in windows for window in span_windows]
        ids = iter(self._decompressor.restore(flat, batch_size, _advance("decompress", len(flat), progress)))
        return [[token for _ in span_windows for token in next(ids)] for span_windows in windows]

    def _remembered_text(self, text: str) -> str | None:
        """Return the source text of a Z-span; None if it is not in memory, or `text` is no Z-span."""
        try:
            return self._texts.get(self.parse(text).digest) if is_span(text) else None
        except SpanError:  # restoring it raises this again
            return None

    def _reusable_span(self, text: str) -> ZSpan | None:
        """Parse a Z-span whose symbols hold for any tiling; None for other text, and with codes, which do not."""
        span = self.parse(text) if is_span(text) else None
        return None if span and any(token.code for token in span.tokens) else span

    def _remember_texts(self, texts: Sequence[str], spans: Sequence[ZSpan | None]) -> None:
        """Keep the source texts of Z-spans in memory."""
        for text, span in zip(texts, spans, strict=True):
            if span:
                self._texts.put(span.digest, text, len(text))

    def _focus(
        self,
        sources: list[SourceText | None],
        originals: Sequence[str],
        batch: DocumentBatch,
        options: CompressOptions,
        relevance: Relevance,
    ) -> list[KeptText]:
        """Focus the texts that do not pass through, in place; return what is kept of each document."""
        indices = [index for index, source in enumerate(sources) if source]
        titles = [title_of(batch.documents[index]) for index in indices]
        compressible = [source for source in sources if source]
        focused, kept_texts = focus_sources(compressible, titles, options, relevance, self.settings.window)
        kept = [KeptText.whole(text) for text in originals]  # texts that pass through are kept whole
        for index, source, kept_text in zip(indices, focused, kept_texts, strict=True):
            sources[index], kept[index] = source, kept_text
        return kept

    def _source(self, text: str, options: CompressOptions, span: ZSpan | None) -> SourceText | None:
        """Tokenize a text; None if it passes through."""
        try:
            source = read_source(text, self.backbone, options)
        except InvalidTextError:
            if options.on_error == "passthrough":
                return None
            raise
        if options.min_tokens is not None and len(source.ids) < options.min_tokens:
            return None
        return replace(source, span=matching_span(span, source.ids)) if span else source

    def _tile(
        self,
        sources: Sequence[SourceText | None],
        options: CompressOptions,
        batch_size: int,
        progress: Progress | None,
        each: bool = False,
    ) -> tuple[list[ZSpan | None], str | None]:
        """Return a Z-span for each text, None where it passes through, and why the ratio was missed, if it was."""
        size = self.settings.window
        starts = [(source, start) for source in sources if source for start in range(0, len(source.ids), size)]
        windows: list[ScoredWindow] = []
        for first in range(0, len(starts), batch_size):
            windows += self._score(starts[first : first + batch_size], options)
            if progress:
                progress("compress", len(windows), len(starts))
        counts = [-(-len(source.ids) // size) if source else 0 for source in sources]  # windows of each text
        groups = [windows[first:end] for first, end in pairwise([0, *accumulate(counts)])] if each else [windows]
        masks = [mask for group in groups for mask in choose_kept(group, options)]
        missed = explain_miss(windows, sum(int(mask.sum()) for mask in masks), options)
        tiled = zip(windows, masks, strict=True)
        spans: list[ZSpan | None] = []
        for source, count in zip(sources, counts, strict=True):
            plain: Written = [], []
            coded: Written = [], []
            for window, mask in islice(tiled, count):
                tokens, symbols = window.z_tokens(mask), window.symbols[~mask].tolist()
                _extend(plain, (tokens, symbols))
                if self._code_writer and window.hidden is not None:
                    _extend(coded, self._code_writer.write(window.ids.tolist(), window.hidden, tokens, symbols))
            best = self._code_writer.shorter(plain, coded) if self._code_writer and coded[0] else plain
            spans.append(self._span(source, *best) if source else None)
        return spans, missed

    def _score(self, starts: Sequence[tuple[SourceText, int]], options: CompressOptions) -> list[ScoredWindow]:
        """Score windows, given the text of each and its first token."""
        slices = [slice(start, start + self.settings.window) for _, start in starts]
        ids = [source.ids[tokens] for (source, _), tokens in zip(starts, slices, strict=True)]
        # At ratio 1 all tokens are anchors, whatever their symbols; and a Z-span has its symbols.
        new = [index for index, (source, _) in enumerate(starts) if source.span is None and options.ratio != 1.0]
        computed = dict(zip(new, self._window_symbols([ids[index] for index in new]), strict=True))
        windows = []
        for index, ((source, _), tokens, window_ids) in enumerate(zip(starts, slices, ids, strict=True)):
            hidden = None
            if index in computed:
                symbols, hidden = computed[index]
            elif source.span:
                symbols = span_symbols(source.span)[tokens]
            else:
                symbols = np.zeros(len(window_ids), np.int64)
            forced = source.forced[tokens].copy()
            forced[0] = True
            window = ScoredWindow.of(window_ids, symbols, forced, source.weight[tokens])
            windows.append(replace(window, hidden=hidden))
        return windows

    def _window_symbols(self, windows: Sequence[Sequence[int]]) -> list[tuple[Ints, Tensor | None]]:
        """Return the symbols of windows of token ids, and with codes the hidden states that predict the tokens."""
        cache = None if self._code_writer else self.cache
        symbols = {i: cached for i, ids in enumerate(windows) if cache and (cached := cache.get(ids)) is not None}
        new = [index for index in range(len(windows)) if index not in symbols]
        new_windows = [windows[index] for index in new]
        states = self._compressor.hidden(new_windows) if new else []
        symbols |= zip(new, self._compressor.symbols(states, new_windows), strict=True)
        if cache and new:
            cache.put([(windows[index], symbols[index]) for index in new])
        hidden = dict(zip(new, states, strict=True)) if self._code_writer else {}
        return [(symbols[index], hidden.get(index)) for index in range(len(windows))]

    def _span(self, source: SourceText, tokens: Sequence[ZToken], symbols: Sequence[int]) -> ZSpan:
        digest = text_digest(source.text)
        return ZSpan(self.fingerprint, tuple(tokens), tuple(symbols), source.escaped, digest)

    def _pieces(self, text: str) -> Iterator[str | ZSpan]:
        """Split a text into Z-spans and the text between them."""
        return (piece if isinstance(piece, str) else self.parse(piece.text) for piece in split_at_spans(text))

    def _text(self, span: ZSpan, ids: list[int]) -> str:
        """Decode restored token ids to the text, and check its hash."""
        text = self.backbone.decode(ids)
        text = unescape(text) if span.escaped else text
        if text_digest(text) != span.digest:
            raise IntegrityError(
                "The text restored from a Z-span does not match its hash. The Z-span was forged, or this machine "
                "computes differently from the one that wrote it by more than the codec's margin. "
                "Compress the text again, or restore it where it was compressed."
            )
        return text

    def _ids_or_error(self, span: ZSpan) -> list[int] | SpanError:
        try:
            return self.restore_ids([span])[0]
        except SpanError as error:
            return error

    def _text_or_error(self, span: ZSpan, ids: list[int] | SpanError) -> str | SpanError:
        try:
            return ids if isinstance(ids, SpanError) else self._text(span, ids)
        except SpanError as error:
            return error

    def _share_restored(self, texts: Sequence[str], compressed: Sequence[str]) -> float:
        """Restore texts one by one and return the share that comes back byte for byte, 0 to 1."""
        exact = 0
        for text, span in zip(texts, compressed, strict=True):
            try:
                exact += self.decompress(span) == text
            except SpanError:
                continue
        return exact / len(texts) if texts else 1.0

    def _lengths(self, texts: Sequence[str], spans: Sequence[ZSpan | None]) -> tuple[tuple[int, int], ...]:
        """Return the source tokens and the positions of each document, equal if it passed through."""
        lengths = []
        for text, span in zip(texts, spans, strict=True):
            if span:
                lengths.append((span.source_tokens, len(span.tokens)))
            else:
                lengths.append((self._count_tokens(text),) * 2)
        return tuple(lengths)

    def _count_tokens(self, text: str) -> int:
        """Count the tokens of a text, which may have lone surrogates, although no tokenizer accepts them."""
        return len(self.backbone.encode(text.encode("utf-8", "replace").decode()))

    def _stats(
        self,
        lengths: Sequence[tuple[int, int]],
        spans: Sequence[ZSpan | None],
        seconds: float,
        exact: float | None,
        missed: str | None,
    ) -> CompressionStats:
        written = [span for span in spans if span]
        compressed, z_tokens = sum(span.source_tokens for span in written), sum(len(span.tokens) for span in written)
        bits = sum(8 * len(span.stream) for span in written)
        source_tokens, positions = (sum(column) for column in zip(*lengths, strict=True)) if lengths else (0, 0)
        return CompressionStats(
            documents=len(spans),
            source_tokens=source_tokens,
            z_tokens=z_tokens,
            positions=positions,
            ratio=source_tokens / positions if positions else 1.0,
            bits_per_z_token=bits / z_tokens if z_tokens else 0.0,
            bits_per_source_token=bits / compressed if compressed else 0.0,
            passed_through=len(spans) - len(written),
            seconds=seconds,
            exact=exact,
            missed=missed,
        )


_codecs: dict[tuple[str, str | None, str, str], Codec] = {}
_lock = threading.Lock()


def shared_codec(
    name: str = "default", *, backbone: str | None = None, device: str = "auto", quantization: str = "auto"
) -> Codec:
    """Return the codec that this process shares, loaded once; the arguments are those of `Codec.from_pretrained`."""
    chosen_device = choose_device(device)
    # The choices and not the options, since "auto" is one of the others.
    key = (name, backbone, chosen_device.type, choose_quantization(quantization, chosen_device))
    with _lock:  # two threads must not load it twice
        if key not in _codecs:
            _codecs[key] = Codec.from_pretrained(name, backbone=backbone, device=device, quantization=quantization)
        return _codecs[key]


def _extend(text: Written, window: Written) -> None:
    """Append the Z-tokens and symbols of a window to those of the windows before."""
    text[0].extend(window[0])
    text[1].extend(window[1])


def _advance(stage: str, total: int, progress: Progress | None) -> Callable[[int], None]:
    """Return a callback that adds up the windows finished since its last call, and reports them to `progress`."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(stage, done, total)

    return advance


def _raise_or_log(batch: DocumentBatch, index: int, error: SpanError, on_error: OnError) -> None:
    """Raise or log why a document cannot be restored."""
    if on_error == "raise":
        with batch.naming(index):
            raise error
    logger.warning("The document at position %d is left as it is: %s", index, error)


def _join_pieces(pieces: Sequence[str | ZSpan], restored: Iterator[str | SpanError]) -> str | SpanError:
    """Join the pieces of a text, each Z-span replaced with its text; return the first error if there is one."""
    parts = [next(restored) if isinstance(piece, ZSpan) else piece for piece in pieces]
    errors = [part for part in parts if isinstance(part, SpanError)]
    return errors[0] if errors else "".join(map(str, parts))
