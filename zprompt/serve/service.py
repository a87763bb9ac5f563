"""What the routes share: the reader, the queue, and how a request waits for its results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request

from zprompt.progress import Progress
from zprompt.reader import Delta, GenerateOptions, Generation
from zprompt.serve.batcher import Batcher
from zprompt.serve.errors import ApiError, took_too_long, unknown_model
from zprompt.serve.jobs import CallJob, TextJob
from zprompt.serve.metrics import Metrics
from zprompt.serve.protocol import Prompt, ServedReader
from zprompt.serve.schemas import TextRequest
from zprompt.serve.settings import ServerSettings
from zprompt.serve.waiting import ClientLeftError, Deadline, unless_it_leaves

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that a request needs."""

    reader: ServedReader
    settings: ServerSettings
    metrics: Metrics
    batcher: Batcher
    started: int  # Unix time

    def check_model(self, name: str | None) -> None:
        """Refuse a model that is not here.

        :param name: What was asked for; None: whatever there is.
        :raises ApiError: If it is another one.
        """
        if name is not None and name != self.settings.model:
            raise unknown_model(name, self.settings.model)

    async def call(self, request: Request, work: Callable[[Progress], Any]) -> Any:  # noqa: ANN401 - what it returns
        """Let the worker do something with the codec.

        :param request: The client's request.
        :param work: Takes what it is to tell its progress, and gives the result.
        :return: The result.
        """
        deadline = Deadline(self.settings.timeout)
        with self.batcher.admit():
            job = CallJob(work)
            self.batcher.submit(job)
        try:
            [result] = await self._wait(request, deadline, _all(aiter(job)))
            return result
        finally:
            self.batcher.cancel(job)

    async def write(self, request: Request, asked: TextRequest) -> list[Generation]:
        """Write the texts of a request.

        :param request: The client's request.
        :param asked: What is asked for.
        :return: The texts.
        """
        deadline, began = Deadline(self.settings.timeout), time.perf_counter()
        job = await self._submit(asked, deadline)
        try:
            deltas = await self._wait(request, deadline, _all(self._timed(aiter(job), began)))
        finally:
            self.batcher.cancel(job)
        done = {delta.index: delta.generation for delta in deltas if delta.generation}
        return [done[index] for index in range(len(job.prompts))]

    async def begin(self, request: Request, asked: TextRequest) -> tuple[AsyncIterator[Delta], Callable[[], None]]:
        """Begin to write the texts of a request, and wait for the first piece.

        :param request: The client's request.
        :param asked: What is asked for.
        :return: The pieces, and what to call when no more of them are wanted.
        """
        deadline, began = Deadline(self.settings.timeout), time.perf_counter()
        job = await self._submit(asked, deadline)
        deltas = self._timed(aiter(job), began)
        try:
            first = await self._wait(request, deadline, anext(deltas))
        except BaseException:
            self.batcher.cancel(job)
            raise
        finished = False

        async def pieces() -> AsyncIterator[Delta]:
            nonlocal finished
            yield first
            try:
                async for delta in deadline.each(deltas):
                    yield delta
            except TimeoutError as error:
                self._count_given_up("timeout")
                finished = True
                raise took_too_long(deadline.seconds) from error
            finished = True

        def ended() -> None:
            if not finished:
                self._count_given_up("client_left")
            self.batcher.cancel(job)

        return pieces(), ended

    async def _submit(self, asked: TextRequest, deadline: Deadline) -> TextJob:
        """Check a request, and put it into the queue."""
        prompts, limit = asked.prompts, self.settings.batch_size
        if len(prompts) > limit:
            raise ApiError(
                400,
                f"The request has {len(prompts)} prompts, but {limit} may be in one. Send several requests.",
                code="too_many_prompts",
                param="prompt",
            )
        with self.batcher.admit():
            try:
                options = await deadline.wait(asyncio.to_thread(self._check, asked))
            except TimeoutError as error:
                raise took_too_long(deadline.seconds) from error
            job = TextJob(prompts, options)
            self.batcher.submit(job)
        return job

    def _check(self, asked: TextRequest) -> list[GenerateOptions]:
        """Find whatever is wrong with a request before it waits, and before others wait for it."""
        prompts = asked.prompts
        options = [asked.options(asked.new_tokens or self._default_new_tokens(prompt)) for prompt in prompts]
        self.reader.run(prompts, options, len(prompts), lambda _: True).close()  # it checks before it begins
        return options

    def _default_new_tokens(self, prompt: Prompt) -> int:
        """Take the usual limit, or what is left of the context; a prompt that leaves nothing is refused later."""
        room = self.reader.max_positions - self.reader.count(prompt).positions
        return max(1, min(self.settings.default_new_tokens, room))

    async def _wait(self, request: Request, deadline: Deadline, work: Awaitable[T]) -> T:
        """Wait for the worker, until the deadline, or until the client leaves."""
        try:
            return await unless_it_leaves(request, deadline.wait(work))
        except TimeoutError as error:
            self._count_given_up("timeout")
            raise took_too_long(deadline.seconds) from error
        except ClientLeftError as error:
            self._count_given_up("client_left")
            raise ApiError(499, "The client has left.") from error  # which nobody reads; nginx has this status, too

    async def _timed(self, deltas: AsyncIterator[Delta], began: float) -> AsyncIterator[Delta]:
        """Take the time until the first piece."""
        waiting = True
        async for delta in deltas:
            if waiting:
                self.metrics.first_piece.observe(time.perf_counter() - began)
                waiting = False
            yield delta

    def _count_given_up(self, reason: str) -> None:
        self.metrics.cancelled.labels(reason).inc()


async def _all(results: AsyncIterator[T]) -> list[T]:
    return [result async for result in results]


def service_of(request: Request) -> Service:
    """Give what the application was made with.

    :param request: A request.
    :return: The service.
    """
    service: Service = request.app.state.service
    return service
