"""Documents in, Z-spans out, and back: the class behind `zprompt.compress` and `zprompt.decompress`.

    text ─► tokens (source.py, focused.py) ─► windows ─► symbols (compressor.py) ─► Z-tokens (tiling.py) ─► Z-span
    text ◄─ tokens, checked by the text's hash ◄─ windows (decompressor.py) ◄─ Z-tokens and symbols ◄─ Z-span

A codec is a causal LM and two numbers (settings.py); nothing in it is trained for compression. Learned codes (codes.py)
are an option of those who have heads for them.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
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
from zprompt.errors import DamagedSpanError, IntegrityError, InvalidTextError, OptionError, RatioWarning, SpanError
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

COMPRESS_BATCH = 8  # windows a pass
DECOMPRESS_BATCH = 16  # windows a step
SYMBOLS = "symbols.sqlite"  # in the cache folder
TEXTS = 20_000_000  # characters of Z-spans' texts that a codec remembers, so that these are focused without the LLM
SPANS = 200_000  # source tokens of Z-spans that it remembers, as reading one of 150 takes 7 ms

logger = logging.getLogger(__name__)


class Codec:
    """Compresses documents to Z-spans and restores them; may be used from several threads at a time."""

    def __init__(
        self,
        backbone: Backbone,
        settings: CodecSettings | None = None,
        heads: CodecHeads | None = None,
        name: str = "custom",
    ) -> None:
        """Put a codec together; `Codec.from_pretrained` does it for most uses.

        :param backbone: The LLM.
        :param settings: None: the usual ones.
        :param heads: Heads that were trained for the LLM, with which spans may have learned codes.
        :param name: What the codec is called.
        """
        self.name, self.backbone, self.heads = name, backbone, heads
        self.settings = settings or CodecSettings.for_positions(backbone.max_positions)
        parts = backbone.fingerprint + self.settings.to_json()
        if heads:
            heads.round_to_half()
            parts += heads.fingerprint()
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()[:FINGERPRINT_DIGITS]
        self._compressor = Compressor(backbone, self.settings)
        self._code_writer = CodeWriter(self._compressor, heads) if heads else None
        self._decompressor = Decompressor(backbone, heads)
        self.cache: SymbolCache | None = SymbolCache(self._cached_as)  # of the LLM's symbols; None: it is asked anew
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
        codec.cache = SymbolCache(codec._cached_as, cache_dir() / SYMBOLS)
        return codec

    def remember_nothing(self) -> None:
        """Keep nothing of what is compressed from now on, neither in memory nor on disk: for texts that come once."""
        self.cache, self._texts, self._spans = None, Recent(0), Recent(0)

    @property
    def _cached_as(self) -> str:
        return f"{self.fingerprint} {self.backbone.device.type}"

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the codec to a folder from which `from_pretrained` loads it; the LLM is named, not copied."""
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
        """Replace the text of documents by Z-spans.

        :param docs: A document or a sequence of them: str, dict with "text", LangChain Document, LlamaIndex node.
        :param ratio: Source tokens per Z-token that all documents together are to reach; None: what suits how
            predictable they are. Each sentence and line keeps its first token, so a ratio may be out of reach: then the
            nearest is taken, and a miss of more than a tenth is a RatioWarning, and `stats.missed` says why. Every text
            is restored exactly at every ratio: at a lower one anchors say more, at a higher one the residual.
        :param max_tokens: Z-tokens that all documents may take together.
        :param query: What will be asked: the sentences that matter for it are kept word for word, as anchors, over all
            documents as many as the ratio or max_tokens allows, or without either as many as 95 % of the answers need.
            A document that is a Z-span of this codec is focused then, without the LLM where its text is known.
        :param protect: A regex, or a sequence of literal strings and compiled regexes, whose tokens are all kept as
            anchors.
        :param min_tokens: Texts with fewer tokens pass through unchanged.
        :param on_error: "raise", or "passthrough" to leave texts that cannot be compressed as they are.
        :param batch_size: Windows that the LLM reads at a time; the result does not depend on it.
        :param progress: Called with ("compress", windows done, windows in all).
        :param verify: Restore every Z-span and compare; `stats.exact` is then the share that came back byte for byte.
            It takes as long as `decompress`.
        :param relevance: What chooses the sentences; None: the default, shared by the process.
        :return: The documents, of the same types and in the same order, and the figures of the call.
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
        """Do what `compress` does, with options that were checked before, and leave it to `stats.missed` to warn.

        :param options: What is asked for.
        :param docs: As in `compress`.
        :param batch_size: As in `compress`.
        :param progress: As in `compress`.
        :param verify: As in `compress`.
        :param relevance: As in `compress`.
        :param read_spans: With a query, focus documents that are Z-spans; False: they are texts like any other.
        :param each: Meet the ratio in each document by itself, so that none depends on the others; without a query.
        :return: As from `compress`.
        :raises OptionError: If each document is to be focused by itself.
        """
        began = time.perf_counter()
        batch_size = check_batch_size(batch_size)
        if each and options.query:
            raise OptionError("each=True is for compressing without a query. Compress each document in its own call.")
        batch = read_documents(docs)
        focused = bool(options.query) and read_spans  # Z-spans stand for their texts
        originals = self.original_texts(batch, options.on_error, batch_size) if focused else list(batch.texts)
        sources: list[SourceText | None] = []
        for place, (given, text) in enumerate(zip(batch.texts, originals, strict=True)):
            if focused and text == given and is_span(given.strip()):  # it cannot be restored, and passes through
                sources.append(None)
                continue
            with batch.naming(place):
                sources.append(self._source(text, options, self._own_span(given) if text != given else None))
        kept: list[KeptText] | None = None
        if options.query:
            relevance = relevance or shared_relevance()
            kept = self._focus(sources, originals, batch, options, relevance)
        written, missed = self._tile(sources, options, batch_size, progress, each)
        texts = [
            format_span(span) if span else escape_literal(text) for text, span in zip(originals, written, strict=True)
        ]
        self._remember(originals, written)
        for text, span in zip(texts, written, strict=True):
            if span:
                self._spans.put(text, span, span.source_tokens)
        seconds = time.perf_counter() - began
        exact = self._share_restored(originals, texts) if verify else None
        lengths = self._lengths(originals, written)
        stats = self._stats(lengths, written, seconds, exact, missed)
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
        """Put the text back in place of every Z-span of documents; what is around them stays.

        :param docs: A document or a sequence of them, as `compress` takes and returns them.
        :param on_error: "raise", or "passthrough" to leave documents that cannot be restored as they are, with a
            warning in the log for each.
        :param batch_size: Windows that are decoded at a time; the result does not depend on it.
        :param progress: Called with ("decompress", windows done, windows in all).
        :return: The documents, of the same types and in the same order.
        :raises SpanError: If a document cannot be restored; the message names its position.
        """
        check_on_error(on_error)
        batch = read_documents(docs)
        restored = self.restore_texts(batch.texts, batch_size=batch_size, progress=progress)
        texts = list(batch.texts)
        for place, own in enumerate(restored):
            if isinstance(own, str):
                texts[place] = own
            else:
                _report(batch, place, own, on_error)
        return batch.with_texts(texts)

    def restore_texts(
        self, texts: Sequence[str], *, batch_size: int = DECOMPRESS_BATCH, progress: Progress | None = None
    ) -> list[str | SpanError]:
        """Put the text back in place of every Z-span of texts.

        :param texts: The texts.
        :param batch_size: As in `decompress`.
        :param progress: As in `decompress`.
        :return: Each text restored, or why it cannot be.
        """
        found: list[list[str | ZSpan] | SpanError] = []
        for text in texts:
            try:
                found.append(list(self._pieces(text)))
            except SpanError as error:
                found.append(error)
        pieces = [own for own in found if not isinstance(own, SpanError)]
        spans = [piece for own in pieces for piece in own if isinstance(piece, ZSpan)]
        try:
            ids: list[list[int] | SpanError] = [*self.restore_ids(spans, batch_size=batch_size, progress=progress)]
        except SpanError:  # one of them is forged; which one, they say by themselves
            ids = [self._ids_or_error(span) for span in spans]
        restored = [self._text_or_error(span, own) for span, own in zip(spans, ids, strict=True)]
        good = [(text, span) for text, span in zip(restored, spans, strict=True) if isinstance(text, str)]
        self._remember([text for text, _ in good], [span for _, span in good])
        rest = iter(restored)
        return [own if isinstance(own, SpanError) else _joined(own, rest) for own in found]

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
        :return: The tiling, with what each Z-token stands for.
        """
        began = time.perf_counter()
        options = CompressOptions(ratio, max_tokens, query, protect)
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
        """Return the texts that documents stand for, which takes no LLM for Z-spans whose texts are remembered.

        :param batch: The documents.
        :param on_error: As in `decompress`, for documents that are a Z-span and nothing else; where another one has
            something of the form of a Z-span that cannot be restored, it is text like any other.
        :param batch_size: As in `decompress`.
        :return: The text of each, what is around Z-spans included.
        :raises SpanError: If a document cannot be restored; the message names its position.
        """
        texts = list(batch.texts)
        unknown = []
        for place, text in enumerate(texts):
            if any(find_spans(text)):
                remembered = self._remembered(text)
                if remembered is None:
                    unknown.append(place)
                else:
                    texts[place] = remembered
        if not unknown:
            return texts
        restored = self.restore_texts([texts[place] for place in unknown], batch_size=batch_size)
        for place, own in zip(unknown, restored, strict=True):
            if isinstance(own, str):
                texts[place] = own
            elif is_span(texts[place].strip()):
                _report(batch, place, own, on_error)
        return texts

    def parse(self, text: str) -> ZSpan:
        """Read a Z-span of this codec; raise a SpanError for anything else."""
        known = self._spans.get(text)
        if known is None:
            known = self._parse(text)
            self._spans.put(text, known, known.source_tokens)
        return known

    def _parse(self, text: str) -> ZSpan:
        span = parse_span(text, self.fingerprint)
        largest = max((*(token.anchor for token in span.tokens), *(one - LITERALS for one in span.symbols)), default=0)
        if largest >= self.backbone.vocab_size:
            raise DamagedSpanError(
                f"A Z-span has the token {largest}, but its codec's LLM has {self.backbone.vocab_size}. "
                "Ask for it again where it came from."
            )
        subcodes, size = (self.heads.settings.subcodes, self.heads.settings.subcode_size) if self.heads else (0, 0)
        if any(token.code and (len(token.code) != subcodes or max(token.code) >= size) for token in span.tokens):
            raise DamagedSpanError(
                "A Z-span has codes that its codec does not have. Ask for it again where it came from."
            )
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
        flat = [window for document in windows for window in document]
        ids = iter(self._decompressor.restore(flat, batch_size, _advance("decompress", len(flat), progress)))
        return [[token for _ in document for token in next(ids)] for document in windows]

    def _remembered(self, text: str) -> str | None:
        """Return the text of a Z-span, if it is one and its text is remembered."""
        try:
            return self._texts.get(self.parse(text).digest) if is_span(text) else None
        except SpanError:  # restoring it says why
            return None

    def _own_span(self, text: str) -> ZSpan | None:
        """Return the Z-span that a text is, if its symbols restore each token; codes would have to be written anew."""
        span = self.parse(text) if is_span(text) else None
        return None if span and any(token.code for token in span.tokens) else span

    def _remember(self, texts: Sequence[str], spans: Sequence[ZSpan | None]) -> None:
        """Keep the texts of Z-spans."""
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
        places = [index for index, source in enumerate(sources) if source]
        chosen = [source for source in sources if source]
        titles = [title_of(batch.documents[index]) for index in places]
        focused, own = focus_sources(chosen, titles, options, relevance, self.settings.window)
        kept = [KeptText.whole(text) for text in originals]  # as what passes through is
        for index, source, one in zip(places, focused, own, strict=True):
            sources[index], kept[index] = source, one
        return kept

    def _source(self, text: str, options: CompressOptions, span: ZSpan | None) -> SourceText | None:
        """Cut a text into tokens; None if it is to pass through."""
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
        """Make Z-spans of all texts, None of those that pass through; and say why a ratio was missed, if it was."""
        size = self.settings.window
        places = [
            (source, start) for source in sources if source is not None for start in range(0, len(source.ids), size)
        ]
        scored = []
        for first in range(0, len(places), batch_size):
            scored += self._score(places[first : first + batch_size], options)
            if progress:
                progress("compress", len(scored), len(places))
        if each:
            ends = accumulate(-(-len(source.ids) // size) for source in sources if source)
            groups = [scored[first:end] for first, end in pairwise([0, *ends])]
        else:
            groups = [scored]
        kept = [own for group in groups for own in choose_kept(group, options)]
        missed = explain_miss(scored, sum(int(own.sum()) for own in kept), options)
        tiled = iter(zip(scored, kept, strict=True))
        spans: list[ZSpan | None] = []
        for source in sources:
            plain: Written = [], []
            coded: Written = [], []
            for _ in range(0, len(source.ids) if source else 0, size):
                window, own = next(tiled)
                parts = window.z_tokens(own), window.symbols[~own].tolist()
                _extend(plain, parts)
                if self._code_writer and window.hidden is not None:
                    _extend(coded, self._code_writer.write(window.ids.tolist(), window.hidden, *parts))
            tokens, symbols = self._code_writer.shorter(plain, coded) if self._code_writer and coded[0] else plain
            spans.append(self._span(source, tokens, symbols) if source else None)
        return spans, missed

    def _score(self, places: Sequence[tuple[SourceText, int]], options: CompressOptions) -> list[ScoredWindow]:
        """Score some windows, given where each begins in its text."""
        parts = [slice(start, start + self.settings.window) for _, start in places]
        ids = [source.ids[part] for (source, _), part in zip(places, parts, strict=True)]
        # At ratio 1 all tokens are anchors, whatever the LLM thinks of them; and a Z-span has its symbols.
        new = [index for index, (source, _) in enumerate(places) if source.span is None and options.ratio != 1.0]
        read = dict(zip(new, self._read([ids[index] for index in new]), strict=True))
        scored = []
        for index, ((source, _), part, own) in enumerate(zip(places, parts, ids, strict=True)):
            hidden = None
            if index in read:
                symbols, hidden = read[index]
            else:
                symbols = span_symbols(source.span)[part] if source.span else np.zeros(len(own), np.int64)
            forced = source.forced[part].copy()
            forced[0] = True
            window = ScoredWindow.of(own, symbols, forced, source.weight[part])
            scored.append(replace(window, hidden=hidden))
        return scored

    def _read(self, windows: Sequence[Sequence[int]]) -> list[tuple[Ints, Tensor | None]]:
        """Return the symbols of windows' tokens, and what predicts the tokens, where codes need it."""
        cache = None if self._code_writer else self.cache
        symbols = {place: own for place, ids in enumerate(windows) if cache and (own := cache.get(ids)) is not None}
        new = [place for place in range(len(windows)) if place not in symbols]
        read = self._compressor.hidden([windows[place] for place in new]) if new else []
        hidden = dict(zip(new, read, strict=True))
        symbols |= zip(new, self._compressor.symbols(read, [windows[place] for place in new]), strict=True)
        if cache and new:
            cache.put([(windows[place], symbols[place]) for place in new])
        return [(symbols[place], hidden.get(place) if self._code_writer else None) for place in range(len(windows))]

    def _span(self, source: SourceText, tokens: Sequence[ZToken], symbols: Sequence[int]) -> ZSpan:
        digest = text_digest(source.text)
        return ZSpan(self.fingerprint, tuple(tokens), tuple(symbols), source.escaped, digest)

    def _pieces(self, text: str) -> Iterator[str | ZSpan]:
        """Split a text into Z-spans and the text between them."""
        return (piece if isinstance(piece, str) else self.parse(piece.text) for piece in split_at_spans(text))

    def _text(self, span: ZSpan, ids: list[int]) -> str:
        """Return the text of restored token ids, once its hash is checked."""
        text = self.backbone.decode(ids)
        text = unescape(text) if span.escaped else text
        if text_digest(text) != span.digest:
            raise IntegrityError(
                "A Z-span came back as a text with another hash than the one that was compressed. It was forged, or "
                "this machine computes differently from the one that wrote it by more than the codec's margin. "
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

    def _share_restored(self, texts: Sequence[str], written: Sequence[str]) -> float:
        """Restore texts one by one and return the share that comes back byte for byte, 0 to 1."""
        exact = 0
        for text, span in zip(texts, written, strict=True):
            try:
                exact += self.decompress(span) == text
            except SpanError:
                continue
        return exact / len(texts) if texts else 1.0

    def _lengths(self, texts: Sequence[str], spans: Sequence[ZSpan | None]) -> tuple[tuple[int, int], ...]:
        """Return the source tokens of each document and the positions that it takes, as many if it passed through."""
        lengths = []
        for text, span in zip(texts, spans, strict=True):
            if span:
                lengths.append((span.source_tokens, len(span.tokens)))
            else:  # it may hold lone surrogates, which no tokenizer takes
                passed = len(self.backbone.encode(text.encode("utf-8", "replace").decode()))
                lengths.append((passed, passed))
        return tuple(lengths)

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
        source_tokens, positions = (sum(own) for own in zip(*lengths, strict=True)) if lengths else (0, 0)
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
    """Load a codec once a process; the arguments are those of `Codec.from_pretrained`."""
    chosen = choose_device(device)
    key = (name, backbone, chosen.type, choose_quantization(quantization, chosen))  # "auto" is one of the others
    with _lock:  # two threads must not load it twice
        if key not in _codecs:
            _codecs[key] = Codec.from_pretrained(name, backbone=backbone, device=device, quantization=quantization)
        return _codecs[key]


def _extend(whole: Written, part: Written) -> None:
    """Append the Z-tokens and symbols of a window to those of the windows before."""
    whole[0].extend(part[0])
    whole[1].extend(part[1])


def _advance(stage: str, total: int, progress: Progress | None) -> Callable[[int], None]:
    """Turn counts of windows that were finished into calls of a `Progress`."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(stage, done, total)

    return advance


def _report(batch: DocumentBatch, place: int, error: SpanError, on_error: OnError) -> None:
    """Raise, or log, why a document cannot be restored."""
    if on_error == "raise":
        with batch.naming(place):
            raise error
    logger.warning("The document at position %d is left as it is: %s", place, error)


def _joined(pieces: Sequence[str | ZSpan], restored: Iterator[str | SpanError]) -> str | SpanError:
    """Join the pieces of a text with what its Z-spans stand for; an error if one of them cannot be restored."""
    parts = [next(restored) if isinstance(piece, ZSpan) else piece for piece in pieces]
    errors = [part for part in parts if isinstance(part, SpanError)]
    return errors[0] if errors else "".join(map(str, parts))
