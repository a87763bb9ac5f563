"""Measure a server under load: errors, refusals, times, and what bad requests do.

    python -m benchmarks.server [--reader NAME] [--codec NAME] [--clients N] [--seconds S] [--url URL --api-key KEY]

Starts `zprompt serve` in a process of its own, unless --url names a server that runs. Writes server.json and server.md
to benchmarks/results, and prints the table. Ends with exit code 1 if there was an error other than 429, or if a bad
request was not refused as it should be. Timings need an idle machine; server and clients share it.
"""

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.documents import WIKIPEDIA, natural_documents
from benchmarks.plan import Plan
from benchmarks.record import RESULTS, RunRecord, write_json
from benchmarks.tasks.server import Load, ServerLoad, Target, Times, measure
from zprompt.eval import number, percent, table

PROGRAM = [sys.executable, "-c", "from zprompt.cli.main import app; app()"]
MAX_REQUEST_BYTES = 1 << 20
QUESTION = "What is the passage about? Answer in one sentence."
PASSAGE_WORDS = 120  # of each passage
MINUTE = 60.0
FULL = Load()


@contextmanager
def started(reader: str, codec: str | None, queue: int) -> Iterator[Target]:
    """Start a server, and stop it in the end.

    :param reader: The reader.
    :param codec: Its codec; None: the one it is shipped with.
    :param queue: Requests that may wait.
    :yields: The server.
    """
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
        # Passed on, so that it neither is lost nor fills the pipe, at which the server would stop.
        threading.Thread(target=shutil.copyfileobj, args=(program.stderr, sys.stderr), daemon=True).start()
        try:
            yield Target(url, "zprompt", key, MAX_REQUEST_BYTES)
        finally:
            program.send_signal(signal.SIGTERM)


def gather(target: Target, passages: int) -> tuple[list[str], str]:
    """Make prompts: half with the passage as a Z-span, half with it as text.

    :param target: The server, which compresses.
    :param passages: How many, at most.
    :return: The prompts, and one of the Z-spans.
    """
    wikipedia = WIKIPEDIA if WIKIPEDIA.is_file() else None
    documents = natural_documents(wikipedia, Plan(articles=passages, passage_tokens=PASSAGE_WORDS), _words)
    texts = [" ".join(document.text.split()[:PASSAGE_WORDS]) for document in documents]
    headers = {"Authorization": f"Bearer {target.key}"}
    answer = httpx.post(f"{target.url}/v1/compress", json={"input": texts}, headers=headers, timeout=10 * MINUTE)
    answer.raise_for_status()
    spans: list[str] = answer.json()["output"]
    shown = [span if index % 2 else text for index, (text, span) in enumerate(zip(texts, spans, strict=True))]
    return [f"Passage: {passage}\n\n{QUESTION}" for passage in shown], spans[0]


def report(record: RunRecord, result: ServerLoad) -> str:
    """Write the report.

    :param record: How the benchmark ran.
    :param result: What was found.
    :return: Markdown.
    """
    rows = [
        ("clients", str(result.clients)),
        ("duration", f"{result.seconds:.0f} s"),
        ("answered", f"{result.answered:,}"),
        ("refused with 429", f"{result.refused:,}{'' if result.honest else ', some without Retry-After'}"),
        ("errors", f"{result.errors:,}"),
        ("answers per second", number(result.answers_per_second, 2)),
        ("tokens written per second", number(result.tokens_per_second, 1)),
        ("texts written together, mean", number(result.mean_batch, 1)),
        *_times("whole answer", result.whole),
        *_times("first text of a stream", result.first_piece),
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
    lines = [
        "# The server under load",
        "",
        f"`{record.command}` at commit {record.commit}, {record.started}. Machine: {record.machine}, {record.cores} "
        f"cores, load average {record.load_average:.1f}; the clients run on it, too. Answers of up to "
        f"{result.max_tokens} tokens to {result.prompts} prompts, half of them with the passage as a Z-span.",
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", default="default", help="a shipped reader, or a reader's folder")
    parser.add_argument("--codec", help="its codec, if it is not the one it is shipped with")
    parser.add_argument("--queue", type=int, default=64, help="requests that may wait")
    parser.add_argument("--url", help="a server that runs, without /v1; it must have the default --max-request-bytes")
    parser.add_argument("--api-key", default="", help="the key of that server")
    parser.add_argument("--model", default="zprompt", help="the name of that server's model")
    parser.add_argument("--clients", type=int, default=FULL.clients)
    parser.add_argument("--seconds", type=float, default=FULL.seconds)
    parser.add_argument("--max-tokens", type=int, default=FULL.max_tokens, help="of an answer")
    parser.add_argument("--passages", type=int, default=16, help="different prompts")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    return parser.parse_args()


def run(target: Target, options: argparse.Namespace) -> ServerLoad:
    """Ask a server.

    :param target: The server.
    :param options: The command line.
    :return: What was found.
    """
    prompts, span = gather(target, options.passages)
    return measure(target, prompts, span, Load(options.clients, options.seconds, options.max_tokens))


def main() -> None:
    """Measure, write and print."""
    options, began = parse(), time.time()
    if options.url:
        result = run(Target(options.url, options.model, options.api_key, MAX_REQUEST_BYTES), options)
    else:
        with started(options.reader, options.codec, options.queue) as target:
            result = run(target, options)
    record = RunRecord.take(0, began)
    write_json(options.out / "server.json", {"run": record, "results": result})
    text = report(record, result)
    (options.out / "server.md").write_text(text, "utf-8")
    print(text)
    if result.errors or not result.honest or not result.unchanged or not all(bad.right for bad in result.bad_requests):
        print("\n".join(result.error_messages), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
