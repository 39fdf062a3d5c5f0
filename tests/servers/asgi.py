"""A few lines of raw ASGI, and uvicorn on loopback, for the servers of this folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
AsgiSend = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON_TYPE = [(b"content-type", b"application/json")]


def header(scope: Scope, name: bytes) -> str:
    """A request header's value, empty when it is absent."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def body(receive: Receive) -> bytes:
    """The whole request body."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond(
    send: AsgiSend, status: int, content: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Send a whole response."""
    length = (b"content-length", str(len(content)).encode())
    await send(
        {"type": "http.response.start", "status": status, "headers": [*(headers or JSON_TYPE), length]}
    )
    await send({"type": "http.response.body", "body": content})


async def run_uvicorn(app: Any, port: int) -> None:
    """Run an ASGI app on loopback, and say on stdout which port it got."""
    import uvicorn

    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    if server.started:
        print(json.dumps({"port": server.servers[0].sockets[0].getsockname()[1]}), flush=True)
    await serving
