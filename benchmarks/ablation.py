"""Measure what learned codes would save, and what anchors would cost if the LLM coded them, too, at several ratios.

    no codes          the codec as it is
    codes always      with the shipped heads ("learned-codes"), every sub-code is written
    codes by choice   a sub-code is written where it saves more than it costs
    saved per spent   bits saved in the residual, per bit added to the Z-tokens

Anchors are ids under an adaptive model, so that a reader gets them without an LLM. The alternative is to code every
token as the residual does, by its rank given all tokens before it, and only the gaps of the Z-tokens; only the first
token of a window stays an id. It is measured on such a stream, which no codec writes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from benchmarks.common import Document, Row, Tables, compress, figures
from zprompt import Codec
from zprompt.codec import Compressor, find_codec
from zprompt.codec.checkpoint import load_heads, read_config
from zprompt.errors import CheckpointError
from zprompt.zspan import NO_CODE, ZSpan, ZToken
from zprompt.zspan import measure as measure_bits

HEADS = "learned-codes"
PRICES = {"codes always": -float("inf"), "codes by choice": None}  # bits that a sub-code must save; None: the usual
CODES = {
    "ratio": "",
    "codec": "",
    "bits per token": ".3f",
    "sub-codes": ",",
    "bits of Z-tokens": ",.0f",
    "bits of the residual": ",.0f",
    "saved per spent": ".2f",
}
ANCHORS = {
    "ratio": "",
    "anchors": ",",
    "an anchor's id": ".2f",
    "an anchor's rank": ".2f",
    "all, per token": ".3f",
    "with ranks, per token": ".3f",
    "saved, per token": ".3f",
}


def measure(codec: Codec, documents: Sequence[Document], ratios: Sequence[float]) -> Tables:
    """Measure all variants on documents."""
    texts = [document.text for document in documents]
    plain = Codec(codec.backbone, codec.settings, name="no codes")
    coded, reason = _with_heads(plain)
    symbols = [_all_symbols(plain, text) for text in texts]
    codes: list[Row] = []
    anchors: list[Row] = []
    for ratio in ratios:
        spans = [plain.parse(span) for span in compress(plain, texts, ratio=ratio).documents]
        codes.append(_costs(ratio, plain.name, spans, None))
        for with_codes in coded:
            coded_spans = [with_codes.parse(span) for span in compress(with_codes, texts, ratio=ratio).documents]
            codes.append(_costs(ratio, with_codes.name, coded_spans, spans))
        anchors.append(_anchors(ratio, spans, symbols, codec.settings.window))
    return {"codes": codes, "anchors": anchors, "skipped": [{"codes": reason}] if reason else []}


# Learned codes.


def _with_heads(codec: Codec) -> tuple[list[Codec], str | None]:
    """Return codecs over the same LLM that write codes, or no codec and the reason."""
    folder = find_codec(HEADS)
    if folder is None:
        return [], f"the codec {HEADS!r} is not installed"
    try:
        heads = load_heads(folder, read_config(folder), codec.backbone)
    except CheckpointError as error:
        return [], str(error)
    coded = [Codec(codec.backbone, codec.settings, heads, name) for name in PRICES]
    for with_codes in coded:
        price = PRICES[with_codes.name]
        if price is not None and with_codes._code_writer:
            with_codes._code_writer.price = price
    return coded, None


def _costs(ratio: float, name: str, spans: Sequence[ZSpan], plain: Sequence[ZSpan] | None) -> Row:
    """Sum up the bits of Z-spans, and compare them with those of the same texts without codes."""
    z_tokens, residual = _bits(spans)
    plain_z_tokens, plain_residual = _bits(plain or spans)
    spent, saved = z_tokens - plain_z_tokens, plain_residual - residual
    written = sum(subcode != NO_CODE for span in spans for token in span.tokens for subcode in token.code)
    return {
        "ratio": f"{ratio:g}",
        "codec": name,
        "bits per token": (z_tokens + residual) / sum(span.source_tokens for span in spans),
        "sub-codes": written,
        "bits of Z-tokens": z_tokens,
        "bits of the residual": residual,
        "saved per spent": saved / spent if spent > 0 else None,
    }


def _bits(spans: Sequence[ZSpan]) -> tuple[float, float]:
    """Return the bits of Z-tokens and of the residual."""
    bits = [measure_bits(span.tokens, span.symbols) for span in spans]
    return sum(sum(z_tokens) for z_tokens, _ in bits), sum(sum(residual) for _, residual in bits)


# Anchors.


def _all_symbols(codec: Codec, text: str) -> list[int]:
    """Return the symbol that each token of a text would have if it were dropped."""
    compressor, size = Compressor(codec.backbone, codec.settings), codec.settings.window
    ids = codec.backbone.encode(codec.backbone.escape(text).text)
    windows = [ids[start : start + size] for start in range(0, len(ids), size)]
    symbols = compressor.symbols(compressor.hidden(windows), windows)
    return [symbol for window in symbols for symbol in window.tolist()]


def _anchors(ratio: float, spans: Sequence[ZSpan], symbols: Sequence[Sequence[int]], window: int) -> Row:
    anchors = 0
    with_ids = with_ranks = ids = ranks = 0.0
    for span, text_symbols in zip(spans, symbols, strict=True):
        starts = _starts(span)
        z_tokens, residual = (sum(bits) for bits in measure_bits(span.tokens, span.symbols))
        gaps = sum(_gap_bits(span.tokens, len(span.symbols)))
        rank_bits = _rank_bits(span, text_symbols, window)
        anchors += len(starts)
        with_ids += z_tokens + residual
        ids += z_tokens - gaps
        ranks += sum(rank_bits[start] for start in starts)
        with_ranks += gaps + sum(rank_bits)
    tokens = sum(span.source_tokens for span in spans)
    return {
        "ratio": f"{ratio:g}",
        "anchors": anchors,
        "an anchor's id": ids / anchors,
        "an anchor's rank": ranks / anchors,
        "all, per token": with_ids / tokens,
        "with ranks, per token": with_ranks / tokens,
        "saved, per token": (with_ids - with_ranks) / tokens,
    }


def _starts(span: ZSpan) -> list[int]:
    """Return the index of each anchor among the source tokens."""
    starts = [0]
    for token in span.tokens[:-1]:
        starts.append(starts[-1] + token.gap + 1)
    return starts


def _gap_bits(tokens: Sequence[ZToken], symbols: int) -> list[float]:
    """Return the bits of each gap, measured with all ids 0, which then take none."""
    return measure_bits([replace(token, anchor=0) for token in tokens], [0] * symbols)[0]


def _rank_bits(span: ZSpan, symbols: Sequence[int], window: int) -> list[float]:
    """Return the bits of each token of a text if all but the first one of each window are coded by their ranks."""
    first = {start: token.anchor for start, token in zip(_starts(span), span.tokens, strict=True)}
    edges = [*range(0, len(symbols), window), len(symbols)]
    tokens = [ZToken(first[start], end - start - 1) for start, end in pairwise(edges)]
    z_token_bits, bits = measure_bits(tokens, [symbol for index, symbol in enumerate(symbols) if index % window])
    gap_bits = _gap_bits(tokens, len(bits))
    ids, ranks = iter(total - gap for total, gap in zip(z_token_bits, gap_bits, strict=True)), iter(bits)
    return [next(ranks if index % window else ids) for index in range(len(symbols))]


# The report.


def section(tables: Tables) -> Iterator[str]:
    """Write both tables, line by line."""
    yield from ("## What learned codes save", "")
    yield from (f"Learned codes were skipped: {row['codes']}." for row in tables["skipped"])
    yield from figures(tables["codes"], CODES)
    yield from ("", "## What anchors would take under the LLM", "", "Bits of an anchor, and of all.", "")
    yield from figures(tables["anchors"], ANCHORS)
