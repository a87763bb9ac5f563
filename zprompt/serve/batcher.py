"""A bounded queue, and the one thread that works on it.

    admit     keeps a place in the queue, or refuses: before a prompt is even checked, so that checking is bounded too
    submit    puts a job in its place
    worker    takes the first job; if it is texts, all texts that wait, up to the batch size, are written together,
              each with its own sampling options. What arrives meanwhile waits for the next batch
    drain     nothing is let in; what waits is refused; what runs is finished

A job that is cancelled leaves the queue, or its batch after the next token.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from zprompt.serve.errors import queue_full, shutting_down
from zprompt.serve.jobs import AnyJob, CallJob, TextJob
from zprompt.serve.metrics import Metrics
from zprompt.serve.protocol import ServedReader
from zprompt.serve.settings import ServerSettings

_LONGEST_RETRY = 60  # seconds
_MEMORY = 0.7  # weight of the past in the running mean of how long a batch takes


class Batcher:
    """Holds what waits, and works on it in a thread of its own."""

    def __init__(self, reader: ServedReader, settings: ServerSettings, metrics: Metrics) -> None:
        """Prepare an empty queue.

        :param reader: What writes the texts; used by the worker alone, but for checks of prompts.
        :param settings: Batch size and queue length.
        :param metrics: What to count in.
        """
        self._reader, self._settings, self._metrics = reader, settings, metrics
        self._changed = threading.Condition()
        self._waiting: deque[AnyJob] = deque()
        self._admitted = 0  # places that are taken by what is not yet in the queue
        self._draining = self._stopping = False
        self._seconds = 1.0  # that a batch takes, a running mean
        self._thread = threading.Thread(target=self._work, name="zprompt-worker", daemon=True)

    @property
    def healthy(self) -> bool:
        """Say whether requests are taken and worked on."""
        return self._thread.is_alive() and not self._draining

    @property
    def waiting(self) -> int:
        """Count the jobs that wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Keep a place in the queue while a request is checked and submitted.

        :yields: Nothing.
        :raises ApiError: If the queue is full, or the server shuts down.
        """
        with self._changed:
            if self._draining:
                raise shutting_down()
            taken = len(self._waiting) + self._admitted
            if taken >= self._settings.queue_length:
                raise queue_full(taken, self._retry_after(taken))
            self._admitted += 1
        try:
            yield
        finally:
            with self._changed:
                self._admitted -= 1

    def submit(self, job: AnyJob) -> None:
        """Put a job into the place that was kept for it.

        :param job: The job.
        :raises ApiError: If the server began to shut down meanwhile.
        """
        with self._changed:
            if self._draining:
                raise shutting_down()
            self._waiting.append(job)
            self._changed.notify_all()
            self._metrics.waiting.set(len(self._waiting))

    def cancel(self, job: AnyJob) -> None:
        """Give a job up, wherever it is; one that is done does not mind.

        :param job: The job.
        """
        with self._changed:
            job.cancel()
            self._waiting = deque(waiting for waiting in self._waiting if waiting is not job)
            self._metrics.waiting.set(len(self._waiting))

    def drain(self) -> None:
        """Let nothing in any more, and refuse what waits."""
        with self._changed:
            self._draining = True
            for job in self._waiting:
                job.fail(shutting_down())
            self._waiting.clear()
            self._metrics.waiting.set(0)

    def close(self, seconds: float = 5.0) -> None:
        """Drain, give up what still runs, and end the worker.

        :param seconds: How long to wait for the worker, which sees it after its next token.
        """
        self.drain()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _retry_after(self, taken: int) -> int:
        """Estimate when there will be a place: when the next batch begins, if all goes on as it did."""
        batches = max(1, math.ceil(taken / self._settings.batch_size))
        return min(_LONGEST_RETRY, max(1, math.ceil(self._seconds * batches)))

    def _work(self) -> None:
        """Work until told to stop."""
        while jobs := self._take():
            began = time.perf_counter()
            self._metrics.running.set(len(jobs))
            try:
                self._run(jobs)
            except Exception as error:  # noqa: BLE001 - each request that waits is told, and logs it
                for job in jobs:
                    job.fail(error)
            self._metrics.running.set(0)
            self._seconds = _MEMORY * self._seconds + (1 - _MEMORY) * (time.perf_counter() - began)

    def _run(self, jobs: Sequence[AnyJob]) -> None:
        texts = [job for job in jobs if isinstance(job, TextJob)]
        if texts:
            self._write(texts)
        for job in jobs:
            if isinstance(job, CallJob):
                job.run()

    def _take(self) -> list[AnyJob]:
        """Wait for work; nothing means that there will be none."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return []
                if isinstance(self._waiting[0], TextJob):
                    self._wait_for_more()
                if taken := self._next():
                    self._metrics.waiting.set(len(self._waiting))
                    return taken

    def _wait_for_more(self) -> None:
        """Give requests that come at the same time the chance to be written together."""
        size = self._settings.batch_size
        self._changed.wait_for(lambda: len(self._waiting) >= size or self._stopping, self._settings.batch_wait)

    def _next(self) -> list[AnyJob]:
        """Take the first job, and of those behind it what can be done with it; nothing if all were given up."""
        if not self._waiting or isinstance(self._waiting[0], CallJob):
            return [self._waiting.popleft()] if self._waiting else []
        taken: list[AnyJob] = []
        left: deque[AnyJob] = deque()
        room = self._settings.batch_size
        for job in self._waiting:
            if isinstance(job, TextJob) and len(job.prompts) <= room:
                taken.append(job)
                room -= len(job.prompts)
            else:
                left.append(job)
        self._waiting = left
        return taken

    def _write(self, jobs: Sequence[TextJob]) -> None:
        """Write the texts of all jobs together, and hand each job its own."""
        rows = [(job, index) for job in jobs for index in range(len(job.prompts))]
        unfinished = {job: len(job.prompts) for job in jobs}
        self._metrics.batch_size.observe(len(rows))

        def wanted(row: int) -> bool:
            return rows[row][0].wanted and not self._stopping

        prompts = [prompt for job in jobs for prompt in job.prompts]
        options = [own for job in jobs for own in job.options]
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
                job.fail(shutting_down())  # to one that is done it says nothing
