"""The plain HTTP API: `POST /message` runs a turn, `GET /health` says that the hub lives."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub import __version__
from hub.calls import Caller, Json
from hub.errors import Busy, CallerError, HubError, InvalidArguments, TooLarge
from hub.gateway.http import Receive, Scope, Send
from hub.jsonrpc import decode

if TYPE_CHECKING:
    from hub.agent import Agent
    from hub.settings import Settings

log = logging.getLogger(__name__)


class ApiHub(Protocol):
    """What the API needs of a running hub."""

    @property
    def settings(self) -> Settings: ...

    async def agent(self) -> Agent: ...

    def status(self) -> Json: ...


class Message(BaseModel):
    """The body of `POST /message`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    message: str
    session_id: str = Field(default="default", min_length=1, max_length=200)


class Api:
    """The API as an ASGI application.

    Args:
        hub: The running hub.
    """

    def __init__(self, hub: ApiHub) -> None:
        self._hub = hub
        self._running = 0
        self._app = Starlette(
            routes=[
                Route("/health", self._health, methods=["GET"]),
                Route("/message", self._message, methods=["POST"]),
            ],
            exception_handlers={HubError: _told, HTTPException: _refused, Exception: _broken},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    async def _message(self, request: Request) -> Response:
        """Run a turn; its answer is the response."""
        if self._running >= self._hub.settings.http.concurrency_max:
            raise Busy(f"{self._running} messages are being answered; http.concurrency_max allows no more")
        asked = await self._read(request)
        if not asked.message.strip():
            raise InvalidArguments("message is blank")
        self._running += 1
        try:
            agent = await self._hub.agent()
            result = await agent.run_turn(
                Caller(request.headers.get("user-agent", "http")[:100], face="http"),
                asked.session_id,
                asked.message,
            )
        finally:
            self._running -= 1
        return JSONResponse(result.to_json())

    async def _read(self, request: Request) -> Message:
        """The body of a request, checked.

        Raises:
            TooLarge: It is over the bound.
            InvalidArguments: It is not what was expected.
        """
        bytes_max = self._hub.settings.http.body_bytes_max
        parts, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > bytes_max:
                raise TooLarge(f"the body is over {bytes_max:,} bytes, which http.body_bytes_max allows")
            parts.append(chunk)
        try:
            return Message.model_validate(decode(b"".join(parts)))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"]) or "body"
            raise InvalidArguments(f"{where}: {problem['msg']}") from None
        except ValueError as error:
            raise InvalidArguments(f"the body is not JSON: {error}") from None


def _problem(status: int, detail: str, error: str, headers: dict[str, str] | None = None) -> Response:
    """An error as problem details (RFC 9457)."""
    return JSONResponse(
        {"status": status, "detail": detail, "error": error},
        status,
        headers=headers,
        media_type="application/problem+json",
    )


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    headers = {"retry-after": "1"} if isinstance(error, Busy) else None
    if not isinstance(error, CallerError):
        log.warning("a request failed", extra={"path": request.url.path, "problem": error.message})
    return _problem(error.http_status, error.message, type(error).__name__, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, error.detail, "HttpError", dict(error.headers or {}))


async def _broken(request: Request, error: Exception) -> Response:
    if isinstance(error, asyncio.CancelledError):
        raise error
    log.error("a request failed inside the hub", exc_info=error, extra={"path": request.url.path})
    return _problem(500, "internal error; see the hub's log", "InternalError")
