"""`zprompt answer`: a question, and passages to answer it from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from zprompt.cli import codec_loading, options
from zprompt.cli.contents import read_content
from zprompt.cli.files import read_sources
from zprompt.cli.messages import is_terminal, note
from zprompt.cli.tiling import visible
from zprompt.progress import rich_progress

if TYPE_CHECKING:
    from zprompt.codec import Codec
    from zprompt.reader import Answer

app = typer.Typer()


@app.command("answer")
def _answer(
    question: Annotated[str, typer.Argument(help="What to ask.", show_default=False)],
    files: options.Inputs = None,
    field: options.Field = None,
    quiet: options.Quiet = False,
    compress: Annotated[
        bool, typer.Option("--compress", "-z", help="Read the texts as Z-tokens, as few as come back exactly.")
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
    loaded = codec_loading.open_reader(reader, codec, device)
    if compress or ratio is not None:
        passages = _compressed(loaded.codec, passages, ratio, quiet)
    answer = loaded.answer(question, passages, max_new_tokens=max_new_tokens)
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), indent=2))
        return
    typer.echo(visible(answer.text))
    if not quiet:
        note(_figures(answer))


def _compressed(codec: Codec, passages: list[str], ratio: float | None, quiet: bool) -> list[str]:
    """Replace what is plain text by Z-spans."""
    from zprompt.zspan import find_spans

    plain = [place for place, passage in enumerate(passages) if next(find_spans(passage), None) is None]
    with rich_progress(is_terminal() and not quiet) as progress:
        result = codec.compress([passages[place] for place in plain], ratio=ratio, progress=progress)
    replaced = dict(zip(plain, result.documents, strict=True))
    return [replaced.get(place, passage) for place, passage in enumerate(passages)]


def _figures(answer: Answer) -> str:
    """Say what the answer took."""
    usage = answer.usage
    text = usage.prompt_positions - usage.z_tokens
    z_tokens = f", {usage.z_tokens:,} of Z-tokens for {usage.source_tokens:,} source tokens" if usage.z_tokens else ""
    cut = "; it was cut off: --max-new-tokens" if answer.finish_reason == "length" else ""
    return (
        f"Read {usage.prompt_positions:,} positions: {text:,} of text{z_tokens}. Wrote {usage.generated_tokens}{cut}."
    )
