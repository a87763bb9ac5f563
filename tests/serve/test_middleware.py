"""Before its route, a request is checked for the API key and the limits of its body."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.serve.conftest import JSON, MODEL, Running, error_of, running
from tests.serve.fake_reader import FakeReader
from zprompt.serve import ServerSettings


@pytest.fixture(scope="module")
def guarded(shared_reader: FakeReader) -> Iterator[Running]:
    with running(shared_reader, ServerSettings(api_key="the secret")) as run:
        yield run


@pytest.mark.parametrize("key", ["wrong", "", "the secre", "the secret ", "thé secret", "the secret2"])
def test_a_wrong_key_is_refused(guarded: Running, reader: FakeReader, key: str) -> None:
    answer = guarded.http().post(
        "/v1/completions", json={"model": MODEL, "prompt": "one"}, headers={b"Authorization": f"Bearer {key}|".encode()}
    )

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert reader.batches == []


def test_a_request_with_the_right_key_is_accepted(serve: Callable[..., Running]) -> None:
    server = serve(api_key="the sécret")

    with pytest.raises(openai.AuthenticationError):
        server.openai("other").models.list()
    answer = server.http().get("/v1/models", headers={b"Authorization": "bearer the sécret".encode()})
    assert answer.status_code == 200
    for path in ("/v1/models", "/v1/nowhere", "/v1"):
        assert server.http().get(path).status_code == 401
    for path in ("/healthz", "/metrics"):
        assert server.http().get(path).status_code == 200


def test_an_oversized_request_is_refused(serve: Callable[..., Running], reader: FakeReader) -> None:
    server = serve(max_request_bytes=1000)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x" * 1000}]}

    assert error_of(server, "/v1/chat/completions", body, 413)["code"] == "request_too_large"
    assert reader.batches == []


def test_an_oversized_request_without_a_content_length_is_refused(serve: Callable[..., Running]) -> None:
    server = serve(max_request_bytes=1000)
    sent = 0

    def chunks() -> Any:  # noqa: ANN401 - bytes, endless
        nonlocal sent
        while sent < 200_000_000:
            sent += 1000
            yield b" " * 1000

    try:
        answer = server.http().post("/v1/completions", content=chunks(), headers=JSON)
        assert answer.status_code == 413
    except Exception as error:  # noqa: BLE001 - the server hangs up while we still send
        assert "Write" in type(error).__name__ or "Protocol" in type(error).__name__
    assert sent < 200_000_000


def test_a_request_that_arrives_too_slowly_times_out(serve: Callable[..., Running]) -> None:
    server = serve(timeout=0.2)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")
