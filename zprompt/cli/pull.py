"""`zprompt pull`: fetch a backbone ahead of time."""

from __future__ import annotations

from typing import Annotated

import typer

from zprompt.cli.messages import is_terminal
from zprompt.progress import rich_progress

app = typer.Typer()


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
