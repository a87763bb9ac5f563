"""The routes that say how the server is: /v1/models, /healthz and /metrics. They wait for nobody."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from zprompt.serve.replies import JsonResponse
from zprompt.serve.service import Service, service_of

router = APIRouter()


@router.get("/v1/models")
async def _models(service: Annotated[Service, Depends(service_of)]) -> JsonResponse:
    """List the one model that there is."""
    return JsonResponse({"object": "list", "data": [_model(service)]})


@router.get("/v1/models/{name:path}")
async def _one_model(name: str, service: Annotated[Service, Depends(service_of)]) -> JsonResponse:
    """Describe the model."""
    service.check_model(name)
    return JsonResponse(_model(service))


@router.get("/healthz")
async def _health(service: Annotated[Service, Depends(service_of)]) -> JsonResponse:
    """Say whether requests are taken: 200, or 503."""
    healthy = service.batcher.healthy
    status = "ok" if healthy else "shutting down"
    return JsonResponse({"status": status, "waiting": service.batcher.waiting}, 200 if healthy else 503)


@router.get("/metrics")
async def _metrics(service: Annotated[Service, Depends(service_of)]) -> Response:
    """Give all figures to Prometheus."""
    return Response(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _model(service: Service) -> dict[str, Any]:
    return {
        "id": service.settings.model,
        "object": "model",
        "created": service.started,
        "owned_by": "zprompt",
        "max_model_len": service.reader.max_positions,  # as vLLM calls it
        "codec": service.reader.codec.fingerprint,
    }
