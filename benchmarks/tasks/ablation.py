"""Measure what each part of the codec contributes: the exact ratio without it, and with residuals of other sizes.

Nothing is trained again: a part is taken away from the heads as they are, so what is left never learned to do without.
Each tiling is verified against the full vocabulary, as the compressor's own. Bits are of an alphabet without the part.

    no code                 own = following = 0: the LLM, the next anchor and the residual
    LLM and residual        out = 0: the span head says nothing
    no residual             only spans whose tokens are all the decompressor's first guess
    LLM alone               both: what plain greedy decoding between anchors gives
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks.documents import Document
from benchmarks.plan import Plan
from benchmarks.restoring import source_ids
from zprompt import Codec
from zprompt.codec.codec import COMPRESS_BATCH
from zprompt.codec.compressor import Analysis, Compressor
from zprompt.codec.heads import CodecHeads
from zprompt.codec.segmentation import ExactPrice
from zprompt.codec.vocabulary import Alphabet


@dataclass(frozen=True, slots=True)
class Variant:
    """The codec with a part taken away or changed."""

    name: str
    ratio: float  # source tokens per Z-token, exact
    bits_per_z_token: int
    bits_per_source_token: float


@dataclass(frozen=True, slots=True)
class Ablation:
    """All variants, on the same documents."""

    documents: int
    source_tokens: int
    parts: tuple[Variant, ...]
    residual_sizes: tuple[Variant, ...]


class Tiler:
    """Tiles the same windows with variants of a codec."""

    def __init__(self, codec: Codec, texts: Sequence[str]) -> None:
        """Run the LLM once.

        :param codec: The codec.
        :param texts: The texts.
        """
        self.codec, size = codec, codec.settings.window
        rows = [source_ids(codec, text) for text in texts]
        self.windows = [ids[start : start + size] for ids in rows for start in range(0, len(ids), size)]
        self.tokens = sum(map(len, rows))
        compressor = Compressor(codec.backbone, codec.heads)
        self.hidden = [
            hidden
            for first in range(0, len(self.windows), COMPRESS_BATCH)
            for hidden in compressor.hidden(self.windows[first : first + COMPRESS_BATCH])
        ]

    def analyses(self, compressor: Compressor) -> Iterator[Analysis]:
        """Analyse the windows.

        :param compressor: With the heads to use.
        :yields: One analysis for each window.
        """
        for ids, hidden in zip(self.windows, self.hidden, strict=True):
            yield compressor.analyse(ids, hidden)

    def variant(self, name: str, z_tokens: int, alphabet: Alphabet) -> Variant:
        """Sum up a variant.

        :param name: What it is called.
        :param z_tokens: How many it needs for all windows.
        :param alphabet: Of its Z-tokens.
        :return: The variant.
        """
        bits = alphabet.bits_per_z_token
        return Variant(name, self.tokens / z_tokens, bits, bits * z_tokens / self.tokens)


def measure(codec: Codec, documents: Sequence[Document], plan: Plan) -> Ablation:
    """Measure the variants.

    :param codec: The codec.
    :param documents: The documents.
    :param plan: The sizes of the residual.
    :return: The exact ratio of each.
    """
    tiler = Tiler(codec, [document.text for document in documents])
    parts = [*_without_parts(tiler)]
    sizes = [*_with_residuals(tiler, plan.residual_sizes)]
    return Ablation(len(documents), tiler.tokens, tuple(parts), tuple(sizes))


def _without_parts(tiler: Tiler) -> Iterator[Variant]:
    """Take parts away."""
    alphabet = tiler.codec.alphabet
    no_code = replace(alphabet, subcodes=0)
    for name, rankless_name, heads, left in (
        ("full codec", "no residual", tiler.codec.heads, alphabet),
        ("no code", "no code, no residual", without_code(tiler.codec.heads), no_code),
        ("LLM and residual", "LLM alone", without_span_head(tiler.codec.heads), no_code),
    ):
        compressor = Compressor(tiler.codec.backbone, heads)
        usual = compressor.checker.bucket_bits
        count = first_guesses = 0
        for analysis in tiler.analyses(compressor):
            count += _count(compressor, analysis, compressor.budget)
            # Ranks above 0 cannot be written now. After the analysis, since its reach is counted in the same bits.
            compressor.checker.bucket_bits = torch.where(torch.arange(len(usual)) == 0, 0.0, torch.inf).to(usual)
            first_guesses += _count(compressor, analysis, compressor.budget)
            compressor.checker.bucket_bits = usual
        yield tiler.variant(name, count, left)
        yield tiler.variant(rankless_name, first_guesses, replace(left, residual_bits=0))


def _with_residuals(tiler: Tiler, sizes: Sequence[int]) -> Iterator[Variant]:
    """Tile with residuals of other sizes; one analysis, with the reach of the largest, serves all."""
    heads = copy.copy(tiler.codec.heads)
    heads.settings = replace(heads.settings, residual_bits=max(sizes))
    compressor = Compressor(tiler.codec.backbone, heads)
    counts = dict.fromkeys(sizes, 0)
    for analysis in tiler.analyses(compressor):
        for bits in sizes:
            compressor.budget = bits - 1e-6  # what is written out if it cannot be verified is judged by this, too
            counts[bits] += _count(compressor, analysis, compressor.budget)
    for bits in sizes:
        yield tiler.variant(f"{bits} bits", counts[bits], replace(tiler.codec.alphabet, residual_bits=bits))


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


def _count(compressor: Compressor, analysis: Analysis, budget: float) -> int:
    """Count the Z-tokens of a window's verified exact tiling."""
    return len(compressor.tile([analysis], ExactPrice(budget))[0])
