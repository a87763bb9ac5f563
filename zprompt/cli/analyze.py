"""`zprompt analyze`: what the codes mean, and where Z-tokens go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zprompt.cli import codec_loading, options
from zprompt.cli.files import STREAM, write_text
from zprompt.cli.messages import is_terminal, note, table_of
from zprompt.progress import rich_progress

if TYPE_CHECKING:
    from rich.table import Table

    from zprompt.analysis.report import Analysis

app = typer.Typer()

_OUTPUT = "Output"  # a panel that --help shows


@app.command("analyze")
def _analyze(
    texts: Annotated[
        list[str],
        typer.Argument(metavar="TEXTS…", help="Text files, JSONL files (text or paragraphs) and folders of them."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="OUT.html", rich_help_panel=_OUTPUT, help="Write a page.")
    ] = None,
    json_: Annotated[
        Path | None,
        typer.Option("--json", metavar="OUT.json", rich_help_panel=_OUTPUT, help="Write the figures; - for stdout."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Texts to look at, the first ones.")] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Source tokens of each text to look at, from its beginning.")
    ] = None,
    parts_of_speech: Annotated[
        bool, typer.Option("--parts-of-speech", help="Tag English texts, with TextBlob: zprompt[analyze].")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of shuffled controls and bootstrap intervals.")] = 0,
    ratio: options.Ratio = None,
    codec: options.CodecName = "default",
    backbone: options.BackboneName = None,
    device: options.DeviceName = options.Device.AUTO,
    quantization: options.QuantizationName = options.Quantization.AUTO,
) -> None:
    """Say how fully codes are used, what their values stand for, and which words become anchors.

    Without --out and --json, a summary is printed.
    """
    from zprompt.analysis.report import analyse
    from zprompt.train.corpus import read_texts

    chosen = read_texts(texts)[:limit]
    loaded = codec_loading.open_codec(codec, backbone, device, quantization)
    with rich_progress(is_terminal()) as progress:
        analysis = analyse(
            loaded,
            chosen,
            ratio=ratio,
            tokens=tokens,
            with_parts_of_speech=parts_of_speech,
            seed=seed,
            progress=progress,
        )
    if json_:
        figures = json.dumps(analysis.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(None if json_ == STREAM else json_, figures)
    if out:
        from zprompt.cli.analyze_view import render_analysis

        write_text(out, render_analysis(analysis))
        note(f"The page is {out}.")
    if not out and not json_:
        _print_summary(analysis)


def _print_summary(analysis: Analysis) -> None:
    from rich.console import Console

    sample, console = analysis.sample, Console()
    console.print(
        f"{sample.texts:,} texts, {sample.source_tokens:,} source tokens, {sample.z_tokens:,} Z-tokens, ratio "
        f"{sample.ratio:.2f}. Consistency: mean cosine of uses that share a value, in context, without pairs of the "
        "same words; --out writes a page with all figures.\n",
        highlight=False,
    )
    console.print(_codes(analysis))
    console.print()
    console.print(_words(analysis))


def _codes(analysis: Analysis) -> Table:
    found = {row.role: row for row in analysis.in_context}
    table = table_of(("role", "uses", "entropy bits", "unused values", "consistency", "shuffled"))
    table.columns[0].justify = "left"
    for usage in analysis.usage_by_role:
        row = found.get(usage.name)
        cosines = (f"{row.cosine.value:.3f}", f"{row.control.value:.3f}") if row else ("–", "–")
        table.add_row(usage.name, f"{usage.uses:,}", f"{usage.entropy_bits:.2f}", str(usage.unused), *cosines)
    return table


def _words(analysis: Analysis) -> Table:
    table = table_of(("class", "tokens", "of anchors", "kept as anchors"))
    table.columns[0].justify = "left"
    for share in analysis.parts_of_speech or analysis.word_classes:
        table.add_row(share.name, f"{share.tokens:,}", f"{share.share_of_anchors:.1%}", f"{share.kept.value:.1%}")
    return table
