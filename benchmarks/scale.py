"""How `zprompt batch` scales: measured on this machine's cores, and extrapolated to a thousand workers by simulation.

    python -m benchmarks.scale [--workers 1,2] [--engine ray] [--passages N] [--rounds N] [--rows N] [--rate R]

    speed        passages a second with workers of one thread each, from the first finished chunk to the last, so
                 without start-up; the numbers of workers are run in turn, round after round
    memory       resident memory of the run and of its worker at the first, the middle and the last chunk, over many
                 short rows
    simulation   a billion passages: each worker takes the next chunk when it is free. A few workers are slow, and each
                 dies now and then, which costs its unfinished chunk and the time to start again. The rate of a worker
                 is the one measured, or --rate; how many are slow and how often they die is assumed

With --rate nothing is measured. Writes scale.json and scale.md to benchmarks/results, and prints the tables. Timings
need an idle machine. The simulation has no disks and networks: their share is small as long as a chunk takes minutes.
"""

import argparse
import heapq
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.common import (
    RESULTS,
    Range,
    Row,
    Tables,
    describe_run,
    figures,
    joined_prose,
    natural_documents,
    wikipedia_file,
)
from zprompt.batch import BatchResult, BatchSettings, Engine, batch
from zprompt.eval import RunRecord, write_json

HOUR = 3600.0
WORDS = 150  # of a passage, about
CHUNK = 4  # passages, where speed is measured: so that all workers end at about the same time


@dataclass(frozen=True, slots=True)
class Fleet:
    """The assumptions about many workers, and their work."""

    passages: int = 1_000_000_000
    workers: int = 1000
    chunk_rows: int = 4096
    spread: float = 0.05  # standard deviation of the speed of workers, as a share of it
    slow: float = 0.02  # share of the workers that are slow, and …
    slowness: float = 3.0  # … how many times longer they take
    hours_between_deaths: float = 24.0  # of one worker, on average
    start_seconds: float = 60.0  # from a death to the next chunk
    bad: float = 1e-4  # share of the rows that cannot be compressed, which cost nothing


def measure_speed(
    texts: Sequence[str], workers: Sequence[int], rounds: int, engine: Engine, settings: BatchSettings
) -> list[Row]:
    """Measure passages a second with each number of workers."""
    rates: dict[int, list[float]] = {count: [] for count in workers}
    for _ in range(rounds):
        for count in workers:
            with tempfile.TemporaryDirectory() as folder, _cores(count, engine):
                rates[count].append(_rate(texts, count, engine, Path(folder), settings))
    alone = Range.of_rounds(rates[workers[0]]).value / workers[0]
    return [
        {"workers": count, "passages/s": rate, "of one": rate.value / alone}
        for count, rate in ((count, Range.of_rounds(rates[count])) for count in workers)
    ]


def _rate(texts: Sequence[str], workers: int, engine: Engine, folder: Path, settings: BatchSettings) -> float:
    seen: list[tuple[float, int]] = []
    path = _write(folder / "texts.jsonl", texts)
    run_settings = BatchSettings(
        folder / "out", codec=settings.codec, device="cpu", ratio=settings.ratio, chunk_rows=settings.chunk_rows
    )
    batch(
        [path],
        run_settings,
        workers=workers,
        engine=engine,
        progress=lambda state: seen.append((time.perf_counter(), state.rows)),
    )
    return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])


@contextmanager
def _cores(count: int, engine: Engine) -> Iterator[None]:
    """Limit a run to `count` cores, so that each worker has one."""
    if engine == "ray":
        import ray

        ray.init(num_cpus=count)
        yield
        ray.shutdown()
    else:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(before)[:count])
        yield
        os.sched_setaffinity(0, before)


def measure_memory(rows: int, codec: str) -> list[Row]:
    """Measure resident memory over many short rows, at ratio 1, which needs no pass of the LLM."""
    process, seen = psutil.Process(), []

    def record(state: BatchResult) -> None:
        children = [child.memory_info().rss for child in process.children(recursive=True)]
        seen.append((state.rows, process.memory_info().rss / 1e6, max(children) / 1e6))

    with tempfile.TemporaryDirectory() as folder:
        path = _write(Path(folder) / "rows.jsonl", [f"Row {n}: the tide rose by {n % 97} cm." for n in range(rows)])
        batch(
            [path],
            BatchSettings(Path(folder) / "out", codec=codec, device="cpu", ratio=1.0),
            workers=1,
            progress=record,
        )
    return [
        {"rows": count, "run, MB": run, "worker, MB": worker}
        for count, run, worker in (seen[0], seen[len(seen) // 2], seen[-1])
    ]


def simulate(fleet: Fleet, rate: float, seed: int) -> Row:
    """Simulate a run over all passages.

    :param fleet: The workers and what they have to do.
    :param rate: Passages a second of a worker that is not slow.
    :param seed: Decides which workers are slow and when they die.
    :return: How long the run takes, and where the time goes.
    """
    random = np.random.default_rng(seed)
    paces = np.maximum(0.1, random.normal(1.0, fleet.spread, fleet.workers)) / rate
    paces[random.random(fleet.workers) < fleet.slow] *= fleet.slowness
    deaths = random.exponential(fleet.hours_between_deaths * HOUR, fleet.workers)  # the next one of each
    chunks = -(-fleet.passages // fleet.chunk_rows)
    bad = random.binomial(fleet.chunk_rows, fleet.bad, chunks)
    free = [(0.0, worker) for worker in range(fleet.workers)]
    died, lost, done = 0, 0.0, 0
    for chunk in range(chunks):
        rows = min(fleet.chunk_rows, fleet.passages - chunk * fleet.chunk_rows)
        now, worker = heapq.heappop(free)
        needs = (rows - int(bad[chunk])) * paces[worker]
        while now + needs > deaths[worker]:  # as if the same worker repeated the chunk: the time is the same
            died, lost = died + 1, lost + max(0.0, deaths[worker] - now)
            now = max(now, deaths[worker]) + fleet.start_seconds
            deaths[worker] = now + random.exponential(fleet.hours_between_deaths * HOUR)
        done += rows
        heapq.heappush(free, (now + needs, worker))
    ends = [end for end, _ in free]
    seconds = max(ends)
    return {
        **asdict(fleet),
        "rate": rate,
        "days": seconds / HOUR / 24,
        "passages/s": done / seconds,
        "efficiency": done / (fleet.workers * rate) / seconds,  # 1: no worker is slow, dies, or waits for the last
        "deaths": died,
        "repeated": lost / (fleet.workers * seconds),  # share of the time
        "waiting": 1 - sum(ends) / (fleet.workers * seconds),  # share of the time, for the last chunk
        "bad rows": int(bad.sum()),
        "rows": done,
    }


def report(record: RunRecord, tables: Tables) -> Iterator[str]:
    """Write the tables as Markdown."""
    yield from ("# Bulk compression", "", describe_run(record), "")
    if tables["speed"]:
        yield from ("## Speed, one thread a worker", "")
        yield from figures(tables["speed"], {"workers": "d", "passages/s": ".2f", "of one": ".2f"})
        yield from ("", "## Memory over short rows", "")
        yield from figures(tables["memory"], {"rows": ",", "run, MB": ".0f", "worker, MB": ".0f"})
        yield ""
    yield from ("## A billion passages, simulated", "")
    formats = {"workers": ",", "chunk_rows": ",", "rate": ".2f", "days": ".1f", "passages/s": ",.0f"}
    formats |= {"efficiency": ".1%", "deaths": ",", "repeated": ".2%", "waiting": ".2%", "bad rows": ","}
    yield from figures(tables["simulation"], formats)


def passages(count: int, seed: int) -> list[str]:
    """Draw passages of Wikipedia, or repeat paragraphs of the project's prose where its file is missing."""
    if path := wikipedia_file():
        return [
            document.text for document in natural_documents(path, count, WORDS, seed, lambda text: len(text.split()))
        ]
    return list(itertools.islice(itertools.cycle(joined_prose(None).split("\n\n")), count))


def _write(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    return path


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="1,2", help="numbers of workers to measure")
    parser.add_argument("--engine", choices=("processes", "ray"), default="processes")
    parser.add_argument("--codec", default="default")
    parser.add_argument("--passages", type=int, default=128, help="to measure speed on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100_000, help="short ones, to measure memory on")
    parser.add_argument("--rate", type=float, help="passages a second of a worker; nothing is measured then")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    """Measure, simulate, write and print."""
    options, began = _parse(), time.time()
    tables: Tables = {"speed": [], "memory": []}
    rate = options.rate
    if rate is None:
        texts = passages(options.passages, options.seed)
        settings = BatchSettings(Path(), codec=options.codec, ratio=4.0, chunk_rows=CHUNK)
        workers = [int(count) for count in options.workers.split(",")]
        tables["speed"] = measure_speed(texts, workers, options.rounds, options.engine, settings)
        tables["memory"] = measure_memory(options.rows, options.codec)
        last = tables["speed"][-1]
        rate = last["passages/s"].value / last["workers"]  # with neighbours, as on a machine that is full
    fleets = [Fleet(workers=workers, chunk_rows=rows) for workers in (100, 1000) for rows in (1024, 4096, 16_384)]
    tables["simulation"] = [simulate(fleet, rate, options.seed) for fleet in fleets]
    record = RunRecord.take(options.seed, began)
    write_json(options.out / "scale.json", {"run": record, "tables": tables})
    text = "\n".join(report(record, tables)) + "\n"
    (options.out / "scale.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
