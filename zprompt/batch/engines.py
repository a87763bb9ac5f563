"""Run workers on chunks: in processes of this machine, or by Ray on many.

Processes are spawned, not forked. Each gets one chunk at a time, cut from the input only when the process is free. A
worker that dies loses only that chunk, which another one repeats. A chunk that kills `DEATHS` workers (mostly for lack
of memory) is left out of this run, so that the others get done; the next run tries it again. Ray does the same: an
actor for each worker, dead actors restarted, lost chunks repeated.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Literal, TypeAlias, cast

from zprompt.batch.inputs import Chunk
from zprompt.batch.worker import BatchSettings, ChunkResult, ChunkWorker
from zprompt.cores import cores
from zprompt.errors import MissingDependencyError, WorkerError, ZPromptError

Engine: TypeAlias = Literal["processes", "ray"]

DEATHS = 3  # workers that a chunk kills before it is left out
_BLOCKS = 50_000  # of Ray Data, at most; an actor gets a block at a time, which is repeated if the actor dies
_REMEDY = "If memory is short, use fewer workers or smaller chunks."
_IN_A_ROW = 12  # deaths with no chunk done between: then the chunks are not the cause


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A chunk that was not done."""

    chunk: Chunk
    reason: str


def on_processes(
    settings: BatchSettings, chunks: Iterator[Chunk], workers: int | None
) -> Iterator[ChunkResult | LeftOut]:
    """Compress chunks in processes of this machine.

    :param settings: How to compress.
    :param chunks: The chunks; the next one is taken when a worker is free.
    :param workers: Number of processes; None: one for each GPU, or, without GPUs, one for each core.
    :yields: The result of each chunk, in the order in which they are done.
    :raises WorkerError: If workers keep dying.
    """
    gpus = _gpus(settings.device)
    count = workers or len(gpus) or cores()
    pool = [
        _Process(settings, max(1, cores() // count), gpus[index % len(gpus)] if gpus else None)
        for index in range(count)
    ]
    retries: deque[Chunk] = deque()
    deaths = _Deaths()
    try:
        while True:
            for process in pool:
                if process.chunk is None and (chunk := retries.popleft() if retries else next(chunks, None)):
                    process.give(chunk)
            busy = {process.connection: (process, process.chunk) for process in pool if process.chunk}
            if not busy:
                return
            for connection in wait(list(busy)):
                process, chunk = busy[cast(Connection, connection)]
                result = process.take(chunk)
                if deaths.count(result):
                    retries.append(chunk)
                else:
                    yield result
    finally:
        for process in pool:
            process.stop()


class _Deaths:
    """Counts the deaths of workers."""

    def __init__(self) -> None:
        self._by_chunk: Counter[tuple[str, int]] = Counter()
        self._in_a_row = 0

    def count(self, result: ChunkResult | LeftOut) -> bool:
        """Return whether to repeat the chunk; raise WorkerError if workers keep dying."""
        if isinstance(result, ChunkResult):
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if self._in_a_row == _IN_A_ROW:
            raise WorkerError(f"{_IN_A_ROW} workers died in a row. {result.reason}")
        self._by_chunk[result.chunk.key] += 1
        return self._by_chunk[result.chunk.key] < DEATHS


class _Process:
    """A worker in a process, which starts with its first chunk."""

    def __init__(self, settings: BatchSettings, threads: int, gpu: str | None) -> None:
        self.chunk: Chunk | None = None
        self.connection: Connection
        self._arguments = settings, threads, gpu
        self._process: SpawnProcess | None = None

    def give(self, chunk: Chunk) -> None:
        """Send it a chunk."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, worker_connection = context.Pipe()
            self._process = context.Process(target=_work, args=(worker_connection, *self._arguments), daemon=True)
            self._process.start()
            worker_connection.close()  # so that the death of the process closes the pipe
        self.chunk = chunk
        with suppress(OSError):  # it is dead; the next recv reports that
            self.connection.send(chunk)

    def take(self, chunk: Chunk) -> ChunkResult | LeftOut:
        """Return the result of its chunk; raise what the worker raised."""
        self.chunk = None
        try:
            result: ChunkResult | Exception = self.connection.recv()
        except (EOFError, OSError):
            code = self.stop()
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            return LeftOut(chunk, f"Its worker {how}. {_REMEDY}")
        if isinstance(result, Exception):
            raise result
        return result

    def stop(self) -> int:
        """End the process if it still runs; return its exit code."""
        if self._process is None:
            return 0
        if self._process.exitcode is None:
            self._process.join(0.1)  # a killed process ends at once, and its own exit code counts
        self._process.terminate()
        self._process.join()
        code = self._process.exitcode or 0
        self.connection.close()
        self._process = None
        return code


def _work(connection: Connection, settings: BatchSettings, threads: int, gpu: str | None) -> None:
    """Compress chunks until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch reads it
    worker = ChunkWorker(settings, threads)
    with suppress(EOFError, OSError):
        while True:
            chunk = connection.recv()
            connection.send(_result_or_error(worker, chunk))


def _result_or_error(worker: ChunkWorker, chunk: Chunk) -> ChunkResult | Exception:
    try:
        return worker(chunk)
    except Exception as error:  # noqa: BLE001 - raised again where it can be reported
        if not isinstance(error, ZPromptError | OSError):
            error.add_note(traceback.format_exc())  # pickling loses the worker's traceback
        return error


def on_ray(settings: BatchSettings, chunks: Iterator[Chunk], workers: int | None) -> Iterator[ChunkResult | LeftOut]:
    """Compress chunks by Ray Data, on the cluster at RAY_ADDRESS or on this machine; all nodes must share the folders.

    :param settings: How to compress.
    :param chunks: The chunks.
    :param workers: Number of actors; None: one for each GPU, or, without GPUs, one for each core.
    :yields: The result of each chunk, in the order in which they are done, and at the end the chunks left out.
    :raises MissingDependencyError: If Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "engine='ray' needs Ray, which is not installed: pip install 'zprompt[ray]'."
        ) from error
    started_here = not ray.is_initialized()
    if started_here:
        ray.init()
    try:
        yield from _ray_results(settings, list(chunks), workers)
    finally:
        if started_here:
            ray.shutdown()


class _Actor:
    """A worker that Ray Data calls with one chunk at a time."""

    def __init__(self, settings: BatchSettings, threads: int) -> None:
        self._worker = ChunkWorker(settings, threads)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Compress the chunk of a batch."""
        results = [_result_or_error(self._worker, pickle.loads(chunk)) for chunk in batch["chunk"]]
        return {"result": [pickle.dumps(result) for result in results]}


def _ray_results(settings: BatchSettings, chunks: list[Chunk], workers: int | None) -> Iterator[ChunkResult | LeftOut]:
    import ray

    if not chunks:
        return
    resources = ray.cluster_resources()
    cpus, gpus = int(resources.get("CPU", 1)), 0 if settings.device == "cpu" else int(resources.get("GPU", 0))
    count = workers or gpus or cpus
    threads = max(1, cpus // count)
    rows = [{"chunk": pickle.dumps(chunk)} for chunk in chunks]
    dataset = ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS))
    dataset.context.max_errored_blocks = -1  # unlimited: such chunks kill actors; all other errors are results
    dataset.context.enable_progress_bars = False
    results = dataset.map_batches(
        _Actor,
        fn_constructor_args=(settings, threads),
        batch_size=1,
        concurrency=min(count, len(rows)),
        num_cpus=threads,
        num_gpus=min(1, gpus / count),
        max_task_retries=DEATHS - 1,
    )
    missing = {chunk.key: chunk for chunk in chunks}
    for row in results.iter_rows():
        result = pickle.loads(row["result"])
        if isinstance(result, Exception):
            raise result
        missing.pop(result.chunk.key)
        yield result
    for chunk in missing.values():
        yield LeftOut(chunk, f"{DEATHS} actors died of it. {_REMEDY}")


def _gpus(device: str) -> list[str]:
    """Return the GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    if device == "cpu":
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))
    return names if torch.cuda.is_available() else []
