"""Send a text while it is written, as server-sent events in OpenAI's form.

    data: {…chunk…}⏎⏎  …  data: [DONE]⏎⏎        or, if it goes wrong in the middle:  data: {"error": {…}}⏎⏎

The status is sent with the first piece and not before: what goes wrong until then still gets a status of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from zprompt.reader import Delta, Usage
from zprompt.serve.errors import to_api_error
from zprompt.serve.replies import Reply

DONE = "data: [DONE]\n\n"


class EventStream(StreamingResponse):
    """A stream that tells when it has ended, however it did."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], ended: Callable[[], None]) -> None:
        """Prepare to send.

        :param events: The events.
        :param ended: Called once no more will be sent: all was, or the client has left.
        """
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the latter is for nginx
        super().__init__(events, headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events.

        :param scope: What was asked.
        :param receive: Tells when the client leaves.
        :param send: Takes the response.
        """
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


async def write_events(reply: Reply, deltas: AsyncIterator[Delta], include_usage: bool) -> AsyncIterator[str]:
    """Write texts as events.

    :param reply: How they go back.
    :param deltas: Their pieces.
    :param include_usage: Whether to say in the end what they took; then all other events say null.
    :yields: An event.
    """
    extra: Mapping[str, Any] = {"usage": None} if include_usage else {}
    begun: set[int] = set()
    usages: list[Usage] = []
    try:
        async for delta in deltas:
            opening = None if delta.index in begun else reply.opening(delta.index)
            begun.add(delta.index)
            for event in ([opening] if opening else []) + list(reply.pieces(delta)):
                yield _event({**event, **extra})
            if delta.generation:
                usages.append(delta.generation.usage)
    except Exception as error:  # noqa: BLE001 - the status was sent long ago
        yield _event(to_api_error(error).body)
        return
    if include_usage:
        yield _event(reply.closing(usages))
    yield DONE


def _event(content: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(content, separators=(',', ':'))}\n\n"
