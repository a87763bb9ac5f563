"""Measure what a ratio costs: how many bits Z-tokens and residual take, and how much code and anchors say alone.

Each ratio is one call of `compress` on all documents, so they share one exchange rate; then `decompress`, in which a
wrong token would change the context of all that follow. Every text is to come back at every ratio: identical, BLEU-4,
accuracy, numbers and names (zprompt/eval/metrics.py) say whether it does. What a ratio costs is

    bits per Z-token, per source token   of Z-tokens and residual
    first guesses                        share of the dropped tokens that the decompressor has right without a residual,
                                         as long as what is before them is right: what code and anchors say
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common import Document, Ints
from benchmarks.exactness import restore_texts
from zprompt import Codec
from zprompt.eval import (
    RESAMPLES,
    CorpusBleu,
    Interval,
    Recall,
    bootstrap,
    correct_tokens,
    names,
    numbers,
    percent,
    recall,
    table,
)
from zprompt.zspan import RankCode

mpl.use("Agg")  # no screen

Z_TOKEN, SOURCE_TOKEN, GUESSES = "#1f5fa8", "#c4561c", "#3c8a4e"
SIZE = (8.4, 3.8)  # inches of the plot
BITS = (5, 10, 20, 50, 100, 200)  # of its axis


@dataclass(frozen=True, slots=True)
class RateDocument:
    """One document at one ratio."""

    name: str
    wanted: float
    source_tokens: int
    dropped_tokens: int
    first_guesses: int
    correct_tokens: int
    identical: bool
    bleu: float | None
    numbers: Recall
    names: Recall


@dataclass(frozen=True, slots=True)
class RatePoint:
    """All documents at one ratio."""

    wanted: float
    ratio: float  # reached
    bits_per_z_token: float
    bits_per_source_token: float
    first_guesses: float  # share of the dropped tokens; 1 if there are none
    first_guesses_interval: Interval
    identical: float  # share of the documents that came back byte for byte
    bleu: float
    accuracy: float  # share of the tokens
    numbers: float | None  # recall
    names: float | None


@dataclass(frozen=True, slots=True)
class RateDistortion:
    """The curve."""

    sampled: int  # documents
    source_tokens: int
    usual_ratio: float  # of the same documents without a wanted ratio
    points: tuple[RatePoint, ...]
    documents: tuple[RateDocument, ...]


def measure(
    codec: Codec, documents: Sequence[Document], ratios: Sequence[float], resamples: int = RESAMPLES, seed: int = 0
) -> RateDistortion:
    """Measure the curve of documents at some ratios."""
    usual = codec.compress([document.text for document in documents]).stats
    points, rows = [], []
    for wanted in ratios:
        point, found = _measure_point(codec, documents, wanted, resamples, seed)
        points.append(point)
        rows += found
    return RateDistortion(len(documents), usual.source_tokens, usual.ratio, tuple(points), tuple(rows))


def _measure_point(
    codec: Codec, documents: Sequence[Document], wanted: float, resamples: int, seed: int
) -> tuple[RatePoint, list[RateDocument]]:
    """Compress and restore at one ratio."""
    texts = [document.text for document in documents]
    result = codec.compress(texts, ratio=wanted)
    restored = [back or "" for back in restore_texts(codec, result.documents)]
    # Decoded, not cut from the restored text again: this also measures texts that fail their hash.
    decoded = codec.restore_ids([codec.parse(span) for span in result.documents])
    bleu = CorpusBleu(texts, restored)
    rows = [
        _row(codec, document, wanted, span, back, ids, bleu.score([index]))
        for index, (document, span, back, ids) in enumerate(
            zip(documents, result.documents, restored, decoded, strict=True)
        )
    ]

    def first_guesses(drawn: Ints) -> float:  # a document that was drawn twice counts twice
        right, total = (sum(getattr(rows[i], name) for i in drawn) for name in ("first_guesses", "dropped_tokens"))
        return float(right / total) if total else 1.0

    return RatePoint(
        wanted=wanted,
        ratio=result.stats.ratio,
        bits_per_z_token=result.stats.bits_per_z_token,
        bits_per_source_token=result.stats.bits_per_source_token,
        first_guesses=first_guesses(np.arange(len(rows))),
        first_guesses_interval=bootstrap(first_guesses, len(rows), resamples, seed),
        identical=statistics.mean(row.identical for row in rows),
        bleu=bleu.score() or 0.0,
        accuracy=sum(row.correct_tokens for row in rows) / sum(row.source_tokens for row in rows),
        numbers=Recall.sum(row.numbers for row in rows).share,
        names=Recall.sum(row.names for row in rows).share,
    ), rows


def _row(
    codec: Codec,
    document: Document,
    wanted: float,
    span: str,
    back: str,
    decoded: Sequence[int],
    bleu: float | None,
) -> RateDocument:
    """Compare one document, as text and as the token ids that were decoded, with its source."""
    ids = codec.backbone.encode(codec.backbone.escape(document.text).text)
    symbols = residual_symbols(codec, span)
    return RateDocument(
        name=document.name,
        wanted=wanted,
        source_tokens=len(ids),
        dropped_tokens=len(symbols),
        first_guesses=symbols.count(0),
        correct_tokens=correct_tokens(ids, decoded),
        identical=back == document.text,
        bleu=bleu,
        numbers=recall(numbers(document.text), numbers(back)),
        names=recall(names(document.text), names(back)),
    )


def residual_symbols(codec: Codec, span: str) -> list[int]:
    """Return the residual's symbol for each dropped token; 0 where the decompressor's first guess is right."""
    parsed = codec.parse(span)
    code = RankCode(codec.backbone.vocab_size, codec.settings.rank_table)
    return list(code.decode(parsed.residual, sum(token.gap for token in parsed.tokens)))


def section(result: RateDistortion) -> Iterator[str]:
    """Write the table of ratios, line by line."""
    yield from ("## What a ratio costs", "")
    yield (
        f"{result.sampled} documents, {result.source_tokens:,} tokens; without a wanted ratio they have "
        f"{result.usual_ratio:.2f}. First guesses: share of the dropped tokens that need no residual, which is what "
        "anchors and codes say by themselves; in brackets 95 % of a bootstrap over documents. Numbers, names: share of "
        "the source's that came back."
    )
    yield ""
    yield from table(
        (
            *("wanted", "reached", "bits per Z-token", "bits per token", "first guesses"),
            *("identical", "BLEU-4", "token accuracy", "numbers", "names"),
        ),
        (
            (
                f"{point.wanted:g}",
                f"**{point.ratio:.2f}**",
                f"{point.bits_per_z_token:.1f}",
                f"{point.bits_per_source_token:.2f}",
                f"{point.first_guesses:.1%} [{point.first_guesses_interval.low:.1%}, "
                f"{point.first_guesses_interval.high:.1%}]",
                percent(point.identical),
                f"{point.bleu:.2f}",
                percent(point.accuracy),
                percent(point.numbers),
                percent(point.names),
            )
            for point in result.points
        ),
    )
    yield from ("", "![What a ratio costs](codec-rate-distortion.png)")


def plot(result: RateDistortion, path: Path) -> None:
    """Draw bits and first guesses at each ratio to a PNG file."""
    figure = Figure(figsize=SIZE, layout="constrained")
    bits, guesses = figure.subplots(1, 2)
    _plot_bits(result, bits)
    _plot_guesses(result, guesses)
    for axes in (bits, guesses):
        _plot_ratios(result, axes)
    share = sum(point.identical for point in result.points) / len(result.points)
    figure.suptitle(
        f"{result.sampled} documents, {result.source_tokens:,} tokens; {share:.0%} come back byte for byte", fontsize=10
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)


def _plot_bits(result: RateDistortion, axes: Axes) -> None:
    """Draw the bits of Z-tokens and residual, on a logarithmic scale."""
    ratios = [point.ratio for point in result.points]
    for name, values, color, marker in (
        ("per Z-token", [point.bits_per_z_token for point in result.points], Z_TOKEN, "o"),
        ("per source token", [point.bits_per_source_token for point in result.points], SOURCE_TOKEN, "s"),
    ):
        axes.plot(ratios, values, color=color, marker=marker, markersize=4.5, linewidth=1.6, label=name)
        for ratio, value in zip(ratios, values, strict=True):
            axes.annotate(
                f"{value:.3g}", (ratio, value), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8
            )
    axes.set_yscale("log")
    axes.set_yticks(BITS, [str(bits) for bits in BITS])
    axes.set_ylabel("bits of Z-tokens and residual")
    axes.legend(frameon=False, loc="best")


def _plot_guesses(result: RateDistortion, axes: Axes) -> None:
    """Draw the share of first guesses, with the band of the bootstrap."""
    ratios, intervals = [point.ratio for point in result.points], [p.first_guesses_interval for p in result.points]
    axes.fill_between(
        ratios,
        [100 * interval.low for interval in intervals],
        [100 * interval.high for interval in intervals],
        color=GUESSES,
        alpha=0.15,
        linewidth=0,
    )
    shares = [100 * point.first_guesses for point in result.points]
    axes.plot(ratios, shares, color=GUESSES, marker="^", markersize=4.5, linewidth=1.6)
    axes.set_ylim(0, 103)
    axes.set_ylabel("dropped tokens that need no residual, %")


def _plot_ratios(result: RateDistortion, axes: Axes) -> None:
    """Draw the axis of ratios, and where a call without a wanted ratio ends up."""
    ratios = [point.ratio for point in result.points]
    axes.axvline(result.usual_ratio, color="#666666", linewidth=1, linestyle=":")
    axes.annotate(
        f"usual: {result.usual_ratio:.2f}", (result.usual_ratio, 0.03), xycoords=("data", "axes fraction"),
        xytext=(5, 0), textcoords="offset points", color="#444444", fontsize=9,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(ratios, [f"{ratio:.3g}" for ratio in ratios])
    axes.minorticks_off()
    axes.set_xlabel("source tokens per Z-token")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
