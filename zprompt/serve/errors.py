"""Say what went wrong in OpenAI's format: {"error": {"message", "type", "param", "code"}} and an HTTP status.

400  not JSON, a value that is not allowed, a damaged Z-span, a prompt that does not fit into the context
401  no API key, or not the right one          404  no such model, no such path
405  no such method                            408  the request did not arrive in time
413  the request is too large                  429  too many requests wait; Retry-After says when to ask again
500  a fault of the server                     503  the server is shutting down
504  no answer within the time limit
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zprompt.errors import ContextBudgetError, DocumentTypeError, InvalidTextError, OptionError, SpanError, ZPromptError

LOG = logging.getLogger("zprompt.serve")

_INVALID = "invalid_request_error"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


class ApiError(Exception):
    """Something that a client is to be told."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = _INVALID,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say what, and how.

        :param status: The HTTP status.
        :param message: What was wrong, what is allowed and what to do.
        :param kind: OpenAI's type of error.
        :param code: What a program can tell the error by.
        :param param: The field of the request that is wrong.
        :param headers: Headers of the response.
        """
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """Give what goes back as JSON.

        :return: The error in OpenAI's format.
        """
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """Give the HTTP response.

        :return: The response.
        """
        # ASCII alone: a message may quote half a surrogate pair, which UTF-8 does not have.
        content = json.dumps(self.body).encode("ascii")
        return Response(content, self.status, self.headers, media_type="application/json")


def wrong_key() -> ApiError:
    """Refuse a request without the right key.

    :return: 401.
    """
    return ApiError(
        401,
        "The API key is missing or wrong. Send the key that the server was started with as 'Authorization: Bearer …'.",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def too_large(limit: int) -> ApiError:
    """Refuse a body.

    :param limit: Bytes that are allowed.
    :return: 413.
    """
    return ApiError(
        413,
        f"The request is larger than {limit:,} bytes. Send fewer or shorter texts, or compress them first.",
        code="request_too_large",
        headers={"Connection": "close"},  # what is still on its way is not read
    )


def arrived_too_slowly(seconds: float) -> ApiError:
    """Give up on a body.

    :param seconds: How long it had.
    :return: 408.
    """
    return ApiError(
        408,
        f"The request did not arrive within {seconds:g} seconds.",
        kind="timeout_error",
        code="request_timeout",
        headers={"Connection": "close"},
    )


def queue_full(waiting: int, seconds: int) -> ApiError:
    """Refuse what cannot wait.

    :param waiting: Requests that wait already.
    :param seconds: When to ask again.
    :return: 429.
    """
    return ApiError(
        429,
        f"{waiting} requests wait, and no more may. Ask again in {seconds} seconds.",
        kind="rate_limit_error",
        code="queue_full",
        headers={"Retry-After": str(seconds)},
    )


def shutting_down() -> ApiError:
    """Refuse what would only begin.

    :return: 503.
    """
    return ApiError(
        503,
        "The server is shutting down. Ask another one, or this one when it is back.",
        kind="service_unavailable_error",
        code="shutting_down",
        headers={"Retry-After": "5"},
    )


def took_too_long(seconds: float) -> ApiError:
    """Give up on an answer.

    :param seconds: How long it had.
    :return: 504.
    """
    return ApiError(
        504,
        f"There was no complete answer within {seconds:g} seconds. Ask for fewer tokens, or send less text.",
        kind="timeout_error",
        code="timeout",
    )


def unknown_model(name: str, known: str) -> ApiError:
    """Refuse a model's name.

    :param name: What was asked for.
    :param known: What there is.
    :return: 404.
    """
    return ApiError(
        404, f"There is no model {name!r}. This server has {known!r}.", code="model_not_found", param="model"
    )


def not_supported(param: str, hint: str) -> ApiError:
    """Refuse what OpenAI's API has and this server has not.

    :param param: The field of the request.
    :param hint: What is possible instead.
    :return: 400.
    """
    return ApiError(
        400, f"{param!r} is not supported by this server. {hint}", code="unsupported_parameter", param=param
    )


def to_api_error(error: Exception) -> ApiError:
    """Say to a client what the library, the framework or a fault said to us.

    :param error: What was raised.
    :return: What goes back.
    """
    match error:
        case ApiError():
            return error
        case ContextBudgetError():
            return ApiError(400, str(error), code="context_length_exceeded")
        case SpanError():
            return ApiError(400, str(error), code=_code(error))
        case OptionError() | DocumentTypeError() | InvalidTextError():
            return ApiError(400, str(error), code=_code(error))
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _http(error)
    LOG.error("A request failed.", exc_info=error)
    # A message of ours is meant for people; what another says may tell more of the server than a client should know.
    message = str(error) if isinstance(error, ZPromptError) else "The server failed. Its log says why."
    return ApiError(500, message, kind="server_error", code="internal_error")


class Shield:
    """Middleware that answers what nobody foresaw, and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before an application.

        :param app: The application.
        """
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on.

        :param scope: What is asked.
        :param receive: Gives its body.
        :param send: Takes the response.
        """
        begun = scope["type"] != "http"

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            if begun:  # too late for another answer
                raise
            await to_api_error(error).response()(scope, receive, send)


def handle_errors(app: FastAPI) -> None:
    """Answer every error in OpenAI's format.

    :param app: The application.
    """

    async def answer(_: Request, error: Exception) -> Response:
        return to_api_error(error).response()

    for kind in (ApiError, ZPromptError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def _code(error: Exception) -> str:
    """Make a code of an error's name: TruncatedSpanError becomes truncated_span."""
    return _WORDS.sub("_", type(error).__name__.removesuffix("Error")).lower()


def _http(error: HTTPException) -> ApiError:
    """Translate what the framework says by itself."""
    if error.status_code == 400:
        return ApiError(400, "The request's body cannot be read as JSON.", code="invalid_json")
    message = {404: "There is no such path.", 405: "This path does not take this method."}.get(error.status_code)
    return ApiError(error.status_code, message or str(error.detail), headers=error.headers)


def _invalid(error: RequestValidationError) -> ApiError:
    """Say what is wrong with a body; the first thing is enough."""
    found = error.errors()[0]
    path = [str(part) for part in found["loc"] if part != "body"]
    param = ".".join(path) or None
    match found["type"]:
        case "json_invalid":
            reason = found.get("ctx", {}).get("error", "malformed")
            return ApiError(400, f"The request's body is not JSON: {reason}.", code="invalid_json")
        case "missing" if param is None:
            message = "The request has no body. Send a JSON object with 'Content-Type: application/json'."
        case "model_attributes_type" | "dict_type" if param is None:
            message = "The request's body must be a JSON object, sent with 'Content-Type: application/json'."
        case "missing":
            message = f"{param!r} is missing."
        case "extra_forbidden":
            return ApiError(
                400,
                f"{param!r} is not known here. See docs/server.md for what is.",
                code="unknown_parameter",
                param=param,
            )
        case "value_error":  # of a check of ours, which says all that there is to say
            reason = found["msg"].removeprefix("Value error, ")
            return ApiError(400, reason, code="invalid_value", param=param)
        case _:
            message = f"{param!r} is not valid: {found['msg'][:1].lower()}{found['msg'][1:]}."
    return ApiError(400, message, code="invalid_value", param=param)
