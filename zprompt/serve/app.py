"""The routes of the server, and the app that has them.

POST /v1/chat/completions, /v1/completions      texts, whole or streamed; prompts may hold Z-spans
POST /v1/compress, /v1/decompress               documents, returned in the form in which they came
POST /v1/compress, GET /v1/retrieve/{hash}      messages for any LLM, and their originals: for gateways
GET  /v1/models, /v1/models/{name}              the one model
GET  /healthz, /metrics                         without a key, for load balancers and Prometheus
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from zprompt import __version__
from zprompt.messages import MessageShortener, ShortenedMessages
from zprompt.originals import Originals
from zprompt.progress import Progress
from zprompt.reader import Reader
from zprompt.serve.errors import AsciiJSONResponse, handle_errors
from zprompt.serve.metrics import Meter, Metrics
from zprompt.serve.middleware import BodyLimit, KeyGuard, Shield
from zprompt.serve.queue import CallQueue, TextQueue
from zprompt.serve.schemas import (
    ChatRequest,
    CompletionRequest,
    CompressBody,
    DecompressRequest,
    MessagesRequest,
    TextRequest,
)
from zprompt.serve.service import ServerSettings, Service
from zprompt.serve.streaming import (
    ChatReply,
    CompletionReply,
    EventStream,
    Reply,
    stream_events,
)


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
    """Shorten messages, and keep the originals that they name."""
    retrievable = body.config.mode == "ccr"

    def shorten(progress: Progress) -> ShortenedMessages:
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

    result = await service.call(request, service.messages, shorten)
    return AsciiJSONResponse(
        {
            "messages": result.messages,
            "tokens_before": result.tokens_before,
            "tokens_after": result.tokens_after,
            "tokens_saved": result.tokens_before - result.tokens_after,
            "compression_ratio": result.tokens_after
            / max(1, result.tokens_before),  # the inverse of a ratio elsewhere, by the gateways' contract
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
        "max_model_len": service.reader.max_positions,  # vLLM's name
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
    """Create the ASGI application that serves a reader; `app.state.service` is its service."""
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

    # No documentation pages: they would load scripts from other sites. /openapi.json is there.
    app = FastAPI(title="zprompt", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(router)
    handle_errors(app)
    # The middleware added last runs first.
    app.add_middleware(BodyLimit, max_bytes=settings.max_request_bytes, seconds=settings.timeout)
    app.add_middleware(KeyGuard, key=settings.api_key)
    app.add_middleware(Shield)
    app.add_middleware(Meter, metrics=metrics)
    return app
