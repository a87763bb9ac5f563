"""Texts to Z-spans and back, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cli.byte_codec import FINGERPRINT, write_span
from tests.serve.conftest import MODEL, Running, until
from tests.serve.fake_reader import FakeReader

DOCUMENTS: list[Any] = ["a text", ["two", "texts"], {"id": 7, "text": "a document"}, [{"text": "a"}, "b"], []]


def post(server: Running, path: str, **body: object) -> Any:  # noqa: ANN401 - JSON
    answer = server.http().post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("documents", DOCUMENTS, ids=str)
def test_documents_come_back_as_they_were(server: Running, documents: object) -> None:
    compressed = post(server, "/v1/compress", input=documents)
    restored = post(server, "/v1/decompress", input=compressed["output"])

    assert restored["output"] == documents
    assert compressed["codec"] == restored["codec"] == FINGERPRINT
    assert compressed["stats"]["exact"] is None  # not verified


def test_spans_are_restored_where_they_stand(server: Running) -> None:
    restored = post(server, "/v1/decompress", input=f"before {write_span('inside')} after")

    assert restored["output"] == "before inside after"


def test_options_reach_the_codec(server: Running, reader: FakeReader) -> None:
    post(
        server,
        "/v1/compress",
        input="text",
        model="zprompt",
        ratio=4,
        query="Who?",
        protect=["1834"],
        min_tokens=2,
        on_error="passthrough",
    )

    assert reader.codec.calls == [
        {"ratio": 4.0, "query": "Who?", "protect": ["1834"], "min_tokens": 2, "on_error": "passthrough"}
    ]


def test_regular_expressions_are_not_taken_from_strangers(server: Running, reader: FakeReader) -> None:
    answer = server.http().post("/v1/compress", json={"input": "a" * 30, "protect": "(a+)+$"})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "protect")
    assert reader.codec.calls == []


def test_half_a_surrogate_pair_is_an_error_and_not_a_fault(server: Running) -> None:
    body = b'{"input": {"text": "a", "note": "\\ud83d"}}'
    answer = server.http().post("/v1/compress", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 200
    assert b"\\ud83d" in answer.content

    body = b'{"input": "half: \\ud83d"}'
    answer = server.http().post("/v1/compress", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_compression_stops_at_the_time_limit(serve: Callable[..., Running], reader: FakeReader) -> None:
    reader.codec.steps = 500
    server = serve(timeout=0.1)

    answer = server.http().post("/v1/compress", json={"input": "text"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    until(lambda: server.metric("zprompt_running") == 0)
    assert reader.codec.steps_done < 100


def test_compression_waits_for_its_turn(server: Running, reader: FakeReader) -> None:
    reader.gate.clear()  # the reader is one for all: while it writes, a compression waits
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(server.openai().completions.create, model=MODEL, prompt="one")
        until(reader.begun.is_set)
        compressing = pool.submit(post, server, "/v1/compress", input="text")
        until(lambda: server.queue.waiting == 1)
        assert reader.codec.calls == []

        reader.gate.set()
        assert writing.result().choices[0].text == "one"
        assert compressing.result()["output"] == write_span("text")
