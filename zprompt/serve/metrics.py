"""Metrics for Prometheus.

    zprompt_requests_total{path, status}     zprompt_request_seconds{path}      zprompt_first_piece_seconds
    zprompt_waiting{queue}, zprompt_running{queue}    zprompt_batch_size    zprompt_cancelled_total{reason}
    zprompt_prompt_positions_total           zprompt_z_tokens_total             zprompt_source_tokens_total
    zprompt_generated_tokens_total

Of the prompt positions, `z_tokens` were Z-tokens, which stood for `source_tokens`: compression saved the difference of
the two.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zprompt.reader import Usage

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        # A registry of its own, since a process may hold several servers.
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("zprompt_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "zprompt_request_seconds", "Arrival to last byte.", ["path"], buckets=_SECONDS, registry=registry
        )
        self.first_piece = Histogram(
            "zprompt_first_piece_seconds", "Admission to the first text.", buckets=_SECONDS, registry=registry
        )
        self.waiting = Gauge("zprompt_waiting", "Jobs waiting.", ["queue"], registry=registry)
        self.running = Gauge("zprompt_running", "Jobs running.", ["queue"], registry=registry)
        self.batch_size = Histogram(
            "zprompt_batch_size", "Texts generated together.", buckets=_BATCHES, registry=registry
        )
        self.cancelled = Counter(
            "zprompt_cancelled", "Requests cancelled before they finished.", ["reason"], registry=registry
        )
        self.prompt_positions = Counter("zprompt_prompt_positions", "Positions of prompts.", registry=registry)
        self.z_tokens = Counter("zprompt_z_tokens", "Positions that were Z-tokens.", registry=registry)
        self.source_tokens = Counter(
            "zprompt_source_tokens", "Source tokens that the Z-tokens stood for.", registry=registry
        )
        self.generated_tokens = Counter("zprompt_generated_tokens", "Tokens generated.", registry=registry)

    def count_usage(self, usage: Usage) -> None:
        """Add the usage of one text."""
        self.prompt_positions.inc(usage.prompt_positions)
        self.z_tokens.inc(usage.z_tokens)
        self.source_tokens.inc(usage.source_tokens)
        self.generated_tokens.inc(usage.generated_tokens)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class Meter:
    """Middleware that counts and times requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count and time it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), "none"  # if the client leaves before it gets one

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            # The path of the route, not of the request: clients can make up any number of paths.
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)
