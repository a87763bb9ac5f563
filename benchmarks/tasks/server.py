"""Ask a server as many clients would, and see what it does: answers, honest refusals, errors, times.

    load           N clients, each of which asks again as soon as it has its answer; one that gets 429 waits as long as
                   Retry-After says. Every third request streams. All answers are greedy, so they can be compared
    bad requests   wrong key, damaged span, oversized, malformed JSON and others, before the load and in the middle of
                   it: each must get its status, and a prompt must be answered in the same way before and after

Times are taken at the client: from sending a request to its last byte, and for streams also to the first text. An
answer under load is compared with the one from before it: texts of a batch may differ from a text alone by rounding
where two tokens are equally likely, so a few may differ, and the share is reported.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import openai

_LONG_ENOUGH = 3600.0  # seconds: the server is to say when it takes too long, not the client


@dataclass(frozen=True, slots=True)
class Target:
    """A server."""

    url: str  # without /v1
    model: str
    key: str  # of its API
    max_request_bytes: int


@dataclass(frozen=True, slots=True)
class Load:
    """What to ask of it."""

    clients: int = 32
    seconds: float = 120.0  # after these, no new request is sent; those that run are waited for
    max_tokens: int = 32  # of an answer


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds, over all requests of a kind."""

    count: int
    median: float
    p95: float
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times | None":
        """Sum up times.

        :param seconds: The times.
        :return: The summary; None of nothing.
        """
        if not seconds:
            return None
        median, p95 = np.percentile(seconds, [50, 95])
        return cls(len(seconds), float(median), float(p95), max(seconds))


@dataclass(frozen=True, slots=True)
class BadRequest:
    """What became of a request that is not allowed."""

    name: str
    expected: int  # status
    idle: int  # status that came while there was no load
    under_load: int | None  # and while there was; None: it was not tried
    in_form: bool  # the errors had OpenAI's form

    @property
    def right(self) -> bool:
        """Say whether it was refused as it should be.

        :return: True if all statuses are right.
        """
        return self.in_form and self.idle == self.expected and self.under_load in (self.expected, None)


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What a server did."""

    clients: int
    seconds: float  # from the first request to the last answer
    max_tokens: int
    prompts: int  # different ones
    answered: int
    refused: int  # 429
    errors: int  # anything else
    error_messages: tuple[str, ...]  # the first few
    honest: bool  # every 429 said when to come back
    whole: Times | None
    first_piece: Times | None  # of streams
    answers_per_second: float
    tokens_per_second: float  # generated
    mean_batch: float | None  # texts that were written together
    same: float | None  # share of the answers under load that equal those without
    bad_requests: tuple[BadRequest, ...]
    unchanged: bool  # bad requests wrote nothing, left nothing in the queue and changed no answer


@dataclass
class _Tally:
    """What the clients count together."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    tokens: int = 0
    refused: int = 0
    honest: bool = True
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one request gave."""

    text: str
    tokens: int
    first: float | None  # seconds until the first text of a stream


def measure(target: Target, prompts: Sequence[str], span: str, load: Load) -> ServerLoad:
    """Ask, and sum up.

    :param target: The server.
    :param prompts: What to ask; Z-spans in them are welcome.
    :param span: A Z-span of the server's codec, to be damaged.
    :param load: How much to ask.
    :return: What was found.
    """
    with httpx.Client(base_url=target.url, timeout=_LONG_ENOUGH) as http, _client(target) as client:
        expected = [_ask(client, target, prompt, load, stream=False).text for prompt in prompts]
        written = _figure(http, "zprompt_generated_tokens_total")
        idle = _try_bad_requests(http, target, span)
        unchanged = written == _figure(http, "zprompt_generated_tokens_total")

        batches, texts = _figure(http, "zprompt_batch_size_count"), _figure(http, "zprompt_batch_size_sum")
        tally, took, under_load = _run(target, prompts, expected, span, load)
        batches = _figure(http, "zprompt_batch_size_count") - batches
        texts = _figure(http, "zprompt_batch_size_sum") - texts

        again = [_ask(client, target, prompt, load, stream=False).text for prompt in prompts]
        unchanged &= again == expected and _figure(http, "zprompt_waiting") == 0
    return ServerLoad(
        clients=load.clients,
        seconds=took,
        max_tokens=load.max_tokens,
        prompts=len(prompts),
        answered=len(tally.whole),
        refused=tally.refused,
        errors=tally.errors.total(),
        error_messages=tuple(message for message, _ in tally.errors.most_common(5)),
        honest=tally.honest,
        whole=Times.of(tally.whole),
        first_piece=Times.of(tally.first),
        answers_per_second=len(tally.whole) / took,
        tokens_per_second=tally.tokens / took,
        mean_batch=texts / batches if batches else None,
        same=sum(tally.same) / len(tally.same) if tally.same else None,
        bad_requests=tuple(_bad_requests(idle, under_load)),
        unchanged=unchanged,
    )


def _run(
    target: Target, prompts: Sequence[str], expected: Sequence[str], span: str, load: Load
) -> tuple[_Tally, float, dict[str, tuple[int, int, bool]]]:
    """Let all clients ask until the time is over, and one send bad requests half-way."""
    tally = _Tally()
    turns = itertools.count()
    began = time.perf_counter()
    end = began + load.seconds

    def work() -> None:
        with _client(target) as client:
            while time.perf_counter() < end:
                turn = next(turns)
                _try(client, target, prompts, expected, turn, load, tally, end)

    def disturb() -> dict[str, tuple[int, int, bool]]:
        time.sleep(load.seconds / 2)
        with httpx.Client(base_url=target.url, timeout=_LONG_ENOUGH) as http:
            return _try_bad_requests(http, target, span)

    with ThreadPoolExecutor(load.clients + 1) as pool:
        disturbing = pool.submit(disturb)
        for working in [pool.submit(work) for _ in range(load.clients)]:
            working.result()
        return tally, time.perf_counter() - began, disturbing.result()


def _try(
    client: openai.OpenAI,
    target: Target,
    prompts: Sequence[str],
    expected: Sequence[str],
    turn: int,
    load: Load,
    tally: _Tally,
    end: float,
) -> None:
    """Ask once, and count what comes."""
    which, began = turn % len(prompts), time.perf_counter()
    try:
        answer = _ask(client, target, prompts[which], load, stream=turn % 3 == 0)
    except openai.RateLimitError as error:
        wait = error.response.headers.get("Retry-After", "")
        with tally.lock:
            tally.refused += 1
            tally.honest &= wait.isdecimal()
        time.sleep(max(0.0, min(float(wait) if wait.isdecimal() else 1.0, end - time.perf_counter())))
    except (openai.APIError, httpx.HTTPError) as error:
        with tally.lock:
            tally.errors[f"{type(error).__name__}: {error}"] += 1
    else:
        with tally.lock:
            tally.whole.append(time.perf_counter() - began)
            tally.tokens += answer.tokens
            tally.same.append(answer.text == expected[which])
            if answer.first is not None:
                tally.first.append(answer.first)


def _ask(client: openai.OpenAI, target: Target, prompt: str, load: Load, stream: bool) -> _Answer:
    """Ask for one answer."""
    messages: Any = [{"role": "user", "content": prompt}]
    if not stream:
        done = client.chat.completions.create(model=target.model, messages=messages, max_tokens=load.max_tokens)
        return _Answer(done.choices[0].message.content or "", done.usage.completion_tokens if done.usage else 0, None)
    began, first, text, tokens = time.perf_counter(), None, "", 0
    options: Any = {"include_usage": True}
    for chunk in client.chat.completions.create(
        model=target.model, messages=messages, max_tokens=load.max_tokens, stream=True, stream_options=options
    ):
        piece = chunk.choices[0].delta.content if chunk.choices else None
        if piece and first is None:
            first = time.perf_counter() - began
        text += piece or ""
        tokens = chunk.usage.completion_tokens if chunk.usage else tokens
    return _Answer(text, tokens, first)


def _client(target: Target) -> openai.OpenAI:
    """Make a client that does not ask again by itself: refusals are to be counted."""
    return openai.OpenAI(base_url=f"{target.url}/v1", api_key=target.key or "none", max_retries=0, timeout=_LONG_ENOUGH)


def _try_bad_requests(http: httpx.Client, target: Target, span: str) -> dict[str, tuple[int, int, bool]]:
    """Send what must be refused; give the statuses that should come and that came, and whether the form was right."""
    found = {}
    for name, (expected, send) in _bad(http, target, span).items():
        answer = send()
        try:
            in_form = set(answer.json()["error"]) == {"message", "type", "param", "code"}
        except (ValueError, KeyError, TypeError):
            in_form = False
        found[name] = (expected, answer.status_code, in_form)
    return found


def _bad(http: httpx.Client, target: Target, span: str) -> dict[str, tuple[int, Callable[[], httpx.Response]]]:
    """List what must be refused."""
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    forged = span[:-2] + ("0" if span[-2] != "0" else "1") + "]"

    def post(content: Any, **changed: str) -> Callable[[], httpx.Response]:  # noqa: ANN401 - JSON, or bytes
        body = {"content": content} if isinstance(content, bytes) else {"json": content}
        return lambda: http.post("/v1/chat/completions", headers={**headers, **changed}, **body)

    def chat(content: str, **changed: object) -> dict[str, Any]:
        return {"model": target.model, "messages": [{"role": "user", "content": content}], **changed}

    refused = {
        "malformed JSON": (400, post(b'{"model": ')),
        "no JSON object": (400, post([])),
        "damaged Z-span": (400, post(chat(span[: len(span) // 2]))),
        "forged Z-span": (400, post(chat(forged))),
        "Z-span of another codec": (400, post(chat("[z1:000000000000:0::00000000]"))),
        "more than the context": (400, post(chat("Hi.", max_tokens=10_000_000))),
        "unsupported field": (400, post(chat("Hi.", n=2))),
        "value out of range": (400, post(chat("Hi.", temperature=-1))),
        "unknown model": (404, post(chat("Hi.", model="unknown"))),
        "unknown path": (404, lambda: http.get("/v1/unknown", headers=headers)),
        "oversized": (413, post(b" " * (target.max_request_bytes + 1))),
    }
    if target.key:
        refused["wrong key"] = (401, post(chat("Hi."), Authorization="Bearer wrong"))
    return refused


def _bad_requests(
    idle: dict[str, tuple[int, int, bool]], under_load: dict[str, tuple[int, int, bool]]
) -> list[BadRequest]:
    found = []
    for name, (expected, status, in_form) in idle.items():
        _, loaded, loaded_in_form = under_load[name]
        # A full queue refuses before it looks: that is as right.
        found.append(BadRequest(name, expected, status, None if loaded == 429 else loaded, in_form and loaded_in_form))
    return found


def _figure(http: httpx.Client, name: str) -> float:
    """Read one of the server's own figures."""
    rows = (row.rsplit(" ", 1) for row in http.get("/metrics").text.splitlines() if not row.startswith("#"))
    return next((float(value) for row, value in rows if row == name), 0.0)
