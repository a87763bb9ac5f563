"""`zprompt inspect` and `zprompt stats`: how a text is cut into Z-tokens, and what Z-spans say without a codec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zprompt.cli import options
from zprompt.cli.files import Source, read_content, read_sources, read_text, write_text
from zprompt.cli.messages import note, table_of, visible, warn
from zprompt.errors import SpanError

if TYPE_CHECKING:
    from rich.table import Table

    from zprompt.zspan import SpanHeader

app = typer.Typer()

_HEADINGS = ("file", "documents", "source tokens", "Z-tokens", "ratio", "bits/Z-token", "bits/source token")


@app.command("inspect")
def _inspect(
    file: options.Input,
    html: Annotated[
        Path | None,
        typer.Option(metavar="OUT.html", help="Write a page that shows the tiling, instead of the terminal."),
    ] = None,
    ratio: options.Ratio = None,
    max_tokens: options.MaxTokens = None,
    query: options.Query = None,
    protect: options.Protect = None,
    codec: options.CodecName = "default",
    backbone: options.BackboneName = None,
    device: options.DeviceName = options.Device.AUTO,
    quantization: options.QuantizationName = options.Quantization.AUTO,
) -> None:
    """Show how a text is cut into Z-tokens: each with its anchor, and the span it lets go.

    Z-spans in the text are restored first.
    """
    from zprompt.cli.tiling import print_tiling, render_page

    text = read_text(file)
    loaded = options.open_codec(codec, backbone, device, quantization)
    if not all(isinstance(header, SpanError) for header in _headers(text)):
        note("The input holds Z-spans: it was decompressed first, and this is the tiling of the restored text.")
        text = str(loaded.decompress(text))
    protection = options.protected(protect, [text])
    explanation = loaded.explain(
        text, **options.given(ratio=ratio, max_tokens=max_tokens, query=query, protect=protection)
    )
    if html:
        write_text(html, render_page(explanation, title=file.name))
        note(f"The tiling is in {html}.")
    else:
        print_tiling(explanation)


@app.command("stats")
def _stats(
    files: options.Inputs = None,
    field: options.Field = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the figures of Z-spans, without restoring them: no model is needed."""
    spans = {str(source.name): list(_spans(source, field)) for source in read_sources(files).members}
    rows = [_SpanFigures.of(name, found) for name, found in spans.items()]
    total = _SpanFigures.of("total", [span for found in spans.values() for span in found])
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
    bits: int  # of Z-tokens and residuals in whole bytes, without preamble, checksum and base85
    codecs: tuple[str, ...]  # fingerprints

    @classmethod
    def of(cls, name: str, headers: Sequence[SpanHeader]) -> _SpanFigures:
        return cls(
            name,
            documents=len(headers),
            z_tokens=sum(header.count for header in headers),
            source_tokens=sum(header.source_tokens for header in headers),
            bits=8 * sum(header.body_bytes for header in headers),
            codecs=tuple(sorted({header.fingerprint for header in headers})),
        )

    @property
    def quotients(self) -> dict[str, float | None]:
        return {
            "ratio": _quotient(self.source_tokens, self.z_tokens),
            "bits_per_z_token": _quotient(self.bits, self.z_tokens),
            "bits_per_source_token": _quotient(self.bits, self.source_tokens),
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


def _spans(source: Source, field: str | None) -> Iterator[SpanHeader]:
    """Read the Z-spans of a file; those that cannot be read are reported and left out."""
    for text in read_content(source, field).texts:
        for header in _headers(text):
            if isinstance(header, SpanError):
                warn(f"{source.name}: {header}")
            else:
                yield header


def _headers(text: str) -> Iterator[SpanHeader | SpanError]:
    """Read the header of each candidate for a Z-span, or the reason why it cannot be read."""
    from zprompt.zspan import find_spans, read_header

    for match in find_spans(text):
        try:
            yield read_header(match.text)
        except SpanError as error:
            yield error


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
