"""Bound what a request's body may cost: its bytes, and the time until they are here.

A body is read as a whole before anything is done with it, so one that is too large or too slow has cost at most the
limit, and has changed nothing.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zprompt.serve.errors import ApiError, arrived_too_slowly, too_large


class BodyLimit:
    """Middleware that reads bodies, up to a size and within a time."""

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        """Stand before an application.

        :param app: The application.
        :param max_bytes: The largest body that is let through.
        :param seconds: How long it may take to arrive.
        """
        self._app, self._max_bytes, self._seconds = app, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it.

        :param scope: What is asked.
        :param receive: Gives its body.
        :param send: Takes the response.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except ApiError as error:
            await error.response()(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is there to be answered
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise too_large(self._max_bytes)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._collect(receive)
        except TimeoutError as error:
            raise arrived_too_slowly(self._seconds) from error

    async def _collect(self, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                raise too_large(self._max_bytes)
        return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body once, and after it what comes: the news that the client has left."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
