"""Measure what a ratio costs: the bits of Z-tokens and residual, and the characters of a Z-span.

Each ratio is one call of `compress`, which reaches it over all passages together, and one of `decompress`.

    bits per Z-token, per token   of the whole stream, in whole bytes, per Z-token and per source token
    anchors and gaps, residual    the two parts of the bits per source token
    characters                    of a Z-span, per character of its text

In brackets the 95 % interval of a bootstrap over passages, then the worst passage.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.common import Document, Row, Tables, compress, figures
from benchmarks.exactness import restore_texts
from zprompt import Codec
from zprompt.eval import Ratio, estimate
from zprompt.zspan import measure as measure_bits
from zprompt.zspan import read_header

mpl.use("Agg")  # no screen

ANCHORS, RESIDUAL = "#1f5fa8", "#c4561c"
COLUMNS = {
    "wanted": "",
    "ratio": ".2f",
    "bits per Z-token": ".1f",
    "bits per token": ".2f",
    "anchors and gaps": ".2f",
    "residual": ".2f",
    "characters": ".2f",
    "identical": ".1%",
}


def measure(codec: Codec, documents: Sequence[Document], ratios: Sequence[float], seed: int) -> Tables:
    """Measure documents at the usual ratio and at some others."""
    texts = [document.text for document in documents]
    return {"ratios": [_row(codec, texts, ratio, seed) for ratio in (None, *ratios)]}


def _row(codec: Codec, texts: Sequence[str], wanted: float | None, seed: int) -> Row:
    """Compress and restore all texts at one ratio."""
    spans = compress(codec, list(texts), ratio=wanted).documents
    back = restore_texts(codec, spans)
    headers = [read_header(span) for span in spans]
    source, z_tokens, bits = (
        [header.source_tokens for header in headers],
        [header.count for header in headers],
        [8 * header.stream_bytes for header in headers],
    )
    parts = [measure_bits(parsed.tokens, parsed.symbols) for parsed in map(codec.parse, spans)]
    anchors, residual = (sum(sum(part[index]) for part in parts) for index in (0, 1))

    def figure(above: Sequence[float], below: Sequence[float], less_is_better: bool = True) -> object:
        return estimate([Ratio(a, b) for a, b in zip(above, below, strict=True)], seed, less_is_better)

    return {
        "wanted": "usual" if wanted is None else f"{wanted:g}",
        "ratio": figure(source, z_tokens, less_is_better=False),
        "bits per Z-token": figure(bits, z_tokens),
        "bits per token": figure(bits, source),
        "anchors and gaps": anchors / sum(source),
        "residual": residual / sum(source),
        "characters": figure([len(span) for span in spans], [len(text) for text in texts]),
        "identical": sum(restored == text for restored, text in zip(back, texts, strict=True)) / len(texts),
        "passages": len(texts),
        "tokens": sum(source),
    }


def section(tables: Tables) -> Iterator[str]:
    """Write the table of ratios, line by line."""
    first = tables["ratios"][0]
    yield from ("## What a ratio costs", "")
    yield f"{first['passages']} passages, {first['tokens']:,} tokens."
    yield ""
    yield from figures(tables["ratios"], COLUMNS)
    yield from ("", "![What a ratio costs](codec-rate-distortion.png)")


def plot(tables: Tables, path: Path) -> None:
    """Draw the bits of a source token at each ratio to a PNG file."""
    rows = sorted(tables["ratios"], key=lambda row: row["ratio"].value)
    ratios = [row["ratio"].value for row in rows]
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    parts = [[row[name] for row in rows] for name in ("anchors and gaps", "residual")]
    axes.stackplot(ratios, *parts, labels=("anchors and gaps", "residual"), colors=(ANCHORS, RESIDUAL), alpha=0.8)
    low, high = ([getattr(row["bits per token"], end) for row in rows] for end in ("low", "high"))
    axes.fill_between(ratios, low, high, color="black", alpha=0.15, linewidth=0)
    usual = next(row["ratio"].value for row in rows if row["wanted"] == "usual")
    axes.axvline(usual, color="#666666", linewidth=1, linestyle=":")
    axes.annotate(f"usual: {usual:.2f}", (usual, 0.5), xytext=(5, 0), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xticks(ratios, [f"{ratio:.2g}" for ratio in ratios])
    axes.minorticks_off()
    axes.set(xlabel="source tokens per Z-token", ylabel="bits per source token", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
