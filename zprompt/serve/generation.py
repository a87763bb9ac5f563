"""The routes that write text: /v1/chat/completions and /v1/completions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from zprompt.serve.replies import ChatReply, CompletionReply, JsonResponse, Reply
from zprompt.serve.schemas import ChatRequest, CompletionRequest, TextRequest
from zprompt.serve.service import Service, service_of
from zprompt.serve.streaming import EventStream, write_events

router = APIRouter()


@router.post("/v1/chat/completions")
async def _chat(asked: ChatRequest, request: Request, service: Annotated[Service, Depends(service_of)]) -> Response:
    """Reply to a conversation, whose messages may hold Z-spans."""
    return await _answer(asked, request, service, ChatReply(service.settings.model, service.reader.codec.fingerprint))


@router.post("/v1/completions")
async def _complete(
    asked: CompletionRequest, request: Request, service: Annotated[Service, Depends(service_of)]
) -> Response:
    """Go on with texts, which may hold Z-spans."""
    reply = CompletionReply(service.settings.model, service.reader.codec.fingerprint)
    return await _answer(asked, request, service, reply)


async def _answer(asked: TextRequest, request: Request, service: Service, reply: Reply) -> Response:
    service.check_model(asked.model)
    if asked.stream:
        deltas, ended = await service.begin(request, asked)
        return EventStream(write_events(reply, deltas, asked.wants_usage), ended)
    return JsonResponse(reply.whole(await service.write(request, asked)))
