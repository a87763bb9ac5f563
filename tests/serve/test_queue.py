"""What waits together is written together, the queue is bounded, and who leaves is not written for."""

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
    """Asks for texts in threads."""

    def __init__(self, server: Running, pool: ThreadPoolExecutor) -> None:
        self.server, self.pool, self.client = server, pool, server.openai()

    def ask(self, prompt: str, **options: Any) -> Future[str]:  # noqa: ANN401
        return self.pool.submit(
            lambda: self.client.completions.create(model=MODEL, prompt=prompt, **options).choices[0].text
        )

    def occupy(self, reader: FakeReader) -> Future[str]:
        """Keep the worker busy until the gate opens."""
        reader.gate.clear()
        asked = self.ask("busy")
        until(reader.begun.is_set)
        return asked


def test_what_waits_together_is_written_together(server: Running, reader: FakeReader, pool: ThreadPoolExecutor) -> None:
    asker = Asker(server, pool)
    first = asker.occupy(reader)
    others = [asker.ask(f"text number {n}", temperature=n / 10, seed=n) for n in range(10)]
    until(lambda: server.texts.waiting == 10)
    reader.gate.set()

    assert first.result() == "busy"
    assert [other.result() for other in others] == [f"text number {n}" for n in range(10)]
    assert reader.batches == [1, 10]


def test_a_batch_has_a_size(serve: Callable[..., Running], reader: FakeReader, pool: ThreadPoolExecutor) -> None:
    server = serve(batch_size=4)
    asker = Asker(server, pool)
    asker.occupy(reader)
    others = [asker.ask(f"text {n}") for n in range(6)]
    until(lambda: server.texts.waiting == 6)
    reader.gate.set()

    assert [other.result() for other in others] == [f"text {n}" for n in range(6)]
    assert reader.batches == [1, 4, 2]


def test_a_full_queue_says_when_to_come_back(
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
    assert answer.status_code == 200  # it has a queue of its own

    reader.gate.set()
    assert [text.result() for text in (running, *waiting)] == ["busy", "one", "two"]
    assert asker.ask("three").result() == "three"


def test_the_event_loop_is_free_while_texts_are_written(
    server: Running, reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    running = Asker(server, pool).occupy(reader)

    assert server.http(timeout=2).get("/healthz").status_code == 200
    assert server.http(timeout=2).post("/v1/completions", content=b"{").status_code == 400
    reader.gate.set()
    assert running.result() == "busy"


def test_a_stream_that_nobody_reads_any_more_is_not_written_on(own_server: Running, reader: FakeReader) -> None:
    reader.seconds = 0.02
    with own_server.openai().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "word " * 200}], stream=True
    ) as stream:
        next(iter(stream))

    until(lambda: own_server.metric('zprompt_running{queue="texts"}') == 0)
    assert reader.steps < 100
    assert own_server.metric('zprompt_cancelled_total{reason="client_left"}') == 1


def test_who_hangs_up_leaves_the_batch_to_the_others(
    own_server: Running, reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    asker = Asker(own_server, pool)
    asker.occupy(reader)
    impatient = httpx.Client(base_url=own_server.url, timeout=0.3)
    left = pool.submit(impatient.post, "/v1/completions", json={"model": MODEL, "prompt": "long " * 200})
    patient = asker.ask("short text")
    until(lambda: own_server.texts.waiting == 2)
    with pytest.raises(httpx.ReadTimeout):
        left.result()
    impatient.close()
    until(lambda: own_server.texts.waiting == 1)
    reader.gate.set()

    assert patient.result() == "short text"
    assert reader.batches == [1, 1]
    assert own_server.metric('zprompt_cancelled_total{reason="client_left"}') == 1


def test_requests_that_come_at_once_are_written_together(
    serve: Callable[..., Running], reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    asker = Asker(serve(batch_wait=1.0, batch_size=8), pool)
    texts = [asker.ask(f"text {n}") for n in range(8)]

    assert [text.result() for text in texts] == [f"text {n}" for n in range(8)]
    assert reader.batches == [8]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_calls_have_a_lower_priority_than_texts(own_server: Running) -> None:
    def niceness(worker: str) -> int:
        [thread] = [one for one in threading.enumerate() if one.name == worker and one.ident in own]
        assert thread.native_id
        return os.getpriority(os.PRIO_PROCESS, thread.native_id)

    own = {queue._thread.ident for queue in own_server.server.queues}
    until(lambda: niceness("zprompt-conversions") == niceness("zprompt-messages") == 10 + niceness("zprompt-texts"))


def test_many_clients_are_all_answered_rightly(
    serve: Callable[..., Running], reader: FakeReader, pool: ThreadPoolExecutor
) -> None:
    reader.seconds = 0.0005
    asker = Asker(serve(queue_length=64), pool)
    before = set(threading.enumerate())  # other tests leave some, too
    texts = [asker.ask(f"this is text {n}") for n in range(200)]

    assert [text.result() for text in texts] == [f"this is text {n}" for n in range(200)]
    started = [thread.name for thread in set(threading.enumerate()) - before if not thread.name.startswith("client")]
    assert len(started) < CLIENTS, "a thread for each client that waits"
