"""`zprompt stats`: what Z-spans say about themselves, without a codec.

Bits are those of Z-tokens and residual, in whole bytes; header, checksum and base85 come on top of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zprompt.cli import options
from zprompt.cli.contents import read_content
from zprompt.cli.files import Source, read_sources
from zprompt.cli.messages import note, table_of, warn
from zprompt.cli.tiling import visible
from zprompt.errors import SpanError

if TYPE_CHECKING:
    from rich.table import Table

    from zprompt.zspan import SpanHeader

app = typer.Typer()

_HEADINGS = (
    "file",
    "documents",
    "source tokens",
    "Z-tokens",
    "ratio",
    "bits/Z-token",
    "bits/source token",
)


@dataclass(frozen=True, slots=True)
class _Figures:
    """The figures of all Z-spans of a file, or of several files."""

    name: str
    documents: int  # Z-spans
    z_tokens: int
    source_tokens: int
    bits: int  # of Z-tokens and residuals
    codecs: tuple[str, ...]  # fingerprints

    @classmethod
    def of(cls, name: str, headers: Sequence[SpanHeader]) -> _Figures:
        """Add up Z-spans.

        :param name: What to call the sum.
        :param headers: Their headers.
        :return: Their figures.
        """
        return cls(
            name,
            documents=len(headers),
            z_tokens=sum(header.count for header in headers),
            source_tokens=sum(header.source_tokens for header in headers),
            bits=8 * sum(header.body_bytes for header in headers),
            codecs=tuple(sorted({header.fingerprint for header in headers})),
        )

    def to_dict(self) -> dict[str, Any]:
        """Turn the figures into a dict for JSON.

        :return: A dict; a quotient of nothing is None.
        """
        return {
            "name": self.name,
            "documents": self.documents,
            "z_tokens": self.z_tokens,
            "source_tokens": self.source_tokens,
            "ratio": _quotient(self.source_tokens, self.z_tokens),
            "bits_per_z_token": _quotient(self.bits, self.z_tokens),
            "bits_per_source_token": _quotient(self.bits, self.source_tokens),
            "codecs": list(self.codecs),
        }


@app.command("stats")
def _stats(
    files: options.Inputs = None,
    field: options.Field = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the figures of Z-spans, without restoring them: no model is needed."""
    spans = {str(source.name): list(_spans(source, field)) for source in read_sources(files).members}
    rows = [_Figures.of(name, found) for name, found in spans.items()]
    total = _Figures.of("total", [span for found in spans.values() for span in found])
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


def _spans(source: Source, field: str | None) -> Iterator[SpanHeader]:
    """Read the Z-spans of a file; what only looks like one is reported and left out."""
    from zprompt.zspan import find_spans, read_header

    for text in read_content(source, field).texts:
        for match in find_spans(text):
            try:
                yield read_header(match.text)
            except SpanError as error:
                warn(f"{source.name}: {error}")


def _table(rows: Sequence[_Figures]) -> Table:
    from rich.text import Text

    table = table_of(_HEADINGS)
    table.columns[0].justify, table.columns[0].overflow = "left", "fold"
    for row in rows:
        quotients = (
            _quotient(row.source_tokens, row.z_tokens),
            _quotient(row.bits, row.z_tokens),
            _quotient(row.bits, row.source_tokens),
        )
        table.add_row(
            Text(visible(row.name)),
            *(f"{number:,}" for number in (row.documents, row.source_tokens, row.z_tokens)),
            *("–" if quotient is None else f"{quotient:.2f}" for quotient in quotients),
        )
    return table


def _quotient(dividend: float, divisor: float) -> float | None:
    return dividend / divisor if divisor else None
