"""`zprompt export`: what others can run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zprompt.cli import codec_loading, options
from zprompt.cli.messages import note

app = typer.Typer(name="export", help="Export models for other engines.", no_args_is_help=True)


@app.command("reader")
def _reader(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.", show_default=False)],
    reader: options.ReaderName = "default",
    codec: options.ReaderCodec = None,
    device: options.DeviceName = options.Device.CPU,
) -> None:
    """Write a reader as a Hugging Face checkpoint, which transformers and vLLM load unchanged.

    Prompts with Z-spans reach such an engine as input embeddings, from `Reader.embed`.
    """
    loaded = codec_loading.open_reader(reader, codec, device)
    from zprompt.reader import export_reader

    export_reader(loaded, folder)
    note(f"{folder}: a Llama with its tokenizer, and the embedding of Z-tokens of codec {loaded.codec.fingerprint}.")
