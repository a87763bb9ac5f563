"""Measure what each part of the codec contributes: ratio and bits without it, at several exchange rates.

Nothing is trained again: a part is taken away from the heads as they are, so what is left never learned to do without,
and the rank table stays the full codec's. All variants are tiled and written as every text is, and all restore it.

    full codec              as it is
    no code                 own = following = 0: the LLM, the next anchor and the residual
    LLM and residual        out = 0: the span head says nothing

Bits are those of Z-tokens and residual; a Z-token whose code says nothing is counted without it.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import torch

from benchmarks.documents import Document
from benchmarks.plan import Plan
from benchmarks.restoring import source_ids
from zprompt import Codec
from zprompt.codec import COMPRESS_BATCH, USUAL_RATE, USUAL_REACH, CodecHeads, Compressor, Job
from zprompt.zspan import Alphabet


@dataclass(frozen=True, slots=True)
class Variant:
    """The codec, or what is left of it, at one exchange rate."""

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


def measure(codec: Codec, documents: Sequence[Document], plan: Plan) -> Ablation:
    """Measure the variants.

    :param codec: The codec.
    :param documents: The documents.
    :param plan: The exchange rates.
    :return: Ratio and bits of each.
    """
    rows = [source_ids(codec, document.text) for document in documents]
    variants = [variant for rate in plan.rates for variant in _variants(codec, rows, rate)]
    return Ablation(len(documents), sum(map(len, rows)), tuple(variants))


def _variants(codec: Codec, rows: Sequence[Sequence[int]], rate: float) -> Iterator[Variant]:
    """Take parts away."""
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
    """Give the number of Z-tokens of a document, and the symbols of its residual."""
    size = compressor.settings.window
    windows = [ids[start : start + size] for start in range(0, len(ids), size)]
    job = Job(compressor, windows, [None] * len(windows), COMPRESS_BATCH, None)
    reach = USUAL_REACH * max(1.0, USUAL_RATE / rate)  # spans are longer where bits are cheaper
    tiled = [window for batch in job.analyses(reach) for window in job.write(batch, repeat(rate))]
    symbols = [symbol for window in tiled for symbol in window.symbols]
    return sum(len(window.tokens) for window in tiled), symbols


def without_code(heads: CodecHeads) -> CodecHeads:
    """Copy heads, and make their codes say nothing.

    :param heads: The heads.
    :return: Heads in which all codes mean the same.
    """
    changed = copy.deepcopy(heads)
    with torch.no_grad():
        changed.span_head.own.zero_()
        changed.span_head.following.zero_()
    return changed


def without_span_head(heads: CodecHeads) -> CodecHeads:
    """Copy heads, and take the correction of the LLM away.

    :param heads: The heads.
    :return: Heads that leave the LLM's logits as they are.
    """
    changed = copy.deepcopy(heads)
    with torch.no_grad():
        changed.span_head.out.weight.zero_()
        changed.span_head.out.bias.zero_()
    return changed
