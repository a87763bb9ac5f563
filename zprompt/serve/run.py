"""Run a server: socket, signals, shutdown.

On SIGTERM or Ctrl-C, no more connections are accepted, waiting requests get 503, and running ones have
`shutdown_timeout` seconds to finish.
"""

from __future__ import annotations

import ipaddress
import socket

import uvicorn

from zprompt.reader import Reader
from zprompt.serve.app import create_app
from zprompt.serve.service import ServerSettings

_BACKLOG = 2048  # connections that the operating system queues until they are accepted


class Server(uvicorn.Server):
    """A uvicorn server that refuses waiting requests as soon as shutdown begins."""

    def __init__(self, reader: Reader, settings: ServerSettings) -> None:
        """Prepare to serve a reader."""
        app = create_app(reader, settings)
        self.queues = app.state.service.queues
        # uvicorn takes whole seconds; 0 means at once.
        grace = round(settings.shutdown_timeout)
        super().__init__(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=grace, server_header=False))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse waiting requests, finish running ones, and stop."""
        for queue in self.queues:
            queue.drain()
        await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
    """Bind an address; do so before a model is loaded in vain.

    :param host: A name or address of this machine.
    :param port: A port; 0 for any that is free.
    :return: The bound socket.
    :raises OSError: If the address is in use or does not exist, with host and port in the message.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
    bound.listen(_BACKLOG)
    return bound


def url_of(bound: socket.socket) -> str:
    """Return the URL of a server with this socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_local(bound: socket.socket) -> bool:
    """Return whether only this machine can reach a socket."""
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


def serve(reader: Reader, settings: ServerSettings, bound: socket.socket) -> None:
    """Serve a reader on a bound socket until a signal stops it."""
    Server(reader, settings).run([bound])
