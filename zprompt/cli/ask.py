"""`zprompt answer`, `zprompt pull` and `zprompt export`: use a reader, and fetch or export the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zprompt.cli import options
from zprompt.cli.files import read_content, read_sources
from zprompt.cli.messages import is_terminal, note
from zprompt.documents import read_documents
from zprompt.page import visible
from zprompt.progress import rich_progress

if TYPE_CHECKING:
    from zprompt.reader import Answer

app = typer.Typer()
export_app = typer.Typer(name="export", help="Export models for other engines.", no_args_is_help=True)


@app.command("answer")
def _answer(
    question: Annotated[str, typer.Argument(help="Question to answer.", show_default=False)],
    files: options.Inputs = None,
    field: options.Field = None,
    quiet: options.Quiet = False,
    compress: Annotated[
        bool, typer.Option("--compress", "-z", help="Read what the question needs word for word, the rest as Z-tokens.")
    ] = False,
    ratio: Annotated[
        float | None, typer.Option(min=1.0, help="Like --compress, at this many source tokens per position.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Maximum length of the answer in tokens.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer and its usage as JSON.")] = False,
    reader: options.ReaderName = "default",
    codec: options.ReaderCodec = None,
    device: options.DeviceName = options.Device.AUTO,
    engine: options.ReaderEngine = options.Engine.FP32,
) -> None:
    """Answer a question from files: texts, Z-spans, or both. The exit code is 1 if no answer is found.

    Each file is a passage; in JSON lines, each line is one, with its title. Texts and Z-spans are read as they are,
    unless --compress or --ratio focuses all of them on the question.
    """
    sources = read_sources(files)
    passages = [document for source in sources.members for document in read_content(source, field).documents]
    loaded = options.open_reader(reader, codec, device, engine)
    if (compress or ratio is not None) and any(text.strip() for text in read_documents(passages).texts):
        with rich_progress(is_terminal() and not quiet) as progress:
            passages = loaded.codec.compress(passages, ratio=ratio, query=question, progress=progress).documents
    answer = loaded.answer(question, passages, max_new_tokens=max_new_tokens)
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), indent=2))
    else:
        typer.echo(visible(answer.text))
        if not quiet:
            note(_usage(answer))
    if not answer.found:
        raise typer.Exit(1)


def _usage(answer: Answer) -> str:
    usage = answer.usage
    text = usage.prompt_positions - usage.z_tokens
    z_tokens = f", {usage.z_tokens:,} of Z-tokens for {usage.source_tokens:,} source tokens" if usage.z_tokens else ""
    cut = "; cut off by --max-new-tokens" if answer.finish_reason == "length" else ""
    read = f"Read {usage.prompt_positions:,} positions: {text:,} of text{z_tokens}"
    return f"Confidence {answer.confidence:.2f}. {read}. Wrote {usage.generated_tokens}{cut}."


@app.command("pull")
def _pull(
    name: Annotated[
        str, typer.Argument(help="Backbone: default, a folder, or a name on the Hugging Face Hub.")
    ] = "default",
) -> None:
    """Fetch a backbone and the embedding model for offline use; print the backbone's folder."""
    from zprompt.llm import pull
    from zprompt.relevance import fetch_minilm

    with rich_progress(is_terminal()) as progress:
        fetch_minilm(progress)
        folder = pull(name, progress)
    typer.echo(folder)


@export_app.command("reader")
def _export_reader(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to.", show_default=False)],
    reader: options.ReaderName = "default",
    codec: options.ReaderCodec = None,
    device: options.DeviceName = options.Device.CPU,
) -> None:
    """Export a reader as a Hugging Face checkpoint, which transformers and vLLM load unchanged.

    Prompts with Z-spans reach such an engine as input embeddings, from `Reader.embed`.
    """
    loaded = options.open_reader(reader, codec, device, options.Engine.FP32)
    from zprompt.reader import export_reader

    export_reader(loaded, folder)
    note(f"Wrote {folder}: a Llama with its tokenizer, and the Z-embedding for codec {loaded.codec.fingerprint}.")


app.add_typer(export_app)
