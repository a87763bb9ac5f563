"""Run the program with a fake codec and a fake reader, which replace what the command line opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from typer.testing import CliRunner, Result

from tests.cli.byte_codec import ByteCodec, FakeReader
from zprompt.cli import options
from zprompt.cli.main import app

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> ByteCodec:
    opened = ByteCodec()
    monkeypatch.setattr(options, "open_codec", lambda *_: opened)
    return opened


@pytest.fixture
def run(codec: ByteCodec) -> Run:
    """Return a function that runs the program with the fake codec."""

    def invoke(*arguments: object, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return invoke


@pytest.fixture
def reader(codec: ByteCodec, monkeypatch: pytest.MonkeyPatch) -> FakeReader:
    reader = FakeReader(codec)

    def open_reader(*arguments: object) -> FakeReader:
        reader.opened.append(arguments)
        return reader

    monkeypatch.setattr(options, "open_reader", open_reader)
    return reader
