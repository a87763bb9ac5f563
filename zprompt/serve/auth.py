"""Let in whoever has the key.

All that costs something, /v1/…, needs the key; /healthz and /metrics do not, so that a load balancer and Prometheus
need not know it. A request is refused before its body is read.
"""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from zprompt.serve.errors import wrong_key

GUARDED = "/v1"  # this path, and all below it


class KeyGuard:
    """Middleware that asks for the API key."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        """Stand before an application.

        :param app: The application.
        :param key: The key; None lets everyone in.
        """
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it.

        :param scope: What is asked.
        :param receive: Gives its body.
        :param send: Takes the response.
        """
        if scope["type"] == "http" and self._key is not None and _is_guarded(scope["path"]):
            given = Headers(scope=scope).get("authorization", "")
            if not _is_bearer_of(self._key, given):
                await wrong_key().response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_guarded(path: str) -> bool:
    return path == GUARDED or path.startswith(GUARDED + "/")


def _is_bearer_of(key: str, authorization: str) -> bool:
    """Compare in a time that does not tell how much of a guess was right."""
    scheme, _, given = authorization.partition(" ")
    # Headers are decoded as Latin-1, a key comes from a shell as UTF-8.
    same = hmac.compare_digest(given.strip().encode("latin-1"), key.encode())
    return same and scheme.lower() == "bearer"
