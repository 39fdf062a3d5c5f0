"""Errors as responses: problem details (RFC 9457), and OpenAI's shape under `/v1/`."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub.calls import Json
from hub.errors import Busy, CallerError, HubError
from hub.jsonrpc import encode

log = logging.getLogger(__name__)

OPENAI_PREFIX = "/v1/"
CLIENT_LEFT = 499
"""What the response to a client that has left is logged as, in proxies that coined it."""


class JsonAnswer(Response):
    """A JSON response, written as everything else of the hub is."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return encode(content)


def problem(
    path: str, status: int, detail: str, error: str, headers: dict[str, str] | None = None
) -> Response:
    """An error in the shape that a path's clients read."""
    if path.startswith(OPENAI_PREFIX):
        return JsonAnswer({"error": openai_error(status, detail, error)}, status, headers)
    return JsonAnswer(
        {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, "error": error},
        status,
        headers,
        media_type="application/problem+json",
    )


def openai_error(status: int, detail: str, code: str) -> Json:
    """The `error` member of a response of OpenAI's API."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    return {"message": detail, "type": kind, "param": None, "code": code}


async def told(request: Request, error: Exception) -> Response:
    """The answer to a request that failed as the hub's errors say."""
    assert isinstance(error, HubError)
    headers = {"retry-after": "1"} if isinstance(error, Busy) else None
    if not isinstance(error, CallerError):
        log.warning("a request failed", extra={"path": request.url.path, "problem": error.message})
    return problem(request.url.path, error.http_status, error.message, type(error).__name__, headers)


async def refused(request: Request, error: Exception) -> Response:
    """The answer to a request that HTTP itself does not allow."""
    assert isinstance(error, HTTPException)
    return problem(
        request.url.path, error.status_code, error.detail, "HttpError", dict(error.headers or {}) or None
    )


async def left(request: Request, error: Exception) -> Response:
    """What nobody will read."""
    return Response(status_code=CLIENT_LEFT)


async def broken(request: Request, error: Exception) -> Response:
    """The answer to a request that met a bug."""
    if isinstance(error, asyncio.CancelledError):
        raise error
    log.error("a request failed inside the hub", exc_info=error, extra={"path": request.url.path})
    return problem(request.url.path, 500, "internal error; see the hub's log", "InternalError")
