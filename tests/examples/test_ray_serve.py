"""Behind Ray Serve, a replica may die under load: every request is answered, or told to try again."""

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

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    ray.init(num_cpus=2, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(app)
    yield f"http://127.0.0.1:{port}/"
    serve.shutdown()
    ray.shutdown()


def ask(url: str) -> Any:  # noqa: ANN401 - httpx may not be installed
    return httpx.post(url, json=BODY, timeout=120)


def replicas(url: str) -> set[int]:
    """Return the ids of the processes that answer 8 simultaneous requests."""
    with ThreadPoolExecutor(8) as pool:
        return {answer.json()["process"] for answer in pool.map(ask, [url] * 8) if answer.status_code == 200}


def wait_for_two(url: str) -> set[int]:
    end = time.monotonic() + 120
    while len(processes := replicas(url)) < 2:
        assert time.monotonic() < end
    return processes


def test_every_request_is_answered_or_told_to_try_again_though_a_replica_is_killed(url: str) -> None:
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
        for future in clients:
            future.result()

    assert len(answers) > CLIENTS and {answer.status_code for answer in answers} <= {200, 503}
    assert all(answer.json()["documents"] == expected for answer in answers if answer.status_code == 200)
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 503)
    after = wait_for_two(url)
    assert min(before) not in after  # a new replica took its place
    print(f"{len(answers)} requests, {sum(answer.status_code == 503 for answer in answers)} told to try again")  # noqa: T201 - for pytest -s


def test_a_wrong_request_is_refused_with_the_reason(url: str) -> None:
    assert httpx.post(url, content=b"{").status_code == 400
    answer = httpx.post(url, json={**BODY, "query": ""}, timeout=120)
    assert answer.status_code == 400 and "query" in answer.json()["error"]
