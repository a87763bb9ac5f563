"""`zprompt serve` starts a server, prints its URL, and stops on a signal."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.cli.conftest import Run

# A shell that starts the tests in the background has them ignore SIGINT, and so would the program.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.serve.fake_reader import FakeReader
from zprompt.cli import options
from zprompt.cli.main import app
options.open_reader = lambda *_: FakeReader()
app(sys.argv[1:])
"""


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the program; return it and its URL."""
    command = [sys.executable, "-c", PROGRAM, "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr
        try:
            line = next(line for line in program.stderr if " is at " in line)
            yield program, line.split(" is at ")[1].strip()
        finally:
            program.kill()


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_a_server_answers_until_it_is_stopped(stop_signal: signal.Signals) -> None:
    with served("--api-key", "secret", "--model", "mine") as (program, url):
        headers = {"Authorization": "Bearer secret"}
        # The socket listens before the reader is loaded: the first request waits.
        answer = httpx.post(f"{url}/completions", json={"model": "mine", "prompt": "one"}, headers=headers, timeout=30)
        assert answer.json()["choices"][0]["text"] == "one"
        assert httpx.get(f"{url}/models").status_code == 401

        program.send_signal(stop_signal)

        assert program.wait(20) in (-stop_signal, 128 + stop_signal)
        assert program.stderr and "Traceback" not in program.stderr.read()


def test_the_key_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZPROMPT_API_KEY", "secret")
    with served() as (_, url):
        assert httpx.get(f"{url}/models", timeout=30).status_code == 401


def test_a_missing_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    result = run("serve")

    assert result.exit_code == 1
    assert "pip install 'zprompt[serve]'" in result.stderr


def test_a_port_that_is_in_use_is_an_error_before_a_reader_is_loaded(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = run("serve", "--port", port)

    assert result.exit_code == 1
    assert f"127.0.0.1:{port}" in result.stderr


def test_an_empty_key_is_refused(run: Run) -> None:
    result = run("serve", "--api-key", "")

    assert result.exit_code == 1
    assert "API key is empty" in result.stderr


def test_a_public_server_without_a_key_gets_a_warning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zprompt.cli.options.open_reader", lambda *_: object())
    monkeypatch.setattr("zprompt.serve.serve", lambda *_: None)

    assert "No --api-key" in run("serve", "--host", "0.0.0.0", "--port", 0).stderr
    assert "No --api-key" not in run("serve", "--port", 0).stderr
