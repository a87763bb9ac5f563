"""`zprompt serve`: the reader over HTTP. `zprompt mcp`: tools for agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from zprompt.cli import options
from zprompt.cli.messages import note, warn
from zprompt.errors import MissingDependencyError
from zprompt.paths import data_dir

app = typer.Typer()

_LIMITS, _ORIGINALS = "Limits", "Originals of shortened texts"  # panels that --help shows

_Originals: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=_ORIGINALS,
        help="SQLite file that keeps them; in the folder of the user's data by default.",
        show_default=False,
    ),
]
_OriginalsBytes: TypeAlias = Annotated[
    int, typer.Option(min=1, rich_help_panel=_ORIGINALS, help="Size of all of them; the least used go first.")
]


@app.command("serve")
def _serve(
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="ZPROMPT_API_KEY", help="What clients must send as a bearer token.", show_default=False),
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help="What clients call the model.")] = "zprompt",
    max_request_bytes: Annotated[
        int, typer.Option(min=1, rich_help_panel=_LIMITS, help="Largest body of a request.")
    ] = 1 << 20,
    timeout: Annotated[
        float, typer.Option(min=0.001, rich_help_panel=_LIMITS, help="Seconds that a request may take.")
    ] = 300.0,
    queue: Annotated[
        int, typer.Option(min=1, rich_help_panel=_LIMITS, help="Requests that may wait; one more gets 429.")
    ] = 64,
    batch_size: Annotated[
        int, typer.Option(min=1, rich_help_panel=_LIMITS, help="Texts that are written together.")
    ] = 16,
    shutdown_timeout: Annotated[
        float, typer.Option(min=0.0, rich_help_panel=_LIMITS, help="Seconds that running requests have at the end.")
    ] = 30.0,
    originals: _Originals = None,
    originals_bytes: _OriginalsBytes = 1 << 30,
    reader: options.ReaderName = "default",
    codec: options.ReaderCodec = None,
    device: options.DeviceName = options.Device.AUTO,
    engine: options.ReaderEngine = options.Engine.FP32,
) -> None:
    """Answer over HTTP, as OpenAI's API does: messages may hold Z-spans anywhere. Stop it with Ctrl-C."""
    _require_extra()
    from zprompt.serve import ServerSettings, bind, is_local, serve, url_of

    settings = ServerSettings(
        model=model,
        api_key=api_key,
        max_request_bytes=max_request_bytes,
        timeout=timeout,
        queue_length=queue,
        batch_size=batch_size,
        shutdown_timeout=shutdown_timeout,
        originals=originals or _default_originals(),
        originals_bytes=originals_bytes,
    )
    with bind(host, port) as bound:
        if api_key is None and not is_local(bound):
            warn("Everyone who reaches this address may use the server: there is no --api-key.")
        loaded = options.open_reader(reader, codec, device, engine)
        note(f"{model} is at {url_of(bound)}/v1")
        serve(loaded, settings, bound)


@app.command("mcp")
def _serve_tools(
    root: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="The folder whose text files the tools may read.")
    ] = Path(),
    originals: _Originals = None,
    originals_bytes: _OriginalsBytes = 1 << 30,
) -> None:
    """Give an agent tools over the Model Context Protocol: compress, expand, inspect. It speaks on stdin and stdout."""
    from zprompt.mcp_server import create_server
    from zprompt.originals import Originals

    create_server(root, Originals(originals or _default_originals(), originals_bytes)).run()


def _default_originals() -> Path:
    return data_dir() / "originals.sqlite"


def _require_extra() -> None:
    """Raise MissingDependencyError if a package of the extra is missing."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"The server needs {error.name}, which is not installed: pip install 'zprompt[serve]'."
        ) from error
