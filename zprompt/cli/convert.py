"""`zprompt compress` and `zprompt decompress`: files in, files out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

import zprompt
from zprompt.cli import options
from zprompt.cli.files import SUFFIX, plan_outputs, read_content, read_sources, write_text
from zprompt.cli.messages import figures, is_terminal, show
from zprompt.errors import OptionError
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
    form: options.FormName = options.Form.Z,
    count: options.CountName = "reader",
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
    """Compress text to Z-spans, from which it comes back exactly, or to what a question needs of it.

    All files are compressed in one call: a ratio is that of all of them together. Denser texts get more Z-tokens, and
    with a question those that matter for it.
    """

    def compress(texts: list[str]) -> Sequence[str]:
        chosen = options.given(
            ratio=ratio,
            max_tokens=max_tokens,
            query=query,
            protect=options.protected(protect, texts),
            min_tokens=min_tokens,
            on_error=on_error.value,
        )
        with rich_progress(is_terminal() and not quiet) as progress:
            if form is options.Form.TEXT:
                result = zprompt.compress(texts, form="text", count=count, **chosen)
            elif count != "reader":
                raise OptionError("--count is for --form text: Z-spans are counted in Z-tokens. Leave it out.")
            else:
                loaded = options.open_codec(codec, backbone, device, quantization)
                result = loaded.compress(texts, progress=progress, **chosen, **options.given(batch_size=batch_size))
        if not quiet:
            show(figures(result.stats))
        compressed: list[str] = result.documents
        return compressed

    _convert_files(files, output, field, lambda name: name if form is options.Form.TEXT else name + SUFFIX, compress)


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

    def decompress(texts: list[str]) -> Sequence[str]:
        loaded = options.open_codec(codec, backbone, device, quantization)
        with rich_progress(is_terminal() and not quiet) as progress:
            restored: list[str] = loaded.decompress(texts, progress=progress, **options.given(batch_size=batch_size))
        return restored

    _convert_files(files, output, field, lambda name: name.removesuffix(SUFFIX) or name, decompress)


def _convert_files(
    paths: Sequence[Path] | None,
    out: Path | None,
    field: str | None,
    rename: Callable[[str], str],
    convert: Callable[[list[str]], Sequence[str]],
) -> None:
    """Convert all texts in one call; nothing is written before that, so an error leaves no half of the outputs."""
    sources = read_sources(paths, out)
    targets = plan_outputs(sources, out, rename)
    contents = [read_content(source, field) for source in sources.members]
    texts = [text for content in contents for text in content.texts]
    converted = iter(convert(texts) if texts else [])
    outputs = [content.render(list(islice(converted, len(content.texts)))) for content in contents]
    for target, output in zip(targets, outputs, strict=True):
        write_text(target, output)
