"""`zprompt decompress`: Z-spans to text."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from zprompt.cli import codec_loading, options
from zprompt.cli.conversion import convert_files
from zprompt.cli.files import SUFFIX
from zprompt.cli.messages import is_terminal
from zprompt.progress import rich_progress

app = typer.Typer()


@app.command("decompress")
def _decompress(
    files: options.Inputs = None,
    output: options.Output = None,
    field: options.Field = None,
    quiet: options.Quiet = False,
    codec: options.CodecName = "default",
    backbone: options.BackboneName = None,
    device: options.DeviceName = options.Device.AUTO,
    quantization: options.QuantizationName = options.Quantization.AUTO,
    batch_size: options.BatchSize = None,
) -> None:
    """Restore the text of Z-spans, wherever they stand; the text around them stays.

    JSON lines that were compressed with --field are restored with the same --field.
    """

    def convert(texts: list[str]) -> Sequence[str]:
        loaded = codec_loading.open_codec(codec, backbone, device, quantization)
        with rich_progress(is_terminal() and not quiet) as progress:
            restored: list[str] = loaded.decompress(texts, progress=progress, **options.given(batch_size=batch_size))
        return restored

    convert_files(files, output, field, _strip_suffix, convert)


def _strip_suffix(name: str) -> str:
    return name.removesuffix(SUFFIX) or name
