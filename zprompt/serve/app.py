"""The reader over HTTP, in the form of OpenAI's API: settings, routes, and how a request waits for its results.

POST /v1/chat/completions, /v1/completions      texts, whole or streamed; prompts may hold Z-spans
POST /v1/compress, /v1/decompress               documents, which go back in the form in which they came
POST /v1/compress, GET /v1/retrieve/{hash}      messages for any LLM, and their originals: for gateways
GET  /v1/models, /v1/models/{name}              the one model
GET  /healthz, /metrics                         without a key, for load balancers and Prometheus
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, cast

from fastapi import APIRouter, Depends, FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from zprompt import __version__
from zprompt.errors import OptionError
from zprompt.messages import MessageShortener, ShortenedMessages
from zprompt.originals import Originals
from zprompt.progress import Progress
from zprompt.reader import Delta, GenerateOptions, Generation, PreparedPrompt, Reader
from zprompt.serve.errors import ApiError, AsciiJSONResponse, handle_errors, timed_out
from zprompt.serve.metrics import Meter, Metrics
from zprompt.serve.middleware import BodyLimit, KeyGuard, Shield
from zprompt.serve.queue import CallJob, CallQueue, TextJob, TextQueue
from zprompt.serve.schemas import (
    ChatRequest,
    CompletionRequest,
    CompressBody,
    DecompressRequest,
    MessagesRequest,
    TextRequest,
)
from zprompt.serve.streaming import (
    ChatReply,
    ClientLeftError,
    CompletionReply,
    Deadline,
    EventStream,
    Reply,
    stream_events,
    unless_disconnected,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The options of one server."""

    model: str = "zprompt"  # the name that requests must give as their model
    api_key: str | None = None  # what clients must send as a bearer token; None: no key is needed
    max_request_bytes: int = 1 << 20  # of a request's body
    timeout: float = 300.0  # seconds a request may take, from its arrival to its last byte
    queue_length: int = 64  # requests that wait while others are worked on; one more is answered with 429
    batch_size: int = 16  # texts that are generated together
    batch_wait: float = 0.01  # seconds that an idle worker waits for more texts to fill a batch
    default_new_tokens: int = 256  # the limit of a text where a request has none
    shutdown_timeout: float = 30.0  # seconds that running requests have to finish once the server is to stop
    originals: Path | None = None  # SQLite file of what shortened messages name; None: in memory
    originals_bytes: int = 1 << 30  # of all texts in it

    def __post_init__(self) -> None:
        for name in ("max_request_bytes", "queue_length", "batch_size", "default_new_tokens"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.originals_bytes < self.max_request_bytes:
            raise OptionError(
                f"originals_bytes must be at least max_request_bytes, {self.max_request_bytes:,}, so that those of one "
                f"request fit, got {self.originals_bytes:,}."
            )
        if not self.timeout > 0:
            raise OptionError(f"timeout must be above 0 seconds, got {self.timeout}.")
        for name in ("batch_wait", "shutdown_timeout"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name} must be 0 seconds or more, got {getattr(self, name)}.")
        if not self.model:
            raise OptionError("The model's name is empty. Leave it out for 'zprompt'.")
        if self.api_key is not None and not self.api_key.strip():
            raise OptionError("The API key is empty, so everyone could guess it. Give one, or leave it out for none.")


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
                f"There is no model {name!r}. This server has {self.settings.model!r}.",
                code="model_not_found",
                param="model",
            )

    async def call(self, request: Request, queue: CallQueue, work: Callable[[Progress], T]) -> T:
        """Let a queue's worker make a call, and return the result."""
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
        """Begin to generate the texts of a request, and wait for the first piece.

        :param request: The client's request.
        :param body: Its body.
        :return: The pieces, and what to call when no more of them are wanted.
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
                f"The request has {len(body.prompts)} prompts, but {self.settings.batch_size} may be in one. "
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
        return [self.reader.prepare(prompt, own) for prompt, own in zip(prompts, options, strict=True)], options

    def _default_new_tokens(self, prompt: PreparedPrompt) -> int:
        """Return the usual limit, or the rest of the context; a prompt that leaves none is refused later."""
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


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Injected: TypeAlias = Annotated[Service, Depends(_service)]
router = APIRouter()


@router.post("/v1/chat/completions")
async def _chat(body: ChatRequest, request: Request, service: Injected) -> Response:
    """Reply to a conversation, whose messages may hold Z-spans."""
    return await _answer(body, request, service, ChatReply)


@router.post("/v1/completions")
async def _complete(body: CompletionRequest, request: Request, service: Injected) -> Response:
    """Continue texts, which may hold Z-spans."""
    return await _answer(body, request, service, CompletionReply)


async def _answer(body: TextRequest, request: Request, service: Service, kind: type[Reply]) -> Response:
    service.check_model(body.model)
    reply = kind(service.settings.model, service.reader.codec.fingerprint)
    if body.stream:
        deltas, ended = await service.stream(request, body)
        return EventStream(stream_events(reply, deltas, body.wants_usage), ended)
    return AsciiJSONResponse(reply.whole(await service.generate(request, body)))


@router.post("/v1/compress")
async def _compress(body: CompressBody, request: Request, service: Injected) -> Response:
    """Turn texts into Z-spans, or shorten messages for any LLM."""
    if isinstance(body, MessagesRequest):
        return await _shorten(body, request, service)
    service.check_model(body.model)
    codec, options = service.reader.codec, body.options()
    result = await service.call(
        request,
        service.conversions,
        lambda progress: codec.compress_with(options, body.input, progress=progress),
    )
    head = _conversion_head("compression", service)
    return AsciiJSONResponse({**head, "output": result.documents, "stats": result.stats.to_dict()})


async def _shorten(body: MessagesRequest, request: Request, service: Service) -> Response:
    """Leave out of messages what no question needs, and keep the originals of those that say so."""
    retrievable = body.config.mode == "ccr"

    def work(progress: Progress) -> ShortenedMessages:
        result = service.shortener.shorten(
            body.messages,
            query=body.query,
            ratio=body.ratio,
            min_tokens=body.min_tokens,
            mark=retrievable,
            check=lambda: progress("compress", 0, 1),
        )
        service.originals.keep(result.originals)
        return result

    result = await service.call(request, service.messages, work)
    return AsciiJSONResponse(
        {
            "messages": result.messages,
            "tokens_before": result.tokens_before,
            "tokens_after": result.tokens_after,
            "tokens_saved": result.tokens_before - result.tokens_after,
            "compression_ratio": result.tokens_after / max(1, result.tokens_before),  # as this contract has it
            "ccr_hashes": list(result.originals),
        }
    )


@router.get("/v1/retrieve/{key}")
async def _retrieve(key: str, service: Injected) -> Response:
    """Return the original of a shortened text, by the hash that its mark names."""
    return AsciiJSONResponse({"hash": key, "original_content": await asyncio.to_thread(service.originals.get, key)})


@router.post("/v1/decompress")
async def _decompress(body: DecompressRequest, request: Request, service: Injected) -> Response:
    """Restore the texts of Z-spans, wherever they stand."""
    service.check_model(body.model)
    codec = service.reader.codec
    output = await service.call(
        request, service.conversions, lambda progress: codec.decompress(body.input, progress=progress)
    )
    return AsciiJSONResponse({**_conversion_head("decompression", service), "output": output})


def _conversion_head(kind: str, service: Service) -> dict[str, Any]:
    return {"object": kind, "model": service.settings.model, "codec": service.reader.codec.fingerprint}


@router.get("/v1/models")
async def _models(service: Injected) -> Response:
    """List the one model."""
    return AsciiJSONResponse({"object": "list", "data": [_model(service)]})


@router.get("/v1/models/{name:path}")
async def _one_model(name: str, service: Injected) -> Response:
    """Describe the model."""
    service.check_model(name)
    return AsciiJSONResponse(_model(service))


def _model(service: Service) -> dict[str, Any]:
    return {
        "id": service.settings.model,
        "object": "model",
        "created": service.started,
        "owned_by": "zprompt",
        "max_model_len": service.reader.max_positions,  # as vLLM calls it
        "codec": service.reader.codec.fingerprint,
    }


@router.get("/healthz")
async def _health(service: Injected) -> Response:
    """Answer 200 while requests are taken, else 503."""
    healthy = all(queue.healthy for queue in service.queues)
    waiting = sum(queue.waiting for queue in service.queues)
    return AsciiJSONResponse(
        {"status": "ok" if healthy else "shutting down", "waiting": waiting}, 200 if healthy else 503
    )


@router.get("/metrics")
async def _metrics(service: Injected) -> Response:
    """Return all metrics to Prometheus."""
    return Response(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def create_app(reader: Reader, settings: ServerSettings) -> FastAPI:
    """Return the ASGI application that serves a reader; `app.state.service` has its parts."""
    metrics = Metrics()
    service = Service(
        reader,
        settings,
        metrics,
        TextQueue(
            reader,
            metrics,
            length=settings.queue_length,
            batch_size=settings.batch_size,
            batch_wait=settings.batch_wait,
        ),
        CallQueue("conversions", metrics, settings.queue_length),
        CallQueue("messages", metrics, settings.queue_length),
        MessageShortener(),
        Originals(settings.originals, settings.originals_bytes),
        int(time.time()),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for queue in service.queues:
            queue.start()
        yield
        for queue in service.queues:
            await asyncio.to_thread(queue.close)
        service.originals.close()

    # No pages of documentation: they would load their scripts from elsewhere. /openapi.json is there.
    app = FastAPI(title="zprompt", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(router)
    handle_errors(app)
    # Middleware that is added last runs first.
    app.add_middleware(BodyLimit, max_bytes=settings.max_request_bytes, seconds=settings.timeout)
    app.add_middleware(KeyGuard, key=settings.api_key)
    app.add_middleware(Shield)
    app.add_middleware(Meter, metrics=metrics)
    return app
