"""Middleware before the routes: the shield against unexpected errors, the API key, the limit on bodies.

These are plain ASGI classes: a dependency of FastAPI runs only after the body has been read.
"""

from __future__ import annotations

import asyncio
import hmac

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zprompt.serve.errors import ApiError, to_api_error


class Shield:
    """Middleware that logs and answers unexpected errors; Starlette's own re-raises them after the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        started = scope["type"] != "http"

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            if started:  # too late for another answer
                raise
            await to_api_error(error).response()(scope, receive, send)


class KeyGuard:
    """Middleware that requires the API key on all of /v1, before a body is read."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        """Guard an application; key=None admits everyone."""
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        guarded = scope["type"] == "http" and (scope["path"] == "/v1" or scope["path"].startswith("/v1/"))
        if guarded and self._key is not None and not self._is_allowed(Headers(scope=scope).get("authorization", "")):
            error = ApiError(
                401,
                "The API key is missing or wrong. Send the key that the server was started with as "
                "'Authorization: Bearer …'.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await error.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_allowed(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        # Headers are decoded as Latin-1, but a shell gives the key in UTF-8. The comparison must take constant time.
        same = hmac.compare_digest(key.strip().encode("latin-1"), (self._key or "").encode())
        return same and scheme.lower() == "bearer"


class BodyLimit:
    """Middleware that reads bodies, up to a size and within a time.

    A body is read as a whole before it is processed, so one that is too large or too slow costs at most the limit, and
    has no effect.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        """Limit the bodies of requests to an application.

        :param app: The application.
        :param max_bytes: Size limit of a body.
        :param seconds: Time limit for its arrival.
        """
        self._app, self._max_bytes, self._seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(scope, receive)
        except ClientDisconnect:
            return  # nobody is left to answer
        except TimeoutError:
            message = f"The request did not arrive within {self._seconds:g} seconds."
            await _refuse(ApiError(408, message, kind="timeout_error", code="request_timeout"), scope, receive, send)
        except ApiError as error:
            await _refuse(error, scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        announced = Headers(scope=scope).get("content-length", "")
        self._check_size(int(announced) if announced.isdecimal() else 0)
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            more = message.get("more_body", False)
            self._check_size(len(body))
        return bytes(body)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise ApiError(
                413,
                f"The request is larger than {self._max_bytes:,} bytes. "
                "Send fewer or shorter texts, or compress them first.",
                code="request_too_large",
            )


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    error.headers["Connection"] = "close"  # the rest of the body is not read
    await error.response()(scope, receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once, and then what follows it: that the client has disconnected."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
