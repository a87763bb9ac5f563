"""The routes of the codec: /v1/compress and /v1/decompress. Documents go back in the form in which they came."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from zprompt.progress import Progress
from zprompt.results import CompressionResult
from zprompt.serve.replies import JsonResponse
from zprompt.serve.schemas import CompressRequest, DecompressRequest
from zprompt.serve.service import Service, service_of

router = APIRouter()


@router.post("/v1/compress")
async def _compress(
    asked: CompressRequest, request: Request, service: Annotated[Service, Depends(service_of)]
) -> JsonResponse:
    """Turn texts into Z-spans."""
    service.check_model(asked.model)
    codec = service.reader.codec

    def work(progress: Progress) -> CompressionResult:
        return codec.compress(asked.input, progress=progress, **asked.options())

    result: CompressionResult = await service.call(request, work)
    return JsonResponse({**_head("compression", service), "output": result.documents, "stats": result.stats.to_dict()})


@router.post("/v1/decompress")
async def _decompress(
    asked: DecompressRequest, request: Request, service: Annotated[Service, Depends(service_of)]
) -> JsonResponse:
    """Put the texts of Z-spans back, wherever they stand."""
    service.check_model(asked.model)
    codec = service.reader.codec

    def work(progress: Progress) -> Any:  # noqa: ANN401 - documents, as they came
        return codec.decompress(asked.input, progress=progress)

    return JsonResponse({**_head("decompression", service), "output": await service.call(request, work)})


def _head(kind: str, service: Service) -> dict[str, Any]:
    return {"object": kind, "model": service.settings.model, "codec": service.reader.codec.fingerprint}
