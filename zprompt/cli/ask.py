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
    question: Annotated[str, typer.Argument(help="What to ask.", show_default=False)],
    files: options.Inputs = None,
    field: options.Field = None,
    quiet: options.Quiet = False,
    compress: Annotated[
        bool, typer.Option("--compress", "-z", help="Read what the question needs, and the rest as Z-tokens.")
    ] = False,
    ratio: Annotated[
        float | None, typer.Option(min=1.0, help="The same, in one position for so many source tokens.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the answer, at most.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer and what it took as JSON.")] = False,
    reader: options.ReaderName = "default",
    codec: options.ReaderCodec = None,
    device: options.DeviceName = options.Device.AUTO,
    engine: options.ReaderEngine = options.Engine.FP32,
) -> None:
    """Answer a question from files: texts, Z-spans, or both; the exit code is 1 if the answer is not found.

    Each file is a passage, as is each of its lines if it has JSON lines, with its title. Z-spans are read as they are,
    and texts too, unless --compress or --ratio is given: then all are focused on the question.
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
    cut = "; it was cut off: --max-new-tokens" if answer.finish_reason == "length" else ""
    read = f"Read {usage.prompt_positions:,} positions: {text:,} of text{z_tokens}"
    return f"Confidence {answer.confidence:.2f}. {read}. Wrote {usage.generated_tokens}{cut}."


@app.command("pull")
def _pull(
    name: Annotated[
        str, typer.Argument(help="A backbone: default, a folder, or a name on the Hugging Face hub.")
    ] = "default",
) -> None:
    """Fetch a backbone and the embedding model, so that all works offline; print the backbone's folder."""
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
    """Write a reader as a Hugging Face checkpoint, which transformers and vLLM load unchanged.

    Prompts with Z-spans reach such an engine as input embeddings, from `Reader.embed`.
    """
    loaded = options.open_reader(reader, codec, device, options.Engine.FP32)
    from zprompt.reader import export_reader

    export_reader(loaded, folder)
    note(f"{folder}: a Llama with its tokenizer, and the embedding of Z-tokens of codec {loaded.codec.fingerprint}.")


app.add_typer(export_app)
