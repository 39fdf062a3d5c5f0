"""The few things about HTTP that every face needs: bodies, answers, streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hub.channels import UNREAD_BYTES_MAX
from hub.errors import TooLarge
from hub.jsonrpc import encode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEEPALIVE_S = 15.0
"""How long a stream may stay silent before a comment is sent, so that no proxy closes it."""

STREAM_FRAMES_MAX = 256
"""How many events may wait for a slow reader before senders are asked to wait."""

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class ClientGone(Exception):
    """The client closed the connection before its request had been read."""


async def read_body(scope: Scope, receive: Receive, bytes_max: int) -> bytes:
    """A request's whole body.

    Raises:
        TooLarge: It is over the bound.
        ClientGone: It ended in the middle.
    """
    length = header(scope, b"content-length")
    if length.isdigit() and int(length) > bytes_max:
        raise TooLarge(f"the body is {int(length):,} bytes; http.body_bytes_max allows {bytes_max:,}")
    body = b""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body = message.get("body", b"")
        size += len(body)
        if size > bytes_max:
            raise TooLarge(f"the body is over {bytes_max:,} bytes, which http.body_bytes_max allows")
        if not message.get("more_body", False):
            return b"".join((*parts, body)) if parts else body
        parts.append(body)


def header(scope: Scope, name: bytes) -> bytes:
    """The first value of a header, empty when it is not there; `name` is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


async def respond(
    send: Send,
    status: int,
    body: bytes = b"",
    *,
    content_type: bytes = b"application/json",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """Send a whole response."""
    head = [(b"content-length", str(len(body)).encode()), *(headers or [])]
    if body:
        head.append((b"content-type", content_type))
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def respond_json(
    send: Send, status: int, value: Any, *, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Send a JSON response."""
    await respond(send, status, encode(value), headers=headers)


async def respond_problem(
    send: Send, status: int, detail: str, *, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Send an error as problem details (RFC 9457)."""
    body = encode({"status": status, "detail": detail})
    await respond(send, status, body, content_type=b"application/problem+json", headers=headers)


class Frames:
    """Bytes on their way to one reader, in order, with a bound that senders heed."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._bytes = 0
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False

    @property
    def full(self) -> bool:
        """Whether the reader is so far behind that senders should wait in `drain`."""
        return len(self._frames) >= STREAM_FRAMES_MAX and not self._ended

    def put(self, frame: bytes, *, dispensable: bool = False) -> None:
        """Add bytes; dropped after the end, and where dispensable when the reader is far behind."""
        if not self._ended and not (dispensable and self._bytes > UNREAD_BYTES_MAX):
            self._frames.append(frame)
            self._bytes += len(frame)
            self._some.set()
            if self.full:
                self._room.clear()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._some.set()
        self._room.set()

    async def drain(self) -> None:
        """Wait until the reader has caught up, or the stream has ended."""
        await self._room.wait()

    async def take(self, timeout_s: float) -> bytes | None:
        """All bytes there are, waiting for some; empty after the timeout, None after the end."""
        if not self._frames and not self._ended:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._some.wait()
            except TimeoutError:
                return b""
        if not self._frames:
            return None
        taken, self._frames, self._bytes = b"".join(self._frames), [], 0
        if not self._ended:
            self._some.clear()
        self._room.set()
        return taken


async def stream(
    send: Send, receive: Receive, frames: Frames, *, headers: list[tuple[bytes, bytes]] | None = None
) -> bool:
    """Send frames as server-sent events until they end; returns False when the client left first."""
    await send({"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *(headers or [])]})
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        # An empty first chunk makes the headers leave at once.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        while True:
            taking = asyncio.ensure_future(frames.take(KEEPALIVE_S))
            await asyncio.wait({taking, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                taking.cancel()
                return False
            chunk = taking.result()
            if chunk is None:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return True
            await send({"type": "http.response.body", "body": chunk or b": keepalive\n\n", "more_body": True})
    finally:
        frames.end()
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
