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
        help="SQLite file to keep them in; by default, in the user's data folder.",
        show_default=False,
    ),
]
_OriginalsBytes: TypeAlias = Annotated[
    int,
    typer.Option(
        min=1,
        rich_help_panel=_ORIGINALS,
        help="Maximum total size in bytes; the least recently used are evicted first.",
    ),
]


@app.command("serve")
def _serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="ZPROMPT_API_KEY", help="Bearer token that clients must send.", show_default=False),
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help="Model name that clients use.")] = "zprompt",
    max_request_bytes: Annotated[
        int, typer.Option(min=1, rich_help_panel=_LIMITS, help="Maximum size of a request body.")
    ] = 1 << 20,
    timeout: Annotated[
        float, typer.Option(min=0.001, rich_help_panel=_LIMITS, help="Seconds a request may take.")
    ] = 300.0,
    queue: Annotated[
        int, typer.Option(min=1, rich_help_panel=_LIMITS, help="Requests that may wait; any more get a 429.")
    ] = 64,
    batch_size: Annotated[int, typer.Option(min=1, rich_help_panel=_LIMITS, help="Texts generated together.")] = 16,
    shutdown_timeout: Annotated[
        float,
        typer.Option(min=0.0, rich_help_panel=_LIMITS, help="Seconds running requests get to finish on shutdown."),
    ] = 30.0,
    originals: _Originals = None,
    originals_bytes: _OriginalsBytes = 1 << 30,
    reader: options.ReaderName = "default",
    codec: options.ReaderCodec = None,
    device: options.DeviceName = options.Device.AUTO,
    engine: options.ReaderEngine = options.Engine.FP32,
) -> None:
    """Serve a reader over HTTP with OpenAI's API; messages may hold Z-spans anywhere. Stop it with Ctrl-C."""
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
            warn("No --api-key is set: anyone who can reach this address can use the server.")
        loaded = options.open_reader(reader, codec, device, engine)
        note(f"{model} is at {url_of(bound)}/v1")
        serve(loaded, settings, bound)


@app.command("mcp")
def _serve_tools(
    root: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder whose text files the tools may read.")
    ] = Path(),
    originals: _Originals = None,
    originals_bytes: _OriginalsBytes = 1 << 30,
) -> None:
    """Serve tools to an agent over the Model Context Protocol, on stdin and stdout: compress, expand, inspect."""
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
