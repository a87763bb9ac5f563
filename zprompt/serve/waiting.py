"""Wait for a result, but not for ever, and not for a client that has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from fastapi import Request

T = TypeVar("T")


class ClientLeftError(Exception):
    """The client has closed the connection."""


async def unless_it_leaves(request: Request, work: Awaitable[T]) -> T:
    """Wait for something, or until the client hangs up.

    :param request: The client's request, whose body was read.
    :param work: What is waited for; it is cancelled when it is not wanted any more.
    :return: Its result.
    :raises ClientLeftError: If the client has left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_until_it_leaves(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeftError
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _until_it_leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Deadline:
    """The moment until which a request must be answered."""

    def __init__(self, seconds: float) -> None:
        """Begin now.

        :param seconds: How long there is.
        """
        self.seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    async def wait(self, work: Awaitable[T]) -> T:
        """Wait for something until then.

        :param work: What is waited for.
        :return: Its result.
        """
        async with asyncio.timeout_at(self._at):
            return await work

    async def each(self, results: AsyncIterator[T]) -> AsyncIterator[T]:
        """Give results as they come, until then.

        :param results: The results.
        :yields: A result.
        """
        while True:
            try:
                result = await self.wait(anext(results))
            except StopAsyncIteration:
                return
            yield result
