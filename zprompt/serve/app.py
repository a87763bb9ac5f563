"""Put the parts of a server together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from zprompt import __version__
from zprompt.serve import about, conversion, generation
from zprompt.serve.auth import KeyGuard
from zprompt.serve.batcher import Batcher
from zprompt.serve.errors import Shield, handle_errors
from zprompt.serve.limits import BodyLimit
from zprompt.serve.metrics import Meter, Metrics
from zprompt.serve.protocol import ServedReader
from zprompt.serve.service import Service
from zprompt.serve.settings import ServerSettings


def create_app(reader: ServedReader, settings: ServerSettings) -> FastAPI:
    """Make the application that serves a reader.

    :param reader: The reader.
    :param settings: How to behave.
    :return: An ASGI application; `app.state.service` has its parts.
    """
    metrics = Metrics()
    service = Service(reader, settings, metrics, Batcher(reader, settings, metrics), int(time.time()))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        await asyncio.to_thread(service.batcher.close)

    # No pages of documentation: they would fetch their scripts from elsewhere. /openapi.json is there.
    app = FastAPI(title="zprompt", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    for part in (generation, conversion, about):
        app.include_router(part.router)
    handle_errors(app)
    # The last one is passed first.
    app.add_middleware(BodyLimit, max_bytes=settings.max_request_bytes, seconds=settings.timeout)
    app.add_middleware(KeyGuard, key=settings.api_key)
    app.add_middleware(Shield)
    app.add_middleware(Meter, metrics=metrics)
    return app
