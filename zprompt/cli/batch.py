"""`zprompt batch`: files of any size to files of Z-spans, resumable at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zprompt.cli import options
from zprompt.cli.messages import is_terminal, note, warn

if TYPE_CHECKING:
    from zprompt.batch import BatchResult

app = typer.Typer()

_RUN = "Run"  # the panel that --help shows


class _Engine(StrEnum):
    PROCESSES = "processes"
    RAY = "ray"


@app.command("batch")
def _batch(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT…", help="JSON lines (*.jsonl, *.ndjson), *.parquet, text files, and folders of these."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    field: Annotated[str, typer.Option(metavar="NAME", help="Field or column that holds the text.")] = "text",
    ratio: options.Ratio = None,
    protect: Annotated[
        str | None, typer.Option(metavar="REGEX", rich_help_panel="Tiling", help="Keep whatever this matches.")
    ] = None,
    min_tokens: Annotated[
        int | None, typer.Option(min=1, rich_help_panel="Tiling", help="Leave shorter texts as they are.")
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Also write the embedding of each sentence, by all-MiniLM-L6-v2.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            rich_help_panel=_RUN,
            help="Processes, or Ray actors; by default, one per GPU, or one per core if there is none.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        _Engine, typer.Option(rich_help_panel=_RUN, help="Processes on this machine, or Ray at RAY_ADDRESS.")
    ] = _Engine.PROCESSES,
    chunk_rows: Annotated[
        int, typer.Option(min=1, rich_help_panel=_RUN, help="Maximum rows per output file; fewer if they are long.")
    ] = 256,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", rich_help_panel=_RUN, help="Hide progress and statistics.")
    ] = False,
    codec: options.CodecName = "default",
    backbone: options.BackboneName = None,
    device: options.DeviceName = options.Device.AUTO,
    quantization: options.QuantizationName = options.Quantization.AUTO,
) -> None:
    """Replace the text in each row of the inputs with a Z-span; run it again with the same --out to resume.

    Each row is compressed on its own, to --ratio if given: the result depends neither on the other rows nor on the
    workers. DIR/rows gets the rows as JSON lines, with all their other fields; DIR/bad the rows that cannot be
    compressed, each with the reason, and the exit code is then 1; DIR/embeddings the sentence embeddings.
    `zprompt decompress DIR/rows -o … --field NAME` restores the texts.
    """
    from zprompt.batch import BatchSettings, batch

    settings = BatchSettings(
        out=out,
        field=field,
        ratio=ratio,
        protect=protect,
        min_tokens=min_tokens,
        embedder="default" if embeddings else None,
        codec=codec,
        backbone=backbone,
        device=device.value,
        quantization=quantization.value,
        chunk_rows=chunk_rows,
    )
    with _bar(is_terminal() and not quiet) as progress:
        result = batch(inputs, settings, workers=workers, engine=engine.value, progress=progress)
    if not quiet:
        ratio_now = f", ratio {result.ratio:.2f}" if result.positions else ""
        done = f"; {result.done_before:,} of {result.chunks:,} chunks were already done" if result.done_before else ""
        note(f"{result.rows:,} rows in {out / 'rows'}{ratio_now}, {result.seconds:,.0f} s{done}.")
    for chunk in result.left_out:
        warn(f"Left out: {chunk} Run the same command again to retry.")
    if result.bad:
        warn(f"{result.bad:,} rows could not be compressed; {out / 'bad'} has them, with the reasons.")
    if not result.complete:
        raise typer.Exit(1)


@contextmanager
def _bar(enabled: bool) -> Iterator[Callable[[BatchResult], None] | None]:
    """Draw a bar on stderr: rows, rows per second, and the time left at the speed of this run."""
    if not enabled:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = BarColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("starting", total=None)

        def advance(state: BatchResult) -> None:
            bars.update(task, description=_describe(state), completed=state.read_bytes, total=state.total_bytes)

        yield advance


def _describe(state: BatchResult) -> str:
    """Describe the progress of a run."""
    rows = f"{state.rows:,} rows" + (f", {state.bad:,} bad" if state.bad else "")
    if not state.new_rows:
        return rows
    seconds_left = (state.total_bytes - state.read_bytes) * state.seconds / state.new_bytes
    return f"{rows}, {state.new_rows / state.seconds:,.1f} rows/s, {timedelta(seconds=round(seconds_left))} left"
