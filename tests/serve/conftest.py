"""Serve a reader over real HTTP: uvicorn in a thread, on a free port."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import openai
import pytest

from tests.serve.fake_reader import PATIENCE, FakeReader
from zprompt.reader import Reader
from zprompt.serve import Server, ServerSettings, bind, url_of
from zprompt.serve.queue import CallQueue, TextQueue

MODEL = "zprompt"
JSON = {"Content-Type": "application/json"}


@dataclass
class Running:
    """A server that runs, with clients for it."""

    server: Server
    url: str
    thread: threading.Thread
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def texts(self) -> TextQueue:
        return self.server.queues[0]

    @property
    def conversions(self) -> CallQueue:
        return self.server.queues[1]

    def openai(self, key: str = "none", **options: object) -> openai.OpenAI:
        """Return OpenAI's client, without retries."""
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=PATIENCE, **options)  # type: ignore[arg-type]
        return self.stack.enter_context(client)

    def http(self, **options: object) -> httpx.Client:
        return self.stack.enter_context(httpx.Client(base_url=self.url, **{"timeout": PATIENCE, **options}))  # type: ignore[arg-type]

    def metric(self, line: str) -> float:
        """Read one figure of /metrics."""
        text = self.http().get("/metrics").text
        return next((float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.rsplit(" ", 1)[0] == line), 0.0)


@contextmanager
def running(reader: FakeReader | Reader, settings: ServerSettings) -> Iterator[Running]:
    """Run a server until the block ends."""
    with bind("127.0.0.1", 0) as bound:
        server = Server(reader, settings)  # type: ignore[arg-type] - a fake has what the server needs
        thread = threading.Thread(target=server.run, args=([bound],))
        run = Running(server, url_of(bound), thread)
        thread.start()
        try:
            until(lambda: server.started)
            with run.stack:
                yield run
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def error_of(server: Running, path: str, body: object, status: int) -> dict[str, Any]:
    """Post a bad request and return the error that comes back."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = server.http().post(path, content=content, headers=JSON)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


def until(holds: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def shared_reader() -> FakeReader:
    """Return the reader that all tests share."""
    return FakeReader()


@pytest.fixture(scope="session")
def shared_server(shared_reader: FakeReader) -> Iterator[Running]:
    """Return the server that all tests share which leave it as it is: starting one takes longer than a test."""
    with running(shared_reader, ServerSettings()) as run:
        yield run


@pytest.fixture
def reader(shared_reader: FakeReader) -> FakeReader:
    """Return the shared reader, reset."""
    vars(shared_reader).update(vars(FakeReader()))
    return shared_reader


@pytest.fixture
def serve(reader: FakeReader) -> Iterator[Callable[..., Running]]:
    """Return a function that starts a server with some settings; it stops after the test."""
    with ExitStack() as stack:

        def start(**settings: object) -> Running:
            return stack.enter_context(running(reader, ServerSettings(**settings)))  # type: ignore[arg-type]

        yield start
        reader.gate.set()  # otherwise a failed test would leave the worker waiting


@pytest.fixture
def server(shared_server: Running, reader: FakeReader) -> Iterator[Running]:
    """Return a server with the default settings, which the test must leave as it is."""
    with ExitStack() as stack:
        yield replace(shared_server, stack=stack)
        reader.gate.set()


@pytest.fixture
def fresh_server(serve: Callable[..., Running]) -> Running:
    """Return a server for one test alone, with default settings: its metrics start at zero, and it may be stopped."""
    return serve()
