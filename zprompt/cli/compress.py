"""`zprompt compress`: text to Z-spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from zprompt.cli import codec_loading, options
from zprompt.cli.conversion import convert_files
from zprompt.cli.files import SUFFIX
from zprompt.cli.messages import figures, is_terminal, show
from zprompt.progress import rich_progress

app = typer.Typer()


@app.command("compress")
def _compress(
    files: options.Inputs = None,
    output: options.Output = None,
    field: options.Field = None,
    quiet: options.Quiet = False,
    ratio: options.Ratio = None,
    max_tokens: options.MaxTokens = None,
    query: options.Query = None,
    protect: options.Protect = None,
    min_tokens: Annotated[
        int | None, typer.Option(min=1, help="Leave shorter texts as they are.", show_default=False)
    ] = None,
    on_error: Annotated[
        options.OnError, typer.Option(help="What to do with a text that cannot be compressed.")
    ] = options.OnError.RAISE,
    codec: options.CodecName = "default",
    backbone: options.BackboneName = None,
    device: options.DeviceName = options.Device.AUTO,
    quantization: options.QuantizationName = options.Quantization.AUTO,
    batch_size: options.BatchSize = None,
) -> None:
    """Compress text to Z-spans, from which it comes back exactly, whatever the ratio.

    All files are compressed in one call: a ratio is that of all of them together, and denser texts get more Z-tokens.
    """

    def convert(texts: list[str]) -> Sequence[str]:
        chosen = options.given(
            ratio=ratio,
            max_tokens=max_tokens,
            query=query,
            protect=options.protected(protect, texts),
            min_tokens=min_tokens,
            on_error=on_error.value,
            batch_size=batch_size,
        )
        loaded = codec_loading.open_codec(codec, backbone, device, quantization)
        with rich_progress(is_terminal() and not quiet) as progress:
            result = loaded.compress(texts, progress=progress, **chosen)
        if not quiet:
            show(figures(result.stats))
        compressed: list[str] = result.documents
        return compressed

    convert_files(files, output, field, lambda name: name + SUFFIX, convert)
