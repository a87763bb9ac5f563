"""Admit requests to a queue, and wait for their results until the deadline passes or the client leaves.

A request is read and checked before it waits, and before others wait for it; its time counts from then on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from fastapi import Request

from zprompt.errors import OptionError
from zprompt.messages import MessageShortener
from zprompt.originals import Originals
from zprompt.progress import Progress
from zprompt.reader import Delta, GenerateOptions, Generation, PreparedPrompt, Reader
from zprompt.serve.errors import ApiError, timed_out
from zprompt.serve.metrics import Metrics
from zprompt.serve.queue import CallJob, CallQueue, TextJob, TextQueue
from zprompt.serve.schemas import TextRequest
from zprompt.serve.streaming import ClientLeftError, Deadline, unless_disconnected

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The options of one server."""

    model: str = "zprompt"  # model name that requests must have
    api_key: str | None = None  # bearer token that clients must send; None: no key is needed
    max_request_bytes: int = 1 << 20  # of a request's body
    timeout: float = 300.0  # seconds from a request's arrival to its last byte
    queue_length: int = 64  # requests that may wait; one more gets 429
    batch_size: int = 16  # texts generated together
    batch_wait: float = 0.01  # seconds that an idle worker waits for more texts to fill a batch
    default_new_tokens: int = 256  # limit of a text if the request has none
    shutdown_timeout: float = 30.0  # seconds that running requests have to finish when the server stops
    originals: Path | None = None  # SQLite file of originals of shortened messages; None: in memory
    originals_bytes: int = 1 << 30  # of all texts in it

    def __post_init__(self) -> None:
        for name in ("max_request_bytes", "queue_length", "batch_size", "default_new_tokens"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.originals_bytes < self.max_request_bytes:
            raise OptionError(
                f"originals_bytes must be at least max_request_bytes, {self.max_request_bytes:,}, so that the "
                f"originals of one request fit, got {self.originals_bytes:,}."
            )
        if not self.timeout > 0:
            raise OptionError(f"timeout must be above 0 seconds, got {self.timeout}.")
        for name in ("batch_wait", "shutdown_timeout"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name} must be 0 seconds or more, got {getattr(self, name)}.")
        if not self.model:
            raise OptionError("The model's name is empty. Leave it out for 'zprompt'.")
        if self.api_key is not None and not self.api_key.strip():
            raise OptionError("The API key is empty, so anyone could guess it. Pass one, or leave it out for none.")


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes share: reader and queues, and how a request waits for its results."""

    reader: Reader
    settings: ServerSettings
    metrics: Metrics
    texts: TextQueue
    conversions: CallQueue  # calls of the codec
    messages: CallQueue  # to shorten, which takes milliseconds: a conversion may take minutes
    shortener: MessageShortener
    originals: Originals
    started: int  # Unix time

    @property
    def queues(self) -> tuple[TextQueue, CallQueue, CallQueue]:
        """Return all queues."""
        return self.texts, self.conversions, self.messages

    def check_model(self, name: str | None) -> None:
        """Raise ApiError if a request names another model; None is any."""
        if name is not None and name != self.settings.model:
            raise ApiError(
                404,
                f"No model {name!r} here. This server has {self.settings.model!r}.",
                code="model_not_found",
                param="model",
            )

    async def call(self, request: Request, queue: CallQueue, work: Callable[[Progress], T]) -> T:
        """Run a call in a queue's worker, and return the result."""
        deadline = Deadline(self.settings.timeout)
        with queue.admit():
            job = CallJob(work)
            queue.submit(job)
        try:
            [result] = await self._wait(request, deadline, _all(aiter(job)))
            return cast(T, result)
        finally:
            queue.cancel(job)

    async def generate(self, request: Request, body: TextRequest) -> list[Generation]:
        """Generate the texts of a request."""
        deadline, began = Deadline(self.settings.timeout), time.perf_counter()
        job = await self._submit(body, deadline)
        try:
            deltas = await self._wait(request, deadline, _all(self._timed(aiter(job), began)))
        finally:
            self.texts.cancel(job)
        done = {delta.index: delta.generation for delta in deltas if delta.generation}
        return [done[index] for index in range(len(job.prompts))]

    async def stream(self, request: Request, body: TextRequest) -> tuple[AsyncIterator[Delta], Callable[[], None]]:
        """Start generating the texts of a request, and wait for the first piece.

        :param request: The client's request.
        :param body: Its body.
        :return: The pieces, and a function to call when no more of them are wanted.
        """
        deadline, began = Deadline(self.settings.timeout), time.perf_counter()
        job = await self._submit(body, deadline)
        deltas = self._timed(aiter(job), began)
        try:
            first = await self._wait(request, deadline, anext(deltas))
        except BaseException:
            self.texts.cancel(job)
            raise
        finished = False

        async def pieces() -> AsyncIterator[Delta]:
            nonlocal finished
            yield first
            try:
                async for delta in deadline.each(deltas):
                    yield delta
            except TimeoutError as error:
                self._count_cancelled("timeout")
                finished = True
                raise timed_out(deadline.seconds) from error
            except Exception:
                finished = True  # a failure is no cancellation
                raise
            finished = True

        def ended() -> None:
            if not finished:
                self._count_cancelled("client_left")
            self.texts.cancel(job)

        return pieces(), ended

    async def _submit(self, body: TextRequest, deadline: Deadline) -> TextJob:
        """Read and check the prompts of a request, and put it into the queue."""
        if len(body.prompts) > self.settings.batch_size:
            raise ApiError(
                400,
                f"The request has {len(body.prompts)} prompts, but at most {self.settings.batch_size} are allowed. "
                "Send several requests.",
                code="too_many_prompts",
                param="prompt",
            )
        with self.texts.admit():
            try:
                prompts, options = await deadline.wait(asyncio.to_thread(self._prepare, body))
            except TimeoutError as error:
                raise timed_out(deadline.seconds) from error
            job = TextJob(prompts, options)
            self.texts.submit(job)
        return job

    def _prepare(self, body: TextRequest) -> tuple[list[PreparedPrompt], list[GenerateOptions]]:
        """Read the prompts, and find all errors before the request waits, and before others wait for it."""
        prompts = [self.reader.prepare(prompt) for prompt in body.prompts]
        options = [body.options(body.new_tokens or self._default_new_tokens(prompt)) for prompt in prompts]
        return [
            self.reader.prepare(prompt, prompt_options) for prompt, prompt_options in zip(prompts, options, strict=True)
        ], options

    def _default_new_tokens(self, prompt: PreparedPrompt) -> int:
        """Return the default limit, or the rest of the context if less; 1 if there is none, which `prepare` refuses."""
        room = self.reader.max_positions - prompt.size.positions
        return max(1, min(self.settings.default_new_tokens, room))

    async def _wait(self, request: Request, deadline: Deadline, work: Awaitable[T]) -> T:
        """Await the worker, until the deadline passes or the client leaves."""
        try:
            return await unless_disconnected(request, deadline.wait(work))
        except TimeoutError as error:
            self._count_cancelled("timeout")
            raise timed_out(deadline.seconds) from error
        except ClientLeftError as error:
            self._count_cancelled("client_left")
            raise ApiError(499, "The client has left.") from error  # nginx's status; nobody reads it

    async def _timed(self, deltas: AsyncIterator[Delta], began: float) -> AsyncIterator[Delta]:
        """Measure the time until the first piece."""
        first = True
        async for delta in deltas:
            if first:
                self.metrics.first_piece.observe(time.perf_counter() - began)
                first = False
            yield delta

    def _count_cancelled(self, reason: str) -> None:
        self.metrics.cancelled.labels(reason).inc()


async def _all(results: AsyncIterator[T]) -> list[T]:
    return [result async for result in results]
