"""Making a server of both eras one of a single era, for `everything.py`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import mcp_types as types
from asgi import AsgiSend, Receive, Scope, header, respond
from mcp.shared.message import SessionMessage

Era = Literal["legacy", "modern", "both"]
MODERN = "2026-07-28"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"


@asynccontextmanager
async def refuse_over_stdio(read: Any, write: Any, era: Era) -> AsyncIterator[Any]:
    """What comes in but the openings of the other era, which are refused here."""
    if era == "both":
        yield read
        return
    send, receive = anyio.create_memory_object_stream[Any](64)

    async def sift() -> None:
        async with send:
            async for incoming in read:
                message = getattr(incoming, "message", None)
                if isinstance(message, types.JSONRPCRequest) and _is_other(message, era):
                    error = types.ErrorData(code=types.METHOD_NOT_FOUND, message="Method not found")
                    answer = types.JSONRPCError(jsonrpc="2.0", id=message.id, error=error)
                    await write.send(SessionMessage(answer))
                else:
                    await send.send(incoming)

    sifting = asyncio.ensure_future(sift())
    try:
        yield receive
    finally:
        sifting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sifting


def _is_other(message: types.JSONRPCRequest, era: Era) -> bool:
    meta = (message.params or {}).get("_meta") or {}
    modern = message.method != "initialize" and VERSION_KEY in meta
    return modern if era == "legacy" else message.method == "initialize"


def refuse_over_http(app: Any, era: Era) -> Any:
    """The app, but for requests of the other era, which are refused."""

    async def only(scope: Scope, receive: Receive, send: AsgiSend) -> None:
        if scope["type"] != "http" or era == "both":
            await app(scope, receive, send)
            return
        modern = header(scope, b"mcp-protocol-version") == MODERN
        if modern != (era == "modern"):
            error = {"code": -32600, "message": "Bad Request: Unsupported protocol version"}
            body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
            await respond(send, 400, body)
            return
        await app(scope, receive, send)

    return only
