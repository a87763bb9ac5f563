"""Errors in OpenAI's format: {"error": {"message", "type", "param", "code"}} and an HTTP status.

400  not JSON, a value that is not allowed, a damaged Z-span, a prompt that does not fit into the context
401  no API key, or a wrong one                 404  unknown model or path
405  method not allowed                         408  the request did not arrive in time
410  an original had to make room for others
413  the request is too large                   429  the queue is full; Retry-After says when to try again
499  the client has left: only logs and metrics have it
500  a fault of the server                      503  the server is shutting down
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

from zprompt.errors import (
    ContextBudgetError,
    DocumentTypeError,
    DroppedOriginalError,
    InvalidTextError,
    OptionError,
    SpanError,
    UnknownOriginalError,
    ZPromptError,
)

BODY_KINDS = ("<documents>", "<messages>")  # of one path; pydantic puts them before the name of the wrong field
LOG = logging.getLogger("zprompt.serve")

_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")


class AsciiJSONResponse(Response):
    """JSON in ASCII: documents and messages may have lone surrogates, which UTF-8 cannot encode."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return the content as JSON."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class ApiError(Exception):
    """An error that the client sees."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Describe the error.

        :param status: The HTTP status.
        :param message: What is wrong, what is allowed and what to do.
        :param kind: OpenAI's type of error.
        :param code: An error code for programs.
        :param param: The wrong field of the request.
        :param headers: Headers of the response.
        """
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """Return the error in OpenAI's format."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """Return the HTTP response."""
        return AsciiJSONResponse(self.body, self.status, self.headers)


def shutting_down() -> ApiError:
    """Return the error for requests that are still waiting when the server stops."""
    return ApiError(
        503,
        "The server is shutting down. Try another one, or this one when it is back.",
        kind="service_unavailable_error",
        code="shutting_down",
        headers={"Retry-After": "5"},
    )


def timed_out(seconds: float) -> ApiError:
    """Return the error for a request that was not answered within this many seconds."""
    return ApiError(
        504,
        f"There was no complete answer within {seconds:g} seconds. Ask for fewer tokens, or send less text.",
        kind="timeout_error",
        code="timeout",
    )


def to_api_error(error: Exception) -> ApiError:
    """Translate an exception of the library or the framework; log it if it is a fault of the server."""
    match error:
        case ApiError():
            return error
        case ContextBudgetError():
            message = str(error).replace("max_new_tokens", "max_tokens")  # as the API calls it
            return ApiError(400, message, code="context_length_exceeded")
        case SpanError() | OptionError() | DocumentTypeError() | InvalidTextError():
            return ApiError(400, str(error), code=_code(error))
        case DroppedOriginalError():
            return ApiError(410, str(error), code="original_dropped")
        case UnknownOriginalError():
            return ApiError(404, str(error), code="original_not_found")
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _http(error)
    LOG.error("A request failed.", exc_info=error)
    # zprompt's messages are written for users; others may reveal more about the server than a client should know.
    message = str(error) if isinstance(error, ZPromptError) else "The server failed; see its log for the cause."
    return ApiError(500, message, kind="server_error", code="internal_error")


def handle_errors(app: FastAPI) -> None:
    """Answer all expected errors in OpenAI's format."""

    async def answer(_: Request, error: Exception) -> Response:
        return to_api_error(error).response()

    for kind in (ApiError, ZPromptError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def _code(error: Exception) -> str:
    """Turn the name of an error into a code: TruncatedSpanError becomes truncated_span."""
    return _CAMEL_CASE.sub("_", type(error).__name__.removesuffix("Error")).lower()


def _http(error: HTTPException) -> ApiError:
    if error.status_code == 400:
        return ApiError(400, "The request body cannot be read as JSON.", code="invalid_json")
    message = {404: "No such path.", 405: "This path does not allow this method."}.get(error.status_code)
    return ApiError(error.status_code, message or str(error.detail), headers=error.headers)


def _invalid(error: RequestValidationError) -> ApiError:
    """Describe the first problem in a body."""
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"] if part != "body" and part not in BODY_KINDS]
    param = ".".join(path) or None
    code = "invalid_value"
    match problem["type"]:
        case "json_invalid":
            reason = problem.get("ctx", {}).get("error", "malformed")
            return ApiError(400, f"The request body is not JSON: {reason}.", code="invalid_json")
        case "missing" if param is None:
            message = "The request has no body. Send a JSON object with 'Content-Type: application/json'."
        case "model_attributes_type" | "dict_type" if param is None:
            message = "The request body must be a JSON object, sent with 'Content-Type: application/json'."
        case "missing":
            message = f"{param!r} is missing."
        case "extra_forbidden":
            message, code = (
                f"{param!r} is not a known field. See docs/server.md for those that are.",
                "unknown_parameter",
            )
        case "value_error":  # a check of ours, whose message is complete
            message = problem["msg"].removeprefix("Value error, ")
        case _:
            message = f"{param!r} is not valid: {problem['msg'][:1].lower()}{problem['msg'][1:]}."
    return ApiError(400, message, code=code, param=param)
