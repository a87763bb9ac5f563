"""Behind Ray Serve, a replica may die under load: every request is answered, or told to come again."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

httpx = pytest.importorskip("httpx")
ray = pytest.importorskip("ray")
serve = pytest.importorskip("ray.serve")

pytestmark = [pytest.mark.slow, pytest.mark.default_model, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings
CLIENTS = 16
PASSAGES = [
    "The keeper, Margaret Hale, lit the lamp on 3 May 1834. She kept a log of every ship that passed the point.",
    "The ferry leaves at seven each morning. In winter it stays in the harbour when the wind is strong.",
]
BODY = {"passages": PASSAGES, "query": "Who lit the lamp?", "form": "text", "ratio": 3}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve with two replicas on this machine."""
    from examples.ray_serve import app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray.init(num_cpus=2, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(app)
    yield f"http://127.0.0.1:{port}/"
    serve.shutdown()
    ray.shutdown()


def ask(url: str) -> Any:  # noqa: ANN401 - an answer of httpx, which may be missing
    return httpx.post(url, json=BODY, timeout=120)


def replicas(url: str) -> set[int]:
    """Return the processes that answer, of 8 requests at a time."""
    with ThreadPoolExecutor(8) as pool:
        return {answer.json()["process"] for answer in pool.map(ask, [url] * 8) if answer.status_code == 200}


def wait_for_two(url: str) -> set[int]:
    end = time.monotonic() + 120
    while len(found := replicas(url)) < 2:
        assert time.monotonic() < end
    return found


def test_every_request_is_answered_or_told_to_come_again_though_a_replica_is_killed(url: str) -> None:
    expected, before = ask(url).json()["documents"], wait_for_two(url)
    answers: list[Any] = []
    done = threading.Event()

    def client() -> None:
        while not done.is_set():
            answers.append(ask(url))

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client) for _ in range(CLIENTS)]
        time.sleep(5)
        os.kill(min(before), signal.SIGKILL)
        time.sleep(15)
        done.set()
        for one in clients:
            one.result()

    assert len(answers) > CLIENTS and {answer.status_code for answer in answers} <= {200, 503}
    assert all(answer.json()["documents"] == expected for answer in answers if answer.status_code == 200)
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 503)
    after = wait_for_two(url)
    assert min(before) not in after  # another one took its place
    print(f"{len(answers)} requests, {sum(answer.status_code == 503 for answer in answers)} told to come again")  # noqa: T201 - for pytest -s


def test_a_request_that_is_wrong_is_refused_with_the_reason(url: str) -> None:
    assert httpx.post(url, content=b"{").status_code == 400
    answer = httpx.post(url, json={**BODY, "query": ""}, timeout=120)
    assert answer.status_code == 400 and "query" in answer.json()["error"]
