"""Only servers that say that they read Z-spans get them; each is asked once and briefly."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from zprompt import probe
from zprompt.probe import forget_servers, reads_z_tokens

OURS = "0123456789ab"


class Models(BaseHTTPRequestHandler):
    """Lists models, or gives whatever answer a test sets."""

    status = 200
    body: bytes = b""
    delay = 0.0
    location: str | None = None
    requests: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.requests.append((self.path, self.headers.get("Authorization")))
        time.sleep(self.delay)
        self.send_response(self.status)
        if self.location:
            self.send_header("Location", self.location)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401
        """Keep the test output clean."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Models]]]:
    class TestModels(Models):
        requests: list[tuple[str, str | None]] = []  # noqa: RUF012 - each test has its own class

    forget_servers()
    with ThreadingHTTPServer(("127.0.0.1", 0), TestModels) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/v1", TestModels
        running.shutdown()
        thread.join()


def models(*codecs: object) -> bytes:
    return json.dumps({"data": [{"id": "a", "codec": codec} for codec in codecs]}).encode()


def test_a_server_that_names_the_codec_reads_its_z_spans(server: tuple[str, type[Models]]) -> None:
    url, handler = server
    handler.body = models("ffffffffffff", OURS)
    model = SimpleNamespace(openai_api_base=f"{url}/", openai_api_key=SimpleNamespace(get_secret_value=lambda: "key"))
    assert reads_z_tokens(model, lambda: OURS)
    assert reads_z_tokens(SimpleNamespace(api_base=url, api_key="key"), lambda: OURS)
    assert handler.requests == [("/v1/models", "Bearer key")]  # asked only once
    assert reads_z_tokens(url, lambda: OURS)
    assert handler.requests[1:] == [("/v1/models", None)]


def test_a_server_of_another_codec_gets_text_and_the_log_says_so(
    server: tuple[str, type[Models]], caplog: pytest.LogCaptureFixture
) -> None:
    server[1].body = models("ffffffffffff")
    assert not reads_z_tokens(server[0], lambda: OURS)
    assert "ffffffffffff" in caplog.text


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b'{"data": [{"id": "gpt"}]}'), (200, models(None)), (200, b"<html>"), (200, b"[1]"), (200, b'{"data": [1]}'),
     (401, models(OURS)), (500, b"")],
)  # fmt: skip
def test_any_other_answer_means_text(server: tuple[str, type[Models]], status: int, body: bytes) -> None:
    server[1].status, server[1].body = status, body
    assert not reads_z_tokens(server[0], lambda: pytest.fail("the codec must not be loaded"))


def test_a_redirect_is_not_followed(server: tuple[str, type[Models]]) -> None:
    url, handler = server
    handler.status, handler.location = 302, f"{url}/other"
    assert not reads_z_tokens(url, lambda: OURS)
    assert [path for path, _ in handler.requests] == ["/v1/models"]


def test_a_slow_server_is_not_waited_for(server: tuple[str, type[Models]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE", 0.05)
    server[1].delay, server[1].body = 0.5, models(OURS)
    assert not reads_z_tokens(server[0], lambda: OURS)


@pytest.mark.parametrize(
    "server",
    ["https://api.openai.com/v1", "https://my.openai.azure.com/x", "file:///etc", "nonsense", "", None, object()],
)
def test_public_apis_and_values_that_are_no_server_are_not_asked(
    server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("a request was sent")

    monkeypatch.setattr(probe, "build_opener", refuse)
    assert not reads_z_tokens(server, lambda: OURS)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://[bad/v1", "http://host:80 80/v1"])
def test_an_unreachable_url_means_text(url: str) -> None:
    forget_servers()
    assert not reads_z_tokens(url, lambda: OURS)
