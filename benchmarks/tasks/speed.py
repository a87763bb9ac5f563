"""Measure throughput, memory and start-up time, each beside what the bare backbone takes for the same.

    compression     against a forward pass of the backbone over the same tokens, with and without its LM head
    decompression   against the backbone's own greedy generation of as many tokens at the same batch size, by
                    transformers' `generate` and by the plainest loop over zprompt's own faster decoder

What is compared is run in turn, round after round, so that a machine that slows down slows all of it; rates are
medians, and the ratio is the median of the rounds' ratios. Memory: see memory.py.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from benchmarks.memory import Memory, measure_memory
from benchmarks.passes import cut, forward_with_head, generate, generate_plainly, token_rows
from benchmarks.plan import Plan
from zprompt import Codec

START = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


@dataclass(frozen=True, slots=True)
class Rate:
    """The throughput of one way to do something."""

    name: str
    tokens_per_second: float  # median of the rounds
    slowest: float
    fastest: float
    ratio: float  # the codec's throughput per this one's: median of the rounds
    lowest_ratio: float
    highest_ratio: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The codec beside the bare backbone, on the same tokens."""

    name: str
    batch_size: int
    tokens: int  # of all rows, each round
    rounds: int
    rates: tuple[Rate, ...]  # the codec's first


@dataclass(frozen=True, slots=True)
class Start:
    """How long something takes in a new process."""

    what: str
    seconds: float  # median
    slowest: float
    processes: int


@dataclass(frozen=True, slots=True)
class Speed:
    """All timings."""

    threads: int
    compression: Comparison
    decompression: tuple[Comparison, ...]
    memory: tuple[Memory, ...]
    starts: tuple[Start, ...]


def measure(codec: Codec, prose: str, plan: Plan) -> Speed:
    """Measure throughput, memory and start-up.

    :param codec: The codec.
    :param prose: A text to take pieces of.
    :param plan: Sizes and rounds.
    :return: The timings.
    """
    return Speed(
        threads=torch.get_num_threads(),
        compression=compare_compression(codec, prose, plan),
        decompression=tuple(compare_decompression(codec, prose, batch, plan) for batch in plan.batch_sizes),
        memory=measure_memory(codec, prose, plan),
        starts=(
            _start("import zprompt", "import zprompt", plan.starts),
            _start(
                "import zprompt; zprompt.load()",
                f"import zprompt; zprompt.load({codec.name!r}, device='cpu')",
                plan.starts,
            ),
        ),
    )


def compare_compression(codec: Codec, prose: str, plan: Plan) -> Comparison:
    """Time compression beside a forward pass.

    :param codec: The codec.
    :param prose: A text to take pieces of.
    :param plan: Sizes and rounds.
    :return: The rates.
    """
    texts = cut(codec, prose, plan.pass_windows, plan.pass_tokens)
    rows = token_rows(codec, texts)
    ways = {
        "compress": lambda: codec.compress(texts, batch_size=len(texts)),
        "forward pass": lambda: codec.backbone.hidden(rows),
        "forward pass with LM head": lambda: forward_with_head(codec, rows),
    }
    return _compare("compression", ways, plan.pass_rounds, len(texts), rows.numel())


def compare_decompression(codec: Codec, prose: str, batch: int, plan: Plan) -> Comparison:
    """Time decompression beside greedy generation.

    :param codec: The codec.
    :param prose: A text to take pieces of.
    :param batch: Rows at a time.
    :param plan: Sizes and rounds.
    :return: The rates.
    """
    texts = cut(codec, prose, batch, plan.step_tokens)
    spans = codec.compress(texts).documents
    rows = token_rows(codec, texts)
    ways = {
        "decompress": lambda: codec.decompress(spans, batch_size=batch),
        "transformers generate": lambda: generate(codec, rows),
        "greedy loop, zprompt's decoder": lambda: generate_plainly(codec, rows),
    }
    return _compare("decompression", ways, plan.step_rounds, batch, rows.numel())


def _start(what: str, statement: str, count: int) -> Start:
    """Time a statement in new processes, after one that warms the disk cache up."""
    command = [sys.executable, "-c", START.format(statement)]
    times = [
        float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) for _ in range(count + 1)
    ][1:]
    return Start(what, statistics.median(times), max(times), count)


def _compare(name: str, ways: Mapping[str, Callable[[], object]], rounds: int, batch: int, tokens: int) -> Comparison:
    """Run each way once to warm up, then all in turn."""
    for run in ways.values():
        run()
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            rates[way].append(tokens / (time.perf_counter() - began))
    own = next(iter(rates.values()))
    return Comparison(name, batch, tokens, rounds, tuple(_rate(way, found, own) for way, found in rates.items()))


def _rate(name: str, found: Sequence[float], own: Sequence[float]) -> Rate:
    """Sum up the rounds of one way."""
    ratios = [ours / theirs for ours, theirs in zip(own, found, strict=True)]
    return Rate(
        name=name,
        tokens_per_second=statistics.median(found),
        slowest=min(found),
        fastest=max(found),
        ratio=statistics.median(ratios),
        lowest_ratio=min(ratios),
        highest_ratio=max(ratios),
    )
