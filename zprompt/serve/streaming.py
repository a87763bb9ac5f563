"""Send answers in OpenAI's format, whole or as server-sent events, to clients that may hang up.

    data: {…chunk…}⏎⏎  …  data: [DONE]⏎⏎        or, if generation fails midway:  data: {"error": {…}}⏎⏎

The status is sent only with the first piece, so that errors before it have a status of their own.

`usage` counts a Z-token as one position; of the prompt's positions, `z_tokens` were Z-tokens, which stand for
`source_tokens`:

    {"prompt_tokens": 120, "completion_tokens": 9, "total_tokens": 129, "z_tokens": 100, "source_tokens": 690}
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from zprompt.reader import Delta, Generation, Usage
from zprompt.serve.errors import to_api_error

T = TypeVar("T")
Json: TypeAlias = dict[str, Any]

DONE = "data: [DONE]\n\n"


class Reply(ABC):
    """The answer to one request, which may have several texts."""

    id_prefix: ClassVar[str]
    whole_object: ClassVar[str]
    chunk_object: ClassVar[str]

    def __init__(self, model: str, fingerprint: str) -> None:
        """Begin an answer of a model whose codec has this fingerprint."""
        self._head: Json = {
            "id": f"{self.id_prefix}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": f"fp_{fingerprint}",
        }

    def whole(self, generations: Sequence[Generation]) -> Json:
        """Return the whole answer."""
        choices = [self._choice(index, generation) for index, generation in enumerate(generations)]
        usage = _usage([generation.usage for generation in generations])
        return {**self._head, "object": self.whole_object, "choices": choices, "usage": usage}

    def chunks(self, delta: Delta, first: bool) -> list[Json]:
        """Return the events for a piece of a text; `first` also opens the text."""
        return [self._chunk([choice]) for choice in self._chunk_choices(delta, first)]

    def usage_chunk(self, usages: Sequence[Usage]) -> Json:
        """Return the event that ends a stream with the usage of its texts."""
        return {**self._chunk([]), "usage": _usage(usages)}

    @abstractmethod
    def _choice(self, index: int, generation: Generation) -> Json: ...

    @abstractmethod
    def _chunk_choices(self, delta: Delta, first: bool) -> Iterable[Json]: ...

    def _chunk(self, choices: list[Json]) -> Json:
        return {**self._head, "object": self.chunk_object, "choices": choices}


class ChatReply(Reply):
    """The reply to a conversation."""

    id_prefix, whole_object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def _choice(self, index: int, generation: Generation) -> Json:
        message = {"role": "assistant", "content": generation.text, "refusal": None}
        return {"index": index, "message": message, "logprobs": None, "finish_reason": generation.finish_reason}

    def _chunk_choices(self, delta: Delta, first: bool) -> Iterable[Json]:
        def choice(content: dict[str, str], finish_reason: str | None = None) -> Json:
            return {"index": delta.index, "delta": content, "logprobs": None, "finish_reason": finish_reason}

        if first:
            yield choice({"role": "assistant", "content": ""})
        if delta.text:
            yield choice({"content": delta.text})
        if delta.generation:
            yield choice({}, delta.generation.finish_reason)


class CompletionReply(Reply):
    """The continuations of texts."""

    id_prefix, whole_object, chunk_object = "cmpl", "text_completion", "text_completion"

    def _choice(self, index: int, generation: Generation) -> Json:
        return {
            "index": index,
            "text": generation.text,
            "logprobs": None,
            "finish_reason": generation.finish_reason,
        }

    def _chunk_choices(self, delta: Delta, first: bool) -> Iterable[Json]:
        if delta.text or delta.generation:
            finish_reason = delta.generation.finish_reason if delta.generation else None
            yield {"index": delta.index, "text": delta.text, "logprobs": None, "finish_reason": finish_reason}


def _usage(usages: Sequence[Usage]) -> dict[str, int]:
    prompt = sum(usage.prompt_positions for usage in usages)
    generated = sum(usage.generated_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "z_tokens": sum(usage.z_tokens for usage in usages),
        "source_tokens": sum(usage.source_tokens for usage in usages),
    }


class EventStream(StreamingResponse):
    """Server-sent events, with a callback for the end."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], ended: Callable[[], None]) -> None:
        """Stream events, and call `ended` at their end or when the client has left."""
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the latter is for nginx
        super().__init__(events, headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


async def stream_events(reply: Reply, deltas: AsyncIterator[Delta], include_usage: bool) -> AsyncIterator[str]:
    """Turn pieces of texts into events.

    :param reply: The format.
    :param deltas: The pieces.
    :param include_usage: Whether the last event has the usage, and all others a null one.
    :yields: The events.
    """
    extra: Mapping[str, Any] = {"usage": None} if include_usage else {}
    begun: set[int] = set()
    usages: list[Usage] = []
    try:
        async for delta in deltas:
            for chunk in reply.chunks(delta, first=delta.index not in begun):
                yield _event({**chunk, **extra})
            begun.add(delta.index)
            if delta.generation:
                usages.append(delta.generation.usage)
    except Exception as error:  # noqa: BLE001 - the status has been sent
        yield _event(to_api_error(error).body)
        return
    if include_usage:
        yield _event(reply.usage_chunk(usages))
    yield DONE


def _event(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content, separators=(',', ':'))}\n\n"


class ClientLeftError(Exception):
    """The client has closed the connection."""


async def unless_disconnected(request: Request, work: Awaitable[T]) -> T:
    """Await work, and cancel it if the client hangs up.

    :param request: The client's request, whose body has been read.
    :param work: What to await.
    :return: The result of the work.
    :raises ClientLeftError: If the client has hung up.
    """
    task = asyncio.ensure_future(work)
    disconnection = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, disconnection), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeftError
    finally:
        task.cancel()
        disconnection.cancel()
        await asyncio.gather(task, disconnection, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Deadline:
    """The moment by which a request must be answered; waiting longer raises TimeoutError."""

    def __init__(self, seconds: float) -> None:
        """Set the deadline to `seconds` from now."""
        self.seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    async def wait(self, work: Awaitable[T]) -> T:
        """Await a result."""
        async with asyncio.timeout_at(self._at):
            return await work

    async def each(self, results: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield results as they arrive."""
        while True:
            try:
                result = await self.wait(anext(results))
            except StopAsyncIteration:
                return
            yield result
