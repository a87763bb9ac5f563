"""Measure throughput, memory and start-up time, compared with the bare LLM.

    compression     against a forward pass over the same tokens in the same batch, without and with its LM head: texts
                    of 500 tokens, which is nearly a window, and passages as they are, which a forward pass pads to the
                    longest. Outside the LLM: share of the time of a call in which neither it nor its LM head runs
    short text      in forward passes of its 20 tokens
    decompression   against the LLM's own greedy generation of as many tokens at the same batch size, by transformers'
                    `generate` and by the plainest loop over zprompt's own faster decoder
    memory          peak resident memory of a process: Python, torch, the weights and one job; "load only" has no job.
                    Each job has its own process, since memory once touched is not given back

The ways that are compared are run in turn, round after round, so that a slower machine slows all of them; figures are
medians, in brackets the slowest and the fastest round, and a ratio is the median of the rounds' ratios.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import zprompt
from benchmarks.common import Document, Range, Row, Tables, compress, figures
from zprompt import Codec
from zprompt.eval import peak_megabytes
from zprompt.llm import Backbone

QUERY = "When was it first built, and who lived there?"
OPTIONS: dict[str, dict[str, object]] = {
    "compress": {},
    "compress, ratio 4": {"ratio": 4},
    "compress, query": {"query": QUERY},
    "compress, ratio 4, query": {"ratio": 4, "query": QUERY},
}
FORWARD, HEAD = "forward pass", "forward pass with LM head"
START = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
JOBS = ("load only", "forward pass", "compress", "generate", "decompress")


@dataclass(frozen=True, slots=True)
class SpeedPlan:
    """How much is timed."""

    windows: int = 4  # texts of `window_tokens` tokens that compression is timed on, in one batch
    window_tokens: int = 500
    passages: int = 8  # passages of about `passage_tokens` tokens, in one batch
    passage_tokens: tuple[int, int] = (100, 350)
    short_tokens: int = 20
    step_tokens: int = 64  # length of the texts that decompression is timed on
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    rounds: int = 5
    starts: int = 3  # processes that `import zprompt` and `zprompt.load` are timed in


def measure(codec: Codec, documents: Sequence[Document], plan: SpeedPlan) -> Tables:
    """Measure throughput, memory and start-up on passages and on pieces of them all."""
    prose = "\n\n".join(document.text for document in documents)
    windows = cut(codec, prose, plan.windows, plan.window_tokens)
    low, high = plan.passage_tokens
    texts = [document.text for document in documents]
    passages = [text for text in texts if low <= len(codec.backbone.encode(text)) <= high][: plan.passages]
    load = f"import zprompt; zprompt.load({codec.name!r}, device='cpu')"
    return {
        "compression": [
            *_compression(codec, f"{len(windows)} of {plan.window_tokens} tokens", windows, plan.rounds),
            *(_compression(codec, f"{len(passages)} passages", passages, plan.rounds) if passages else ()),
        ],
        "short text": [_short_text(codec, cut(codec, prose, 1, plan.short_tokens)[0], plan.rounds)],
        "decompression": [row for batch in plan.batch_sizes for row in _decompression(codec, prose, batch, plan)],
        "memory": list(_memory(codec, windows, cut(codec, prose, plan.windows, plan.step_tokens))),
        "starts": [_start("import zprompt", plan.starts), _start(load, plan.starts)],
    }


# Throughput.


def _compression(codec: Codec, name: str, texts: Sequence[str], rounds: int) -> Iterator[Row]:
    ids = [codec.backbone.encode(text) for text in texts]
    padded = pad_sequence([torch.tensor(row) for row in ids], batch_first=True)
    ways: dict[str, Callable[[], object]] = {
        way: partial(compress, codec, list(texts), batch_size=len(texts), **options) for way, options in OPTIONS.items()
    }
    ways[FORWARD] = lambda: codec.backbone.hidden(padded)
    ways[HEAD] = lambda: forward_with_head(codec, padded)
    seconds = _time(ways, rounds)
    tokens = sum(map(len, ids))
    for way, times in seconds.items():
        yield {
            "texts": name,
            "way": way,
            **_rate(tokens, times),
            "of a forward pass": _quotients(seconds[FORWARD], times),
            "of one with LM head": _quotients(seconds[HEAD], times),
            "outside the LLM": Range.of_rounds(outside_llm(ways[way]) for _ in times) if way in OPTIONS else None,
        }


def _quotients(above: Sequence[float], below: Sequence[float]) -> Range:
    return Range.of_rounds(a / b for a, b in zip(above, below, strict=True))


def _short_text(codec: Codec, text: str, rounds: int) -> Row:
    ids = codec.backbone.encode(text)
    row = torch.tensor([ids])
    seconds = _time({"compress": lambda: codec.compress(text), FORWARD: lambda: codec.backbone.hidden(row)}, rounds)
    return {
        "tokens": len(ids),
        "milliseconds": Range.of_rounds(1000 * duration for duration in seconds["compress"]),
        "forward passes": _quotients(seconds["compress"], seconds[FORWARD]),
    }


def _decompression(codec: Codec, prose: str, batch: int, plan: SpeedPlan) -> Iterator[Row]:
    texts = cut(codec, prose, batch, plan.step_tokens)
    spans = codec.compress(texts).documents
    rows = token_rows(codec, texts)
    ways: dict[str, Callable[[], object]] = {
        "decompress": lambda: codec.decompress(spans, batch_size=batch),
        "transformers generate": lambda: generate(codec, rows),
        "greedy loop, zprompt's decoder": lambda: generate_plainly(codec, rows),
    }
    seconds = _time(ways, plan.rounds)
    for way, times in seconds.items():
        yield {
            "way": way,
            "batch size": batch,
            **_rate(rows.numel(), times),
            "decompress / this": None if way == "decompress" else _quotients(times, seconds["decompress"]),
        }


def _time(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run each way once to warm up, then all in turn in each round; return the seconds of each round."""
    for run in ways.values():
        run()
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - began)
    return seconds


def _rate(tokens: int, seconds: Sequence[float]) -> Row:
    return {"tokens": tokens, "tokens/s": Range.of_rounds(tokens / duration for duration in seconds)}


# The bare LLM on the same texts. Generation starts from the start token and each text's first token, and generates as
# many tokens as the text has.


def cut(codec: Codec, prose: str, count: int, tokens: int) -> list[str]:
    """Cut a text, repeated if it is too short, into pieces of `tokens` tokens, give or take one within a word."""
    ids = codec.backbone.encode(prose)
    ids *= 1 + count * tokens // len(ids)
    return [codec.backbone.decode(ids[start : start + tokens]) for start in range(0, count * tokens, tokens)]


def token_rows(codec: Codec, texts: Sequence[str]) -> Tensor:
    """Return the token ids of texts, (B, T), all as long as the shortest."""
    rows = [codec.backbone.encode(text) for text in texts]
    shortest = min(map(len, rows))
    return torch.tensor([row[:shortest] for row in rows])


@torch.no_grad()
def forward_with_head(codec: Codec, rows: Tensor) -> None:
    """Run LLM and LM head over (B, T) ids, row by row at the head, so that one row's logits are in memory."""
    for hidden in codec.backbone.hidden(rows):
        _ = hidden @ codec.backbone.output_embeddings.T


def outside_llm(run: Callable[[], object]) -> float:
    """Return the share of a call's time in which neither the LLM nor its head runs."""
    inside: list[float] = []

    def timed(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any) -> Tensor:  # noqa: ANN401 - those of the method
            began = time.perf_counter()
            result = method(*args)
            inside.append(time.perf_counter() - began)
            return result

        return call

    with patch.multiple(Backbone, hidden=timed(Backbone.hidden), logits=timed(Backbone.logits)):
        began = time.perf_counter()
        run()
        return 1 - sum(inside) / (time.perf_counter() - began)


@torch.no_grad()
def generate(codec: Codec, rows: Tensor) -> Tensor:
    """Generate as many tokens as the rows have, with transformers: (B, 2 + T), prompt and new tokens."""
    count, prompts = rows.shape[1], _prompts(codec, rows)
    sequences: Tensor = codec.backbone.model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=False,
        use_cache=True,
        min_new_tokens=count,
        max_new_tokens=count,
        pad_token_id=codec.backbone.start_id,
    )
    return sequences


@torch.no_grad()
def generate_plainly(codec: Codec, rows: Tensor) -> Tensor:
    """Generate as many tokens as the rows have, with zprompt's own decoder and cache: (B, T) new tokens."""
    backbone, cache, new = codec.backbone, codec.backbone.new_cache(len(rows)), []
    ids = _prompts(codec, rows)
    for _ in range(rows.shape[1]):
        ids = (backbone.hidden(ids, cache)[:, -1] @ backbone.output_embeddings.T).argmax(-1, keepdim=True)
        new.append(ids)
    return torch.cat(new, 1)


def _prompts(codec: Codec, rows: Tensor) -> Tensor:
    """Return the start token and each row's first token, (B, 2)."""
    return torch.cat((torch.full_like(rows[:, :1], codec.backbone.start_id), rows[:, :1]), 1).to(codec.backbone.device)


# Memory and start-up.


def _memory(codec: Codec, long: Sequence[str], short: Sequence[str]) -> Iterator[Row]:
    """Measure the peak of each job in a new process."""
    texts = {"forward pass": long, "compress": long, "generate": short, "decompress": codec.compress(short).documents}
    command = [sys.executable, "-m", "benchmarks.speed"]
    for job in JOBS:
        stdin = json.dumps([codec.name, job, list(texts.get(job, ())), torch.get_num_threads()])
        peak = subprocess.run(command, input=stdin, check=True, stdout=subprocess.PIPE, text=True).stdout
        yield {"job": job, "texts": len(texts.get(job, ())), "peak, MB": float(peak)}


def _run(name: str, job: str, texts: list[str], threads: int) -> None:
    """Do a job."""
    torch.set_num_threads(threads)
    codec = zprompt.load(name, device="cpu")
    codec.cache = None
    if job == "forward pass":
        forward_with_head(codec, token_rows(codec, texts))
    elif job == "compress":
        codec.compress(texts, batch_size=len(texts))
    elif job == "generate":
        generate(codec, token_rows(codec, texts))
    elif job == "decompress":
        codec.decompress(texts, batch_size=len(texts))


def _start(statement: str, count: int) -> Row:
    """Time a statement in new processes, after one that warms up the disk cache."""
    command = [sys.executable, "-c", START.format(statement)]
    runs = [subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout for _ in range(count + 1)]
    return {"start-up": f"`{statement}`", "seconds": Range.of_rounds(map(float, runs[1:])), "processes": count}


# The report.


FORMATS = {
    "tokens": ",",
    "tokens/s": ",.0f",
    "of a forward pass": ".2f",
    "of one with LM head": ".2f",
    "outside the LLM": ".1%",
    "milliseconds": ".0f",
    "forward passes": ".2f",
    "decompress / this": ".2f",
    "peak, MB": ",.0f",
    "seconds": ".2f",
}


def section(tables: Tables) -> Iterator[str]:
    """Write the tables, line by line."""
    yield from ("## Speed", "", f"{torch.get_num_threads()} threads; medians, the lowest and the highest.")
    for rows in tables.values():
        yield ""
        yield from figures(rows, {column: FORMATS.get(column, "") for column in rows[0]})


if __name__ == "__main__":  # the process of one job
    _run(*json.load(sys.stdin))
    print(peak_megabytes())
