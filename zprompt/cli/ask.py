"""`zprompt answer`, `zprompt pull` and `zprompt export`: use a reader, and fetch or hand on the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zprompt.cli import options
from zprompt.cli.files import read_content, read_sources
from zprompt.cli.messages import is_terminal, note, visible
from zprompt.progress import rich_progress

if TYPE_CHECKING:
    from zprompt.codec import Codec
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
        bool, typer.Option("--compress", "-z", help="Read the texts as Z-tokens, at the usual ratio.")
    ] = False,
    ratio: Annotated[
        float | None, typer.Option(min=1.0, help="Read the texts as Z-tokens, each for so many source tokens.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the answer, at most.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer and what it took as JSON.")] = False,
    reader: options.ReaderName = "default",
    codec: options.ReaderCodec = None,
    device: options.DeviceName = options.Device.AUTO,
) -> None:
    """Answer a question from files: texts, Z-spans, or both.

    Each file is a passage, as is each of its lines if it has JSON lines. Z-spans are read as they are, and texts too,
    unless --compress or --ratio is given.
    """
    sources = read_sources(files)
    passages = [text for source in sources.members for text in read_content(source, field).texts]
    loaded = options.open_reader(reader, codec, device)
    if compress or ratio is not None:
        passages = _compressed(loaded.codec, passages, ratio, quiet)
    answer = loaded.answer(question, passages, max_new_tokens=max_new_tokens)
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), indent=2))
        return
    typer.echo(visible(answer.text))
    if not quiet:
        note(_usage(answer))


def _compressed(codec: Codec, passages: list[str], ratio: float | None, quiet: bool) -> list[str]:
    """Compress the passages without Z-spans."""
    from zprompt.zspan import find_spans

    plain = [place for place, passage in enumerate(passages) if next(find_spans(passage), None) is None]
    with rich_progress(is_terminal() and not quiet) as progress:
        result = codec.compress([passages[place] for place in plain], ratio=ratio, progress=progress)
    replaced = dict(zip(plain, result.documents, strict=True))
    return [replaced.get(place, passage) for place, passage in enumerate(passages)]


def _usage(answer: Answer) -> str:
    usage = answer.usage
    text = usage.prompt_positions - usage.z_tokens
    z_tokens = f", {usage.z_tokens:,} of Z-tokens for {usage.source_tokens:,} source tokens" if usage.z_tokens else ""
    cut = "; it was cut off: --max-new-tokens" if answer.finish_reason == "length" else ""
    return (
        f"Read {usage.prompt_positions:,} positions: {text:,} of text{z_tokens}. Wrote {usage.generated_tokens}{cut}."
    )


@app.command("pull")
def _pull(
    name: Annotated[
        str, typer.Argument(help="A backbone: default, a folder, or a name on the Hugging Face hub.")
    ] = "default",
) -> None:
    """Fetch a backbone into the cache, so that everything else works offline; print the folder it lies in."""
    from zprompt.llm import pull

    with rich_progress(is_terminal()) as progress:
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
    loaded = options.open_reader(reader, codec, device)
    from zprompt.reader import export_reader

    export_reader(loaded, folder)
    note(f"{folder}: a Llama with its tokenizer, and the embedding of Z-tokens of codec {loaded.codec.fingerprint}.")


app.add_typer(export_app)
