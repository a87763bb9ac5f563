"""Measure throughput, memory and start-up time, each beside what the bare backbone takes for the same.

    compression     against a forward pass of the backbone over the same tokens, with and without its LM head
    decompression   against the backbone's own greedy generation of as many tokens at the same batch size, by
                    transformers' `generate` and by the plainest loop over zprompt's own faster decoder

What is compared is run in turn, round after round, so that a machine that slows down slows all of it; rates are
medians, and the ratio is the median of the rounds' ratios.

    memory          peak resident memory of a process: Python, torch, the weights and one job; "load only" has no job.
                    Each job has a process of its own, since memory once touched is not given back
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

import zprompt
from zprompt import Codec
from zprompt.eval import peak_megabytes, table

START = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
JOBS = ("load only", "forward pass", "compress", "generate", "decompress")


@dataclass(frozen=True, slots=True)
class SpeedPlan:
    """How much is timed."""

    pass_windows: int = 4  # texts of `pass_tokens` tokens that compression is timed on, in one batch
    pass_tokens: int = 500
    pass_rounds: int = 5
    step_tokens: int = 64  # length of the texts that decompression is timed on
    step_rounds: int = 3
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    starts: int = 3  # processes that `import zprompt` and `zprompt.load` are timed in


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
class Memory:
    """Peak resident memory of a process that does one job."""

    job: str
    batch_size: int
    tokens: int  # of each row
    megabytes: float


@dataclass(frozen=True, slots=True)
class Speed:
    """All timings."""

    threads: int
    compression: Comparison
    decompression: tuple[Comparison, ...]
    memory: tuple[Memory, ...]
    starts: tuple[Start, ...]


def measure(codec: Codec, prose: str, plan: SpeedPlan) -> Speed:
    """Measure throughput, memory and start-up on pieces of a long text."""
    load = f"import zprompt; zprompt.load({codec.name!r}, device='cpu')"
    return Speed(
        threads=torch.get_num_threads(),
        compression=compare_compression(codec, prose, plan),
        decompression=tuple(compare_decompression(codec, prose, batch, plan) for batch in plan.batch_sizes),
        memory=measure_memory(codec, prose, plan),
        starts=(
            _start("import zprompt", "import zprompt", plan.starts),
            _start("import zprompt; zprompt.load()", load, plan.starts),
        ),
    )


def compare_compression(codec: Codec, prose: str, plan: SpeedPlan) -> Comparison:
    """Time compression beside a forward pass."""
    texts = cut(codec, prose, plan.pass_windows, plan.pass_tokens)
    rows = token_rows(codec, texts)
    ways = {
        "compress": lambda: codec.compress(texts, batch_size=len(texts)),
        "forward pass": lambda: codec.backbone.hidden(rows),
        "forward pass with LM head": lambda: forward_with_head(codec, rows),
    }
    return _compare("compression", ways, plan.pass_rounds, len(texts), rows.numel())


def compare_decompression(codec: Codec, prose: str, batch: int, plan: SpeedPlan) -> Comparison:
    """Time decompression beside greedy generation, `batch` rows at a time."""
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


# What the bare backbone does with the same texts. Generation starts from the start token and each text's first token,
# and goes on for as many tokens as the text has.


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
    """Run backbone and LM head over (B, T) ids, row by row at the head, so that one row's logits are in memory."""
    for hidden in codec.backbone.hidden(rows):
        _ = hidden @ codec.backbone.output_embeddings.T


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
    given = _prompts(codec, rows)
    for _ in range(rows.shape[1]):
        given = (backbone.hidden(given, cache)[:, -1] @ backbone.output_embeddings.T).argmax(-1, keepdim=True)
        new.append(given)
    return torch.cat(new, 1)


def _prompts(codec: Codec, rows: Tensor) -> Tensor:
    """Return the start token and each row's first token, (B, 2)."""
    return torch.cat((torch.full_like(rows[:, :1], codec.backbone.start_id), rows[:, :1]), 1).to(codec.backbone.device)


# Memory.


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to do."""

    codec: str
    name: str  # one of JOBS
    texts: list[str]  # or Z-spans, to decompress
    threads: int


def measure_memory(codec: Codec, prose: str, plan: SpeedPlan) -> tuple[Memory, ...]:
    """Measure the peak of each job."""
    texts = cut(codec, prose, plan.pass_windows, plan.pass_tokens)
    short = cut(codec, prose, plan.pass_windows, plan.step_tokens)
    spans = codec.compress(short).documents
    given = {"load only": [], "forward pass": texts, "compress": texts, "generate": short, "decompress": spans}
    lengths = {"load only": 0, "forward pass": plan.pass_tokens, "compress": plan.pass_tokens}
    return tuple(
        Memory(name, len(given[name]), lengths.get(name, plan.step_tokens), _peak(codec.name, name, given[name]))
        for name in JOBS
    )


def _peak(codec: str, name: str, texts: list[str]) -> float:
    """Run a job in a new process, and return its peak in megabytes."""
    given = json.dumps(asdict(Job(codec, name, texts, torch.get_num_threads())))
    command = [sys.executable, "-m", "benchmarks.speed"]
    return float(subprocess.run(command, input=given, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _run(job: Job) -> None:
    torch.set_num_threads(job.threads)
    codec = zprompt.load(job.codec, device="cpu")
    if job.name == "forward pass":
        forward_with_head(codec, token_rows(codec, job.texts))
    elif job.name == "compress":
        codec.compress(job.texts, batch_size=len(job.texts))
    elif job.name == "generate":
        generate(codec, token_rows(codec, job.texts))
    elif job.name == "decompress":
        codec.decompress(job.texts, batch_size=len(job.texts))


# The report.


def section(result: Speed) -> Iterator[str]:
    """Write the tables of throughput, memory and start-up, line by line."""
    yield from ("## Speed", "")
    rounds = result.compression.rounds
    yield (
        f"{result.threads} threads. Medians of {rounds} rounds (compression) and {result.decompression[0].rounds} "
        "(decompression), in turn; in brackets the slowest and fastest. Last column: the codec per this."
    )
    yield ""
    rows = [row for comparison in (result.compression, *result.decompression) for row in _rates(comparison)]
    yield from table(("what", "batch size", "tokens", "tokens/s", "codec / this"), rows)
    yield from ("", "Peak resident memory, each in a process of its own:", "")
    memory = [(m.job, str(m.batch_size), str(m.tokens), f"{m.megabytes:,.0f} MB") for m in result.memory]
    yield from table(("job", "batch size", "tokens of a row", "peak"), memory)
    yield ""
    starts = [(f"`{s.what}`", f"{s.seconds:.2f} s", f"{s.slowest:.2f} s", str(s.processes)) for s in result.starts]
    yield from table(("start-up", "median", "slowest", "processes"), starts)


def _rates(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    own = comparison.rates[0].name
    for rate in comparison.rates:
        spread = f"{rate.tokens_per_second:.0f} [{rate.slowest:.0f}, {rate.fastest:.0f}]"
        ratio = f"{rate.ratio:.2f} [{rate.lowest_ratio:.2f}, {rate.highest_ratio:.2f}]"
        yield (
            f"**{own}**" if rate.name == own else rate.name,
            str(comparison.batch_size),
            f"{comparison.tokens:,}",
            spread,
            "" if rate.name == own else ratio,
        )


if __name__ == "__main__":  # the process of one job
    _run(Job(**json.load(sys.stdin)))
    print(peak_megabytes())
