"""Settings and addresses are checked; a stopping server finishes running requests and refuses the others."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from tests.serve.conftest import MODEL, Running, until
from tests.serve.fake_reader import FakeReader
from zprompt.errors import OptionError
from zprompt.serve import ServerSettings, bind, is_local, url_of
from zprompt.serve.errors import ApiError


@pytest.mark.parametrize(
    "setting",
    [
        {"queue_length": 0},
        {"batch_size": 0},
        {"max_request_bytes": 0},
        {"default_new_tokens": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"shutdown_timeout": -1},
        {"batch_wait": -1},
        {"model": ""},
        {"api_key": ""},
        {"api_key": " "},
    ],
    ids=str,
)
def test_a_setting_that_is_not_allowed_is_named(setting: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="API key" if "api_key" in setting else next(iter(setting))):
        ServerSettings(**setting)  # type: ignore[arg-type]


def test_a_port_can_be_bound_only_once() -> None:
    with bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        assert url_of(bound) == f"http://127.0.0.1:{port}"
        assert is_local(bound)
        with pytest.raises(OSError, match=f"127.0.0.1:{port}") as raised:
            bind("127.0.0.1", port)
        assert raised.value.errno == errno.EADDRINUSE


def test_an_address_that_others_reach_is_not_local() -> None:
    with bind("0.0.0.0", 0) as bound:
        assert not is_local(bound)


def test_running_requests_are_finished_and_waiting_ones_are_refused(fresh_server: Running, reader: FakeReader) -> None:
    reader.gate.clear()
    client = fresh_server.openai()
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(lambda: client.completions.create(model=MODEL, prompt="it runs").choices[0].text)
        until(reader.begun.is_set)
        waiting = pool.submit(lambda: client.completions.create(model=MODEL, prompt="it waits"))
        until(lambda: fresh_server.texts.waiting == 1)

        fresh_server.server.should_exit = True

        with pytest.raises(openai.APIStatusError) as raised:
            waiting.result()
        assert (raised.value.status_code, raised.value.code) == (503, "shutting_down")
        assert "Retry-After" in raised.value.response.headers
        reader.gate.set()
        assert running.result() == "it runs"
    fresh_server.thread.join(5)
    assert not fresh_server.thread.is_alive()


def test_a_running_stream_is_finished_too(fresh_server: Running, reader: FakeReader) -> None:
    reader.seconds = 0.02
    stream = fresh_server.openai().completions.create(model=MODEL, prompt="word " * 30, stream=True)
    pieces = iter(stream)
    text = next(pieces).choices[0].text

    fresh_server.server.should_exit = True
    text += "".join(piece.choices[0].text for piece in pieces)

    assert text == ("word " * 30).strip()


def test_requests_that_outlast_the_shutdown_timeout_are_cancelled(
    serve: Callable[..., Running], reader: FakeReader
) -> None:
    reader.seconds = 0.05
    server = serve(shutdown_timeout=1.0)
    stream = server.openai().completions.create(model=MODEL, prompt="word " * 900, stream=True)
    pieces = iter(stream)
    next(pieces)

    server.server.should_exit = True
    with pytest.raises((openai.APIError, httpx.HTTPError)):
        list(pieces)

    server.thread.join(5)
    assert not server.thread.is_alive()
    assert reader.steps < 200


def test_a_server_that_shuts_down_says_so_and_accepts_no_requests(fresh_server: Running) -> None:
    for queue in fresh_server.server.queues:
        queue.drain()

    answer = fresh_server.http().get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (503, "shutting down")
    with pytest.raises(ApiError), fresh_server.texts.admit():
        pass
    with pytest.raises(openai.InternalServerError) as raised:
        fresh_server.openai().completions.create(model=MODEL, prompt="one")
    assert raised.value.status_code == 503
    assert fresh_server.http().post("/v1/compress", json={"input": "text"}).status_code == 503
