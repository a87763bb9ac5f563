"""`zprompt inspect`: show which Z-token stands for which piece of a text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zprompt.cli import codec_loading, options
from zprompt.cli.files import read_text, write_text
from zprompt.cli.messages import note

if TYPE_CHECKING:
    from zprompt.codec import Codec

app = typer.Typer()


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
    text = read_text(file)
    loaded = codec_loading.open_codec(codec, backbone, device, quantization)
    if _holds_spans(text):
        text = _restore(text, loaded)
    protection = options.protected(protect, [text])
    explanation = loaded.explain(
        text, **options.given(ratio=ratio, max_tokens=max_tokens, query=query, protect=protection)
    )
    if html:
        from zprompt.cli.html_view import render_page

        write_text(html, render_page(explanation, title=file.name))
        note(f"The tiling is in {html}.")
    else:
        from zprompt.cli.terminal_view import print_tiling

        print_tiling(explanation)


def _holds_spans(text: str) -> bool:
    """Tell whether a text holds a Z-span, and not just what looks like the beginning of one."""
    from zprompt.errors import SpanError
    from zprompt.zspan import find_spans, read_header

    for match in find_spans(text):
        try:
            read_header(match.text)
        except SpanError:
            continue
        return True
    return False


def _restore(text: str, codec: Codec) -> str:
    note("The input holds Z-spans: it was decompressed first, and this is the tiling of the restored text.")
    restored: str = codec.decompress(text)
    return restored
