"""Measure what each part of the codec contributes: ratio and bits without it, at several exchange rates.

Nothing is trained again: a part is taken away from the heads as they are, so the others never learned to do without it,
and the rank table stays the full codec's. All variants are tiled and written as every text is, and all restore it.

    full codec              as it is
    no code                 own = following = 0: the LLM, the next anchor and the residual
    LLM and residual        out = 0: the span head adds nothing

Bits are those of Z-tokens and residual; a Z-token whose code says nothing is counted without it.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import torch

from benchmarks.common import Document
from zprompt import Codec
from zprompt.codec import COMPRESS_BATCH, USUAL_RATE, USUAL_THRESHOLD, CodecHeads, Compressor, RateControl
from zprompt.eval import percent, table
from zprompt.zspan import Alphabet


@dataclass(frozen=True, slots=True)
class Variant:
    """The codec, whole or without a part, at one exchange rate."""

    name: str
    rate: float  # Z-tokens a bit
    ratio: float  # source tokens per Z-token
    bits_per_z_token: float  # Z-tokens and residual
    bits_per_source_token: float
    first_guesses: float  # share of the dropped tokens that the decompressor has right without a residual


@dataclass(frozen=True, slots=True)
class Ablation:
    """All variants, on the same documents."""

    documents: int
    source_tokens: int
    variants: tuple[Variant, ...]  # rate by rate


def measure(codec: Codec, documents: Sequence[Document], rates: Sequence[float]) -> Ablation:
    """Measure all variants at exchange rates in Z-tokens a bit."""
    rows = [codec.backbone.encode(codec.backbone.escape(document.text).text) for document in documents]
    variants = [variant for rate in rates for variant in _variants(codec, rows, rate)]
    return Ablation(len(documents), sum(map(len, rows)), tuple(variants))


def _variants(codec: Codec, rows: Sequence[Sequence[int]], rate: float) -> Iterator[Variant]:
    no_code = replace(codec.alphabet, subcodes=0)
    for name, heads, alphabet in (
        ("full codec", codec.heads, codec.alphabet),
        ("no code", without_code(codec.heads), no_code),
        ("LLM and residual", without_span_head(codec.heads), no_code),
    ):
        yield _variant(name, Compressor(codec.backbone, heads), alphabet, rows, rate)


def _variant(
    name: str, compressor: Compressor, alphabet: Alphabet, rows: Sequence[Sequence[int]], rate: float
) -> Variant:
    """Write documents with one compressor at one rate."""
    z_tokens = bits = 0
    symbols: list[int] = []
    for ids in rows:
        count, found = _write(compressor, ids, rate)
        z_tokens += count
        bits += count * alphabet.bits_per_z_token + 8 * len(compressor.rank_code.encode(found))
        symbols += found
    source, guesses = sum(map(len, rows)), symbols.count(0) / len(symbols) if symbols else 1.0
    return Variant(name, rate, source / z_tokens, bits / z_tokens, bits / source, guesses)


def _write(compressor: Compressor, ids: Sequence[int], rate: float) -> tuple[int, list[int]]:
    """Return the number of Z-tokens of a document, and the symbols of its residual."""
    size = compressor.settings.window
    windows = [ids[start : start + size] for start in range(0, len(ids), size)]
    control = RateControl(compressor, windows, [None] * len(windows), COMPRESS_BATCH)
    threshold = USUAL_THRESHOLD * max(1.0, USUAL_RATE / rate)  # spans are longer where bits are cheaper
    tiled = [window for batch in control.analyses(threshold) for window in control.write(batch, repeat(rate))]
    symbols = [symbol for window in tiled for symbol in window.symbols]
    return sum(len(window.tokens) for window in tiled), symbols


def without_code(heads: CodecHeads) -> CodecHeads:
    """Copy heads, and make all codes mean the same."""
    changed = copy.deepcopy(heads)
    with torch.no_grad():
        changed.span_head.own.zero_()
        changed.span_head.following.zero_()
    return changed


def without_span_head(heads: CodecHeads) -> CodecHeads:
    """Copy heads, and make them leave the LLM's logits as they are."""
    changed = copy.deepcopy(heads)
    with torch.no_grad():
        changed.span_head.out.weight.zero_()
        changed.span_head.out.bias.zero_()
    return changed


def section(result: Ablation) -> Iterator[str]:
    """Write the table of variants, line by line."""
    yield from ("## What each part contributes", "")
    yield (
        f"{result.documents} documents, {result.source_tokens:,} tokens; heads as trained, parts taken away later. "
        "Rate: Z-tokens per bit. First guesses: share of the dropped tokens that need no residual."
    )
    yield ""
    rows = [
        (
            v.name,
            f"1/{1 / v.rate:.3g}",
            f"**{v.ratio:.2f}**",
            f"{v.bits_per_z_token:.1f}",
            f"{v.bits_per_source_token:.2f}",
            percent(v.first_guesses),
        )
        for v in result.variants
    ]
    yield from table(("codec", "rate", "ratio", "bits per Z-token", "bits per source token", "first guesses"), rows)
