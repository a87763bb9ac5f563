"""`zprompt inspect`, `stats` and `analyze`: show tilings, what a question keeps, figures of Z-spans and codes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import zprompt
from zprompt.cli import options
from zprompt.cli.files import Source, read_content, read_sources, read_text, require_other, write_text
from zprompt.cli.messages import note, table_of, warn
from zprompt.errors import SpanError
from zprompt.page import visible

if TYPE_CHECKING:
    from rich.table import Table

    from zprompt.codec import Codec
    from zprompt.zspan import ZSpan

app = typer.Typer()

_HEADINGS = (
    "file", "documents", "source tokens", "Z-tokens", "ratio", "bits/Z-token", "bits/source token", "residual share"
)  # fmt: skip


@app.command("inspect")
def _inspect(
    file: options.Input,
    html: Annotated[
        Path | None,
        typer.Option(metavar="OUT.html", help="Write an HTML page; with --query, it shows what the question keeps."),
    ] = None,
    answer: Annotated[
        bool, typer.Option("--answer", help="Also show the default reader's answer on that page.")
    ] = False,
    field: options.Field = None,
    ratio: options.Ratio = None,
    max_tokens: options.MaxTokens = None,
    query: options.Query = None,
    form: options.FormName = options.Form.Z,
    protect: options.Protect = None,
    codec: options.CodecName = "default",
    backbone: options.BackboneName = None,
    device: options.DeviceName = options.Device.AUTO,
    quantization: options.QuantizationName = options.Quantization.AUTO,
) -> None:
    """Show how a text is cut into Z-tokens: each with its anchor and the span it drops.

    With --query and --html, show which sentences the question keeps of the passages, and why. In JSON lines, each line
    is a passage, with its title. Z-spans are restored first.
    """
    require_other(html, file)
    text = read_text(file)
    chosen = options.given(ratio=ratio, max_tokens=max_tokens, query=query, protect=options.protected(protect))
    if html and query and query.strip():
        content = read_content(Source(file, text), field)
        if form is options.Form.TEXT:
            loaded, result = None, zprompt.compress(content.documents, form="text", **chosen)
        else:
            loaded = options.open_codec(codec, backbone, device, quantization)
            result = loaded.compress(content.documents, **chosen)
        reply = options.open_reader("default", loaded, device).answer(query, result.documents) if answer else None
        write_text(html, zprompt.show(result, reply).html)
        note(f"Wrote what the question keeps to {html}.")
        return
    if answer or form is options.Form.TEXT:
        raise typer.BadParameter("--answer and --form text require both --query and --html.")
    loaded = options.open_codec(codec, backbone, device, quantization)
    _show_tiling(text, file.name, loaded, chosen, html)


def _show_tiling(text: str, name: str, loaded: Codec, chosen: dict[str, Any], html: Path | None) -> None:
    """Print a tiling, or write it to a page."""
    from zprompt.cli.tiling import print_tiling, render_page
    from zprompt.zspan import find_spans

    if next(find_spans(text), None):
        note("The input holds Z-spans: this is the tiling of the restored text.")
        text = str(loaded.decompress(text))
    explanation = loaded.explain(text, **chosen)
    if explanation.stats.missed:
        warn(f"{explanation.stats.missed}.")
    if html:
        write_text(html, render_page(explanation, title=name))
        note(f"Wrote the tiling to {html}.")
    else:
        print_tiling(explanation)


@app.command("analyze")
def _analyze(
    folder: Annotated[Path, typer.Argument(help="Folder that `train reader --input codes` or `paper-a` wrote.")],
    data: Annotated[list[str], typer.Option(metavar="PATH", help="Text to compress. May be repeated.")],
    passages: Annotated[int, typer.Option(min=1, help="Maximum number of passages.")] = 100,
    codec: Annotated[str, typer.Option(metavar="NAME|FOLDER", help="Codec that chooses the anchors.")] = "default",
) -> None:
    """Measure what learned codes mean: usage, polysemy, and consistency in context, as JSON."""
    from zprompt.train import analyze_codes

    analysis = analyze_codes(folder, data, passages=passages, codec_name=codec)
    typer.echo(json.dumps(analysis.to_dict(), indent=1))


@app.command("stats")
def _stats(
    files: options.Inputs = None,
    field: options.Field = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show statistics of Z-spans without restoring them; no LLM is needed."""
    sources = read_sources(files).members
    spans = [list(_spans(source, field)) for source in sources]
    rows = [_SpanFigures.of(name, file_spans) for name, file_spans in zip(_names(sources), spans, strict=True)]
    total = _SpanFigures.of("total", [span for file_spans in spans for span in file_spans])
    for row in rows:
        if not row.documents:
            note(f"{row.name} holds no Z-spans.")
    if as_json:
        typer.echo(json.dumps({"files": [row.to_dict() for row in rows], "total": total.to_dict()}, indent=2))
    elif total.documents:
        from rich.console import Console

        console = Console()
        console.print(_table([row for row in rows if row.documents] + [total] * (len(rows) > 1)))
        console.print(f"Written by codec {', '.join(total.codecs)}.", highlight=False)


@dataclass(frozen=True, slots=True)
class _SpanFigures:
    """The figures of the Z-spans of a file, or of several files."""

    name: str
    documents: int  # Z-spans
    z_tokens: int
    source_tokens: int
    z_token_bits: float
    residual_bits: float
    codecs: tuple[str, ...]  # fingerprints

    @classmethod
    def of(cls, name: str, spans: Sequence[ZSpan]) -> _SpanFigures:
        from zprompt.zspan import measure

        bits = [measure(span.tokens, span.symbols) for span in spans]
        return cls(
            name,
            documents=len(spans),
            z_tokens=sum(len(span.tokens) for span in spans),
            source_tokens=sum(span.source_tokens for span in spans),
            z_token_bits=sum(sum(z_token_bits) for z_token_bits, _ in bits),
            residual_bits=sum(sum(residual_bits) for _, residual_bits in bits),
            codecs=tuple(sorted({span.fingerprint for span in spans})),
        )

    @property
    def quotients(self) -> dict[str, float | None]:
        bits = self.z_token_bits + self.residual_bits
        return {
            "ratio": _quotient(self.source_tokens, self.z_tokens),
            "bits_per_z_token": _quotient(bits, self.z_tokens),
            "bits_per_source_token": _quotient(bits, self.source_tokens),
            "residual_share": _quotient(self.residual_bits, bits),
        }

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "documents": self.documents,
            "z_tokens": self.z_tokens,
            "source_tokens": self.source_tokens,
            **self.quotients,
            "codecs": list(self.codecs),
        }


def _names(sources: Sequence[Source]) -> list[str]:
    """Return the names of files, or whole paths where names are equal."""
    counts = Counter(source.name for source in sources)
    return [str(source.path if source.path and counts[source.name] > 1 else source.name) for source in sources]


def _spans(source: Source, field: str | None) -> Iterator[ZSpan]:
    """Yield the Z-spans of a file; report and skip damaged ones."""
    from zprompt.zspan import find_spans, parse_span

    for match in (match for text in read_content(source, field).texts for match in find_spans(text)):
        try:
            yield parse_span(match.text)
        except SpanError as error:
            warn(f"{source.name}: {error}")


def _table(rows: Sequence[_SpanFigures]) -> Table:
    from rich.text import Text

    table = table_of(_HEADINGS)
    table.columns[0].justify, table.columns[0].overflow = "left", "fold"
    for row in rows:
        table.add_row(
            Text(visible(row.name)),
            *(f"{number:,}" for number in (row.documents, row.source_tokens, row.z_tokens)),
            *("–" if quotient is None else f"{quotient:.2f}" for quotient in row.quotients.values()),
        )
    return table


def _quotient(dividend: float, divisor: float) -> float | None:
    return dividend / divisor if divisor else None
