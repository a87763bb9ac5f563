"""Requests that wait together are one batch, the queue is bounded, and clients that leave are dropped."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.serve.conftest import MODEL, Running, until
from tests.serve.fake_reader import FakeReader

CLIENTS = 40


@pytest.fixture
def pool() -> Any:  # noqa: ANN401 - an executor
    with ThreadPoolExecutor(CLIENTS, thread_name_prefix="client") as executor:
        yield executor


class Asker:
    """Requests completions from many threads."""

    def __init__(self, server: Running, pool: ThreadPoolExecutor) -> None:
        self.server, self.pool, self.client = server, pool, server.openai()

    def ask(self, prompt: str, **options: Any) -> Future[str]:  # noqa: ANN401
        return self.pool.submit(
            lambda: self.client.completions.create(model=MODEL, prompt=prompt, **options).choices[0].text
        )

    def occupy(self, reader: FakeReader) -> Future[str]:
        """Keep the worker busy until the gate opens."""
        reader.gate.clear()
        future = self.ask("busy")
        until(reader.begun.is_set)
        return future


def test_requests_that_wait_together_are_one_batch(
    server: Running, reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    asker = Asker(server, pool)
    first = asker.occupy(reader)
    others = [asker.ask(f"text number {n}", temperature=n / 10, seed=n) for n in range(10)]
    until(lambda: server.texts.waiting == 10)
    reader.gate.set()

    assert first.result() == "busy"
    assert [other.result() for other in others] == [f"text number {n}" for n in range(10)]
    assert reader.batches == [1, 10]


def test_a_batch_has_at_most_batch_size_texts(
    serve: Callable[..., Running], reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    server = serve(batch_size=4)
    asker = Asker(server, pool)
    asker.occupy(reader)
    others = [asker.ask(f"text {n}") for n in range(6)]
    until(lambda: server.texts.waiting == 6)
    reader.gate.set()

    assert [other.result() for other in others] == [f"text {n}" for n in range(6)]
    assert reader.batches == [1, 4, 2]


def test_a_full_queue_says_when_to_retry(
    serve: Callable[..., Running], reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    server = serve(queue_length=2)
    asker = Asker(server, pool)
    running = asker.occupy(reader)
    waiting = [asker.ask("one"), asker.ask("two")]
    until(lambda: server.texts.waiting == 2)

    with pytest.raises(openai.RateLimitError) as raised:
        asker.client.completions.create(model=MODEL, prompt="three")
    assert 1 <= int(raised.value.response.headers["Retry-After"]) <= 60
    assert raised.value.code == "queue_full"
    answer = server.http().post("/v1/compress", json={"input": "text"})
    assert answer.status_code == 200  # conversions have their own queue

    reader.gate.set()
    assert [text.result() for text in (running, *waiting)] == ["busy", "one", "two"]
    assert asker.ask("three").result() == "three"


def test_the_event_loop_is_free_while_texts_are_generated(
    server: Running, reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    running = Asker(server, pool).occupy(reader)

    assert server.http(timeout=2).get("/healthz").status_code == 200
    assert server.http(timeout=2).post("/v1/completions", content=b"{").status_code == 400
    reader.gate.set()
    assert running.result() == "busy"


def test_a_stream_whose_client_left_stops_the_generation(fresh_server: Running, reader: FakeReader) -> None:
    reader.seconds = 0.02
    with fresh_server.openai().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "word " * 200}], stream=True
    ) as stream:
        next(iter(stream))

    until(lambda: fresh_server.metric('zprompt_running{queue="texts"}') == 0)
    assert reader.steps < 100
    assert fresh_server.metric('zprompt_cancelled_total{reason="client_left"}') == 1


def test_a_waiting_client_that_hangs_up_is_not_answered(
    fresh_server: Running, reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    asker = Asker(fresh_server, pool)
    asker.occupy(reader)
    impatient = httpx.Client(base_url=fresh_server.url, timeout=0.3)
    abandoned = pool.submit(impatient.post, "/v1/completions", json={"model": MODEL, "prompt": "long " * 200})
    patient = asker.ask("short text")
    until(lambda: fresh_server.texts.waiting == 2)
    with pytest.raises(httpx.ReadTimeout):
        abandoned.result()
    impatient.close()
    until(lambda: fresh_server.texts.waiting == 1)
    reader.gate.set()

    assert patient.result() == "short text"
    assert reader.batches == [1, 1]
    assert fresh_server.metric('zprompt_cancelled_total{reason="client_left"}') == 1


def test_requests_that_arrive_at_once_are_one_batch(
    serve: Callable[..., Running], reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    asker = Asker(serve(batch_wait=1.0, batch_size=8), pool)
    texts = [asker.ask(f"text {n}") for n in range(8)]

    assert [text.result() for text in texts] == [f"text {n}" for n in range(8)]
    assert reader.batches == [8]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_calls_have_a_lower_priority_than_texts(fresh_server: Running) -> None:
    def niceness(worker: str) -> int:
        [thread] = [thread for thread in threading.enumerate() if thread.name == worker and thread.ident in idents]
        assert thread.native_id
        return os.getpriority(os.PRIO_PROCESS, thread.native_id)

    idents = {queue._thread.ident for queue in fresh_server.server.queues}
    until(lambda: niceness("zprompt-conversions") == niceness("zprompt-messages") == 10 + niceness("zprompt-texts"))


def test_many_clients_all_get_the_right_answer(
    serve: Callable[..., Running], reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    reader.seconds = 0.0005
    asker = Asker(serve(queue_length=64), pool)
    before = set(threading.enumerate())  # other tests leave threads, too
    texts = [asker.ask(f"this is text {n}") for n in range(200)]

    assert [text.result() for text in texts] == [f"this is text {n}" for n in range(200)]
    started = [thread.name for thread in set(threading.enumerate()) - before if not thread.name.startswith("client")]
    assert len(started) < CLIENTS, "a thread for each client that waits"
