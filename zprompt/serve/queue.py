"""Bounded queues of jobs, each with its own worker thread: chat does not wait for compression.

    admit    reserves a slot in the queue, or refuses: before a prompt is even read, so that reading is bounded too
    submit   puts a job into its slot
    worker   TextQueue: waiting texts, up to the batch size, are generated together, each with its own sampling options;
             texts that arrive meanwhile wait for the next batch. CallQueue: one call at a time
    drain    admits no more jobs, refuses waiting ones, and finishes running ones

Calls run on half of the cores, and at a low priority where threads have one each (Linux): a text, for which somebody
waits at a screen, is generated nearly as fast as without them, and they take what is left, at least a tenth.

Results go from the worker's thread to the event loop:

    loop     job = TextJob(…); queue.submit(job);  async for delta in job: …     queue.cancel(job) at any time
    worker   while job.wanted: job.send(delta)  …  job.finish()  or  job.fail(error)

A cancelled job leaves the queue, or its batch after the next token.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from zprompt.llm import set_threads, thread_count
from zprompt.progress import Progress
from zprompt.reader import Delta, GenerateOptions, PreparedPrompt, Reader
from zprompt.serve.errors import ApiError, shutting_down
from zprompt.serve.metrics import Metrics

T = TypeVar("T")

_LONGEST_RETRY = 60  # seconds
_LOW = 10  # niceness: a ninth of the weight of niceness 0
_MEMORY = 0.7  # weight of the past in the running mean of the seconds that a batch takes


class _CancelledError(Exception):
    """Raised in a call whose result is no longer wanted."""


@dataclass(frozen=True, slots=True)
class _End:
    """Marks the end of a job's results."""

    error: Exception | None = None


class Job(Generic[T]):
    """Work for the worker's thread, whose results arrive one by one; create it in a running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._results: asyncio.Queue[T | _End] = asyncio.Queue()
        self._cancelled = threading.Event()

    @property
    def wanted(self) -> bool:
        """Return whether the results are still awaited."""
        return not self._cancelled.is_set()

    def send(self, result: T) -> None:
        """Pass a result to the event loop; called by the worker."""
        self._put(result)

    def finish(self) -> None:
        """End the results; called by the worker."""
        self._put(_End())

    def fail(self, error: Exception) -> None:
        """End the results with an error; called by the worker; no effect on a job that has ended."""
        self._put(_End(error))

    def cancel(self) -> None:
        """Ask for no more results; called in the event loop."""
        self._cancelled.set()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            result = await self._results.get()
            if isinstance(result, _End):
                if result.error:
                    raise result.error
                return
            yield result

    def _put(self, result: T | _End) -> None:
        if self.wanted:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._results.put_nowait, result)


class TextJob(Job[Delta]):
    """Texts to generate for one request; the index of a result is that of its prompt in the request."""

    def __init__(self, prompts: Sequence[PreparedPrompt], options: Sequence[GenerateOptions]) -> None:
        """Take prepared prompts, with options for each."""
        super().__init__()
        self.prompts, self.options = prompts, options


class CallJob(Job[Any]):
    """A call; its progress callback is how it is cancelled."""

    def __init__(self, call: Callable[[Progress], Any]) -> None:
        super().__init__()
        self._call = call

    def run(self) -> None:
        """Run the call; called by the worker."""
        try:
            self.send(self._call(self._check_wanted))
        except _CancelledError:
            self.finish()
        except Exception as error:  # noqa: BLE001 - raised again where the result is awaited
            self.fail(error)
        else:
            self.finish()

    def _check_wanted(self, _stage: str, _done: int, _total: int) -> None:
        if not self.wanted:
            raise _CancelledError


J = TypeVar("J", TextJob, CallJob)


class JobQueue(Generic[J]):
    """Holds waiting jobs, and runs them in a worker thread."""

    def __init__(self, name: str, metrics: Metrics, length: int, together: int = 1) -> None:
        """Create an empty queue.

        :param name: Name of the queue in the metrics.
        :param metrics: Counts waiting and running jobs.
        :param length: Most requests that may wait.
        :param together: Most jobs, or texts, that run at a time.
        """
        self.name = name
        self._metrics, self._length, self._together = metrics, length, together
        self._changed = threading.Condition()
        self._waiting: deque[J] = deque()
        self._admitted = 0  # slots reserved for jobs not yet submitted
        self._draining = self._stopping = False
        self._run_seconds = 1.0  # running mean
        self._thread = threading.Thread(target=self._work, name=f"zprompt-{name}", daemon=True)

    @property
    def healthy(self) -> bool:
        """Return whether requests are admitted and the worker runs."""
        return self._thread.is_alive() and not self._draining

    @property
    def waiting(self) -> int:
        """Return the number of waiting jobs."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Reserve a slot while a request is read and submitted; raise ApiError if there is none."""
        with self._changed:
            if self._draining:
                raise shutting_down()
            taken = len(self._waiting) + self._admitted
            if taken >= self._length:
                raise self._full(taken)
            self._admitted += 1
        try:
            yield
        finally:
            with self._changed:
                self._admitted -= 1

    def submit(self, job: J) -> None:
        """Append a job, for which a slot was reserved; raise ApiError if the server is shutting down."""
        with self._changed:
            if self._draining:
                raise shutting_down()
            self._waiting.append(job)
            self._changed.notify_all()
            self._count_waiting()

    def cancel(self, job: J) -> None:
        """Cancel a job, whether it waits, runs or is done."""
        with self._changed:
            job.cancel()
            self._waiting = deque(other for other in self._waiting if other is not job)
            self._count_waiting()

    def drain(self) -> None:
        """Admit no more jobs, and refuse waiting ones."""
        with self._changed:
            self._draining = True
            for job in self._waiting:
                job.fail(shutting_down())
            self._waiting.clear()
            self._count_waiting()

    def close(self, seconds: float = 5.0) -> None:
        """Drain, cancel running jobs, and wait up to `seconds` for the worker, which stops after its next token."""
        self.drain()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _count_waiting(self) -> None:
        self._metrics.waiting.labels(self.name).set(len(self._waiting))

    def _full(self, taken: int) -> ApiError:
        """Return the error of a full queue, with an estimate of when to try again."""
        runs = max(1, math.ceil(taken / self._together))
        seconds = min(_LONGEST_RETRY, max(1, math.ceil(self._run_seconds * runs)))
        return ApiError(
            429,
            f"{taken} requests are waiting, which is the limit. Try again in {seconds} seconds.",
            kind="rate_limit_error",
            code="queue_full",
            headers={"Retry-After": str(seconds)},
        )

    def _work(self) -> None:
        self._begin()
        running = self._metrics.running.labels(self.name)
        while jobs := self._take():
            began = time.perf_counter()
            running.set(len(jobs))
            try:
                self._run(jobs)
            except Exception as error:  # noqa: BLE001 - raised again, and logged, where the results are awaited
                for job in jobs:
                    job.fail(error)
            running.set(0)
            self._run_seconds = _MEMORY * self._run_seconds + (1 - _MEMORY) * (time.perf_counter() - began)

    def _take(self) -> list[J]:
        """Wait for jobs; return an empty list when the server stops."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return []
                if taken := self._next():
                    self._count_waiting()
                    return taken

    def _begin(self) -> None:
        """Prepare the worker's thread."""

    def _next(self) -> list[J]:
        """Take the first waiting jobs; an empty list if all were cancelled meanwhile."""
        raise NotImplementedError

    def _run(self, jobs: Sequence[J]) -> None:
        raise NotImplementedError


class CallQueue(JobQueue[CallJob]):
    """Runs calls one by one."""

    def _begin(self) -> None:
        set_threads(max(1, thread_count() // 2))
        if sys.platform == "linux":  # elsewhere, the priority is that of the whole process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW)

    def _next(self) -> list[CallJob]:
        return [self._waiting.popleft()] if self._waiting else []

    def _run(self, jobs: Sequence[CallJob]) -> None:
        for job in jobs:
            job.run()


class TextQueue(JobQueue[TextJob]):
    """Generates waiting texts together."""

    def __init__(self, reader: Reader, metrics: Metrics, *, length: int, batch_size: int, batch_wait: float) -> None:
        """Create an empty queue.

        :param reader: Generates the texts; only the worker runs it.
        :param metrics: Counts batches and usage.
        :param length: Most requests that may wait.
        :param batch_size: Most texts that are generated together.
        :param batch_wait: Seconds that an idle worker waits for more texts to fill a batch.
        """
        super().__init__("texts", metrics, length, batch_size)
        self._reader, self._batch_wait = reader, batch_wait

    def _next(self) -> list[TextJob]:
        # Wait, so that requests that come at the same time share a batch.
        self._changed.wait_for(lambda: len(self._waiting) >= self._together or self._stopping, self._batch_wait)
        taken: list[TextJob] = []
        rest: deque[TextJob] = deque()
        room = self._together
        for job in self._waiting:
            if len(job.prompts) <= room:
                taken.append(job)
                room -= len(job.prompts)
            else:
                rest.append(job)
        self._waiting = rest
        return taken

    def _run(self, jobs: Sequence[TextJob]) -> None:
        """Generate the texts of all jobs together, and send each job its texts."""
        rows = [(job, index) for job in jobs for index in range(len(job.prompts))]
        unfinished = {job: len(job.prompts) for job in jobs}
        self._metrics.batch_size.observe(len(rows))

        def wanted(row: int) -> bool:
            return rows[row][0].wanted and not self._stopping

        prompts = [prompt for job in jobs for prompt in job.prompts]
        options = [prompt_options for job in jobs for prompt_options in job.options]
        for delta in self._reader.run(prompts, options, len(rows), wanted):
            job, index = rows[delta.index]
            job.send(replace(delta, index=index))
            if delta.generation:
                self._metrics.count_usage(delta.generation.usage)
                unfinished[job] -= 1
                if not unfinished[job]:
                    job.finish()
        if self._stopping:
            for job in jobs:
                job.fail(shutting_down())
