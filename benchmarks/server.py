"""Measure a server under load: errors, refusals, times, and what bad requests do.

    python -m benchmarks.server [--mixed] [--reader NAME] [--codec NAME] [--clients N] [--seconds S] [--url URL …]

    load           N clients, each of which asks again as soon as it has its answer; after a 429 it waits as long as
                   Retry-After says. Every third request streams. All answers are greedy, so they can be compared.
                   With --mixed, questions are short, clients begin one after the other, and each has a new passage
                   compressed between two questions
    bad requests   wrong key, damaged span, oversized, malformed JSON and others, before the load and in the middle of
                   it: each must get its status, and prompts must get the same answers before and after

Times are taken at the client: from sending a request to its last byte, and for streams also to the first text. Each
answer under load is compared with the one before the load: where two tokens are equally likely, rounding in a batch may
choose the other one, so a few may differ, and the share is reported.

Starts `zprompt serve` in its own process, unless --url names a running server. Writes server.json and server.md, or
with --mixed server-mixed.json and server-mixed.md, to benchmarks/results, and prints the table. Ends with exit code 1
if there was an error other than 429, or if a bad request was not refused as it should be. Timings need an idle
machine; server and clients share it.
"""

import argparse
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai

from benchmarks.common import RESULTS, describe_run, natural_documents, wikipedia_file
from zprompt.eval import RunRecord, number, percent, table, write_json
from zprompt.zspan import FINGERPRINT_DIGITS, ZSpan, ZToken, format_span, text_digest

OTHER_CODECS = ZSpan("0" * FINGERPRINT_DIGITS, (ZToken(0, 0),), (), False, text_digest(""))
PROGRAM = [sys.executable, "-c", "from zprompt.cli.main import app; app()"]
MAX_REQUEST_BYTES = 1 << 20
QUESTION = "What is the passage about? Answer in one sentence."
SHORT = ("Hello!", "What is 2 + 2?", "Name a colour.", "Who are you?", "Say something nice.", "Is the sea deep?")
PASSAGE_WORDS = 120  # of each passage
MINUTE = 60.0
RAMP = 0.25  # share of the time over which mixed clients begin, one after the other: all at once would only queue
LONG_ENOUGH = 3600.0  # seconds: the server decides when an answer takes too long, not the client


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
    compressed: tuple[str, ...] = ()  # passages of which clients have one compressed after each answer


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds, over all requests of a kind."""

    count: int
    median: float
    p95: float
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Times | None":
        """Summarise times; return None if there are none."""
        if not seconds:
            return None
        median, p95 = np.percentile(seconds, [50, 95])
        return cls(len(seconds), float(median), float(p95), max(seconds))


@dataclass(frozen=True, slots=True)
class BadRequest:
    """The statuses that a bad request got."""

    name: str
    expected: int  # status
    idle: int  # status without load
    under_load: int | None  # status under load; None: the queue was full
    in_form: bool  # the errors had OpenAI's form

    @property
    def right(self) -> bool:
        """Return whether all statuses are right."""
        return self.in_form and self.idle == self.expected and self.under_load in (self.expected, None)


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """The results of a server under load."""

    clients: int
    seconds: float  # from the first request to the last answer
    max_tokens: int
    prompts: int  # different ones
    answered: int
    refused: int  # 429
    errors: int  # anything else
    error_messages: tuple[str, ...]  # the first few
    honest: bool  # every 429 said when to come back
    idle: Times | None  # of whole answers, one at a time, before the load
    whole: Times | None
    first_piece: Times | None  # of streams
    compression: Times | None  # of passages
    answers_per_second: float
    tokens_per_second: float  # generated
    mean_batch: float | None  # texts that were written together
    same: float | None  # share of the answers under load that equal those without
    bad_requests: tuple[BadRequest, ...]
    unchanged: bool  # bad requests wrote nothing, left nothing in the queue and changed no answer


@dataclass
class _Tally:
    """The counts of all clients."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    compression: list[float] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    tokens: int = 0
    refused: int = 0
    honest: bool = True
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer to one request."""

    text: str
    tokens: int
    first: float | None  # seconds until the first text of a stream


def measure(target: Target, prompts: Sequence[str], span: str, load: Load) -> ServerLoad:
    """Ask a server, before and under load.

    :param target: The server.
    :param prompts: What to ask; they may have Z-spans.
    :param span: A Z-span of the server's codec, to be damaged.
    :param load: How much to ask.
    :return: The findings.
    """
    with httpx.Client(base_url=target.url, timeout=LONG_ENOUGH) as http, _client(target) as client:
        expected, idle_seconds = [], []
        for prompt in prompts:
            began = time.perf_counter()
            expected.append(_ask(client, target, prompt, load, stream=False).text)
            idle_seconds.append(time.perf_counter() - began)
        written = _figure(http, "zprompt_generated_tokens_total")
        idle = _try_bad_requests(http, target, span)
        unchanged = written == _figure(http, "zprompt_generated_tokens_total")

        batches, texts = _figure(http, "zprompt_batch_size_count"), _figure(http, "zprompt_batch_size_sum")
        tally, seconds, under_load = _run_load(client, target, prompts, expected, span, load)
        batches = _figure(http, "zprompt_batch_size_count") - batches
        texts = _figure(http, "zprompt_batch_size_sum") - texts

        again = [_ask(client, target, prompt, load, stream=False).text for prompt in prompts]
        unchanged &= again == expected and _figure(http, 'zprompt_waiting{queue="texts"}') == 0
    return ServerLoad(
        clients=load.clients,
        seconds=seconds,
        max_tokens=load.max_tokens,
        prompts=len(prompts),
        answered=len(tally.whole),
        refused=tally.refused,
        errors=tally.errors.total(),
        error_messages=tuple(message for message, _ in tally.errors.most_common(5)),
        honest=tally.honest,
        idle=Times.of(idle_seconds),
        whole=Times.of(tally.whole),
        first_piece=Times.of(tally.first),
        compression=Times.of(tally.compression),
        answers_per_second=len(tally.whole) / seconds,
        tokens_per_second=tally.tokens / seconds,
        mean_batch=texts / batches if batches else None,
        same=sum(tally.same) / len(tally.same) if tally.same else None,
        bad_requests=tuple(_bad_requests(idle, under_load)),
        unchanged=unchanged,
    )


def _run_load(
    client: openai.OpenAI,
    target: Target,
    prompts: Sequence[str],
    expected: Sequence[str],
    span: str,
    load: Load,
) -> tuple[_Tally, float, dict[str, tuple[int, int, bool]]]:
    """Let all clients ask until the time is up, and send bad requests halfway through."""
    tally = _Tally()
    turns = itertools.count()
    salt = secrets.token_hex(4)  # so that the codec's cache has no text of an earlier run
    began = time.perf_counter()
    end = began + load.seconds

    def work(client_number: int) -> None:
        if load.compressed:
            time.sleep(load.seconds * RAMP * client_number / load.clients)
        while time.perf_counter() < end:
            turn = next(turns)
            _ask_once(client, target, prompts, expected, turn, load, tally, end)
            if load.compressed:
                _compress_once(target, f"{salt} {turn}. {load.compressed[turn % len(load.compressed)]}", tally)

    def disturb() -> dict[str, tuple[int, int, bool]]:
        time.sleep(load.seconds / 2)
        with httpx.Client(base_url=target.url, timeout=LONG_ENOUGH) as http:
            return _try_bad_requests(http, target, span)

    with ThreadPoolExecutor(load.clients + 1) as pool:
        disturbance = pool.submit(disturb)
        for client_run in [pool.submit(work, number) for number in range(load.clients)]:
            client_run.result()
        return tally, time.perf_counter() - began, disturbance.result()


def _ask_once(
    client: openai.OpenAI,
    target: Target,
    prompts: Sequence[str],
    expected: Sequence[str],
    turn: int,
    load: Load,
    tally: _Tally,
    end: float,
) -> None:
    """Ask once, and count the result."""
    index, began = turn % len(prompts), time.perf_counter()
    try:
        answer = _ask(client, target, prompts[index], load, stream=turn % 3 == 0)
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
            tally.same.append(answer.text == expected[index])
            if answer.first is not None:
                tally.first.append(answer.first)


def _compress_once(target: Target, text: str, tally: _Tally) -> None:
    """Have a text compressed, and count it."""
    began, headers = time.perf_counter(), {"Authorization": f"Bearer {target.key}"}
    try:
        answer = httpx.post(f"{target.url}/v1/compress", json={"input": text}, headers=headers, timeout=LONG_ENOUGH)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        with tally.lock:
            tally.errors[f"compression: {type(error).__name__}: {error}"] += 1
    else:
        with tally.lock:
            tally.compression.append(time.perf_counter() - began)


def _ask(client: openai.OpenAI, target: Target, prompt: str, load: Load, stream: bool) -> _Answer:
    """Ask for one answer."""
    messages: Any = [{"role": "user", "content": prompt}]
    if not stream:
        reply = client.chat.completions.create(model=target.model, messages=messages, max_tokens=load.max_tokens)
        tokens = reply.usage.completion_tokens if reply.usage else 0
        return _Answer(reply.choices[0].message.content or "", tokens, None)
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
    """Return a client that does not retry: refusals are to be counted."""
    return openai.OpenAI(base_url=f"{target.url}/v1", api_key=target.key or "none", max_retries=0, timeout=LONG_ENOUGH)


def _try_bad_requests(http: httpx.Client, target: Target, span: str) -> dict[str, tuple[int, int, bool]]:
    """Send bad requests; return the status expected, the status received, and whether the error had OpenAI's form."""
    statuses = {}
    for name, (expected, send) in _bad(http, target, span).items():
        answer = send()
        try:
            in_form = set(answer.json()["error"]) == {"message", "type", "param", "code"}
        except (ValueError, KeyError, TypeError):
            in_form = False
        statuses[name] = (expected, answer.status_code, in_form)
    return statuses


def _bad(http: httpx.Client, target: Target, span: str) -> dict[str, tuple[int, Callable[[], httpx.Response]]]:
    """Return the bad requests by name, each with its expected status."""
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
        "Z-span of another codec": (400, post(chat(format_span(OTHER_CODECS)))),
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
    requests = []
    for name, (expected, status, in_form) in idle.items():
        _, loaded, loaded_in_form = under_load[name]
        # A full queue refuses before it reads the request: that is right, too.
        loaded_status = None if loaded == 429 else loaded
        requests.append(BadRequest(name, expected, status, loaded_status, in_form and loaded_in_form))
    return requests


def _figure(http: httpx.Client, name: str) -> float:
    """Read one of the server's own figures."""
    rows = (row.rsplit(" ", 1) for row in http.get("/metrics").text.splitlines() if not row.startswith("#"))
    return next((float(value) for row, value in rows if row == name), 0.0)


# The server, the report and the command.


@contextmanager
def started(reader: str, codec: str | None, queue: int) -> Iterator[Target]:
    """Start a server with a reader, codec (None for the reader's own) and queue length, and stop it afterwards."""
    key = secrets.token_hex(16)
    command = [*PROGRAM, "serve", "--port", "0", "--reader", reader, "--queue", str(queue)]
    command += ["--max-request-bytes", str(MAX_REQUEST_BYTES), *(["--codec", codec] if codec else [])]
    environment = {**os.environ, "ZPROMPT_API_KEY": key}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as program:
        assert program.stderr
        lines = []
        for line in program.stderr:
            lines.append(line)
            if " is at " in line:
                break
        else:
            sys.exit("".join(lines))
        url = line.split(" is at ")[1].strip().removesuffix("/v1")
        # Passed on, so that nothing is lost and the pipe does not fill up, which would block the server.
        threading.Thread(target=shutil.copyfileobj, args=(program.stderr, sys.stderr), daemon=True).start()
        try:
            yield Target(url, "zprompt", key, MAX_REQUEST_BYTES)
        finally:
            program.send_signal(signal.SIGTERM)


def gather(target: Target, passages: int) -> tuple[list[str], str]:
    """Return prompts, half with the passage as a Z-span and half with it as text, and one of the Z-spans."""
    documents = natural_documents(wikipedia_file(), passages, PASSAGE_WORDS, 0, _words)
    texts = [" ".join(document.text.split()[:PASSAGE_WORDS]) for document in documents]
    headers = {"Authorization": f"Bearer {target.key}"}
    answer = httpx.post(f"{target.url}/v1/compress", json={"input": texts}, headers=headers, timeout=10 * MINUTE)
    answer.raise_for_status()
    spans: list[str] = answer.json()["output"]
    contents = [span if index % 2 else text for index, (text, span) in enumerate(zip(texts, spans, strict=True))]
    return [f"Passage: {passage}\n\n{QUESTION}" for passage in contents], spans[0]


def report(record: RunRecord, result: ServerLoad) -> str:
    """Write the report as Markdown."""
    rows = [
        ("clients", str(result.clients)),
        ("duration", f"{result.seconds:.0f} s"),
        ("answered", f"{result.answered:,}"),
        ("refused with 429", f"{result.refused:,}{'' if result.honest else ', some without Retry-After'}"),
        ("errors", f"{result.errors:,}"),
        ("answers per second", number(result.answers_per_second, 2)),
        ("tokens written per second", number(result.tokens_per_second, 1)),
        ("texts written together, mean", number(result.mean_batch, 1)),
        *_times("whole answer, one at a time before the load", result.idle),
        *_times("whole answer", result.whole),
        *_times("first text of a stream", result.first_piece),
        *_times("compression of a passage", result.compression),
        ("answers as without load", percent(result.same)),
        ("unchanged by bad requests", "yes" if result.unchanged else "**no**"),
    ]
    bad = [
        (
            request.name,
            str(request.expected),
            str(request.idle),
            "429" if request.under_load is None else str(request.under_load),
            "yes" if request.right else "**no**",
        )
        for request in result.bad_requests
    ]
    about = (
        "short prompts; after each, its client has a passage compressed"
        if result.compression
        else "prompts, half of them with the passage as a Z-span"
    )
    lines = [
        "# The server under load",
        "",
        f"{describe_run(record)} The clients run on the same machine. Answers of up to "
        f"{result.max_tokens} tokens to {result.prompts} {about}.",
        "",
        *table(("", "measured"), rows),
        "",
        *table(("bad request", "status it must get", "idle", "under load", "right"), bad),
    ]
    return "\n".join(lines) + "\n"


def _times(name: str, times: Times | None) -> list[tuple[str, str]]:
    if times is None:
        return []
    return [
        (f"{name}, p50", f"{times.median:.2f} s"),
        (f"{name}, p95", f"{times.p95:.2f} s"),
        (f"{name}, longest", f"{times.longest:.2f} s"),
    ]


def _words(text: str) -> int:
    return len(text.split())


def parse() -> argparse.Namespace:
    """Read the command line."""
    default = Load()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", default="default", help="a shipped reader, or a reader's folder")
    parser.add_argument("--codec", help="its codec, if it is not the one it is shipped with")
    parser.add_argument("--queue", type=int, default=64, help="requests that may wait")
    parser.add_argument("--url", help="a server that runs, without /v1; it must have the default --max-request-bytes")
    parser.add_argument("--api-key", default="", help="the key of that server")
    parser.add_argument("--model", default="zprompt", help="the name of that server's model")
    parser.add_argument("--clients", type=int, default=default.clients)
    parser.add_argument("--seconds", type=float, default=default.seconds)
    parser.add_argument("--max-tokens", type=int, default=default.max_tokens, help="of an answer")
    parser.add_argument("--mixed", action="store_true", help="clients have passages compressed, too")
    parser.add_argument("--passages", type=int, default=16, help="different prompts")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    return parser.parse_args()


def run(target: Target, options: argparse.Namespace) -> ServerLoad:
    """Measure a server by the command line's options."""
    prompts, span = gather(target, options.passages)
    compressed = tuple(prompts) if options.mixed else ()
    load = Load(options.clients, options.seconds, options.max_tokens, compressed)
    return measure(target, SHORT if options.mixed else prompts, span, load)


def main() -> None:
    """Measure, write and print."""
    options, began = parse(), time.time()
    if options.url:
        result = run(Target(options.url, options.model, options.api_key, MAX_REQUEST_BYTES), options)
    else:
        with started(options.reader, options.codec, options.queue) as target:
            result = run(target, options)
    record = RunRecord.take(0, began)
    name = "server-mixed" if options.mixed else "server"
    write_json(options.out / f"{name}.json", {"run": record, "results": result})
    text = report(record, result)
    (options.out / f"{name}.md").write_text(text, "utf-8")
    print(text)
    if result.errors or not result.honest or not result.unchanged or not all(bad.right for bad in result.bad_requests):
        print("\n".join(result.error_messages), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
