"""Relevance and compression behind Ray Serve: replicas on many machines, any of which may die.

    client ──► Gateway (no model) ──► Shortener, a replica for each core or GPU that you give it
                    503, Retry-After ◄── it died, or the queue is full

A replica that dies loses its requests. Shortening has no side effects, so the gateway asks another replica, and if that
fails too, it tells the client to try again later. With "form": "text" no LLM is loaded.

    pip install 'zprompt' 'ray[serve]'
    serve run examples.ray_serve:app                     # or: RAY_ADDRESS=… serve run … on a cluster
    curl localhost:8000 -d '{"passages": ["The keeper lit the lamp.", "…"], "query": "Who lit it?", "form": "text"}'

More replicas: `serve deploy` with a config in which Shortener has num_replicas, or autoscaling_config.
"""

import asyncio
import os
from typing import Any

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import JSONResponse

import zprompt
from zprompt.errors import ZPromptError

OPTIONS = ("query", "form", "ratio", "max_tokens")
TRIES = 3  # of one request, each on another replica


@serve.deployment(
    num_replicas=2,
    max_ongoing_requests=2,  # one is computed, one waits
    max_queued_requests=64,  # further ones are told to try again later
    health_check_period_s=2,
    ray_actor_options={"num_cpus": 1},
)
class Shortener:
    """Compresses in a process of its own."""

    async def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        """Shorten the passages of a request."""
        options = {name: body[name] for name in OPTIONS if name in body}
        try:  # in a thread: the replica must answer health checks meanwhile
            result = await asyncio.to_thread(zprompt.compress, body["passages"], **options)
        except ZPromptError as error:
            return {"error": str(error)}
        return {"documents": result.documents, "ratio": result.stats.ratio, "process": os.getpid()}


@serve.deployment(max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0})
class Gateway:
    """Passes requests to a replica that answers."""

    def __init__(self, shortener: DeploymentHandle) -> None:
        """Keep the handle to the replicas."""
        self._shortener = shortener

    async def __call__(self, request: Request) -> JSONResponse:
        """Answer, or say when to try again."""
        try:
            body = await request.json()
        except ValueError:
            return JSONResponse({"error": "The body is no JSON."}, 400)
        if not isinstance(body, dict) or not isinstance(body.get("passages"), list):
            return JSONResponse({"error": "The body needs passages: a list of texts."}, 400)
        for _ in range(TRIES):
            try:
                reply = await self._shortener.remote(body)
                return JSONResponse(reply, 400 if "error" in reply else 200)
            except RayActorError:
                continue  # it died with the request
            except (BackPressureError, DeploymentUnavailableError):
                break
        return JSONResponse({"error": "All replicas are busy."}, 503, {"Retry-After": "1"})


app = Gateway.bind(Shortener.bind())
