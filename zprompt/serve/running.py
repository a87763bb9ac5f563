"""Run a server: its socket, its signals, its end.

On SIGTERM or Ctrl-C no connection is accepted any more, what waits is answered with 503, and what runs has
`shutdown_timeout` seconds to finish.
"""

from __future__ import annotations

import ipaddress
import socket

import uvicorn

from zprompt.serve.app import create_app
from zprompt.serve.protocol import ServedReader
from zprompt.serve.settings import ServerSettings

_BACKLOG = 2048  # connections that the operating system keeps until they are accepted


class Server(uvicorn.Server):
    """uvicorn, but requests that wait are told at once when the server is to stop."""

    def __init__(self, reader: ServedReader, settings: ServerSettings) -> None:
        """Prepare to serve.

        :param reader: The reader.
        :param settings: How to behave.
        """
        app = create_app(reader, settings)
        self.batcher = app.state.service.batcher
        # uvicorn counts whole seconds, and takes 0 for "at once".
        grace = round(settings.shutdown_timeout)
        super().__init__(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=grace, server_header=False))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what runs, and stop.

        :param sockets: What is listened on.
        """
        self.batcher.drain()
        await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
    """Take an address, before a model is loaded in vain.

    :param host: A name or address of this machine.
    :param port: A port; 0 for any that is free.
    :return: A socket that does not listen yet.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    taken = socket.socket(family, kind, protocol)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        taken.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
    taken.listen(_BACKLOG)
    return taken


def url_of(bound: socket.socket) -> str:
    """Say where a server can be reached.

    :param bound: Its socket.
    :return: The URL.
    """
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_local(bound: socket.socket) -> bool:
    """Say whether only this machine can reach a server.

    :param bound: Its socket.
    :return: True for loopback addresses.
    """
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


def serve(reader: ServedReader, settings: ServerSettings, bound: socket.socket) -> None:
    """Serve until told to stop.

    :param reader: The reader.
    :param settings: How to behave.
    :param bound: What to listen on.
    """
    Server(reader, settings).run([bound])
