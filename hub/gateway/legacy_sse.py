"""HTTP with SSE, as of 2024-11-05, at `/sse` and `/messages/`: for older clients.

A GET opens a stream that carries everything the hub sends; its first event says
where to POST what the client sends.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs

from hub.calls import Json
from hub.errors import TooLarge
from hub.gateway.http import (
    ClientGone,
    Frames,
    Receive,
    Scope,
    Send,
    read_body,
    respond,
    respond_problem,
    stream,
)
from hub.jsonrpc import Peer, decode, encode
from hub.server import Client, McpServer, View
from hub.settings import HttpSettings
from hub.sse import sse_frame


class _SseChannel:
    """Messages as events of one stream."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    @property
    def full(self) -> bool:
        return self._frames.full

    def send(self, message: Json, headers: Mapping[str, str] | None = None) -> None:
        self._frames.put(sse_frame(encode(message), type="message"), dispensable="id" not in message)

    async def drain(self) -> None:
        await self._frames.drain()

    def close(self) -> None:
        self._frames.end()


class LegacySse:
    """The two endpoints.

    Args:
        server: Answers requests.
        settings: Bounds.
        view: What clients see.
    """

    def __init__(self, server: McpServer, settings: HttpSettings, view: View) -> None:
        self._server = server
        self._settings = settings
        self._view = view
        self._peers: dict[str, Peer] = {}

    @property
    def sessions(self) -> int:
        """How many clients are connected."""
        return len(self._peers)

    async def drain(self, grace_s: float) -> None:
        """Let calls finish, then end every stream.

        Args:
            grace_s: How long calls may take at most.
        """
        await asyncio.gather(*(peer.settle(grace_s) for peer in self._peers.values()))
        for peer in list(self._peers.values()):
            peer.close("the hub is stopping")

    async def listen(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /sse`: the stream."""
        if scope["method"] != "GET":
            await respond(send, 405, headers=[(b"allow", b"GET")])
            return
        if len(self._peers) >= self._settings.sessions_max:
            await respond_problem(send, 503, "too many clients are connected")
            return
        session_id, frames = secrets.token_urlsafe(24), Frames()
        client = Client(self._server, self._view)
        client.peer = self._peers[session_id] = Peer(_SseChannel(frames), client)
        endpoint = f"{scope.get('root_path', '')}/messages/?session_id={session_id}"
        frames.put(sse_frame(endpoint.encode(), type="endpoint"))
        try:
            await stream(send, receive, frames)
        finally:
            del self._peers[session_id]
            client.detach()
            client.peer.close("the client closed its stream")

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /messages/`: one message from the client."""
        if scope["method"] != "POST":
            await respond(send, 405, headers=[(b"allow", b"POST")])
            return
        query = parse_qs(scope["query_string"].decode("latin-1"))
        peer = self._peers.get(query.get("session_id", [""])[0])
        if peer is None:
            await respond_problem(send, 404, "no such stream; open one with GET /sse")
            return
        try:
            message = decode(await read_body(scope, receive, self._settings.body_bytes_max))
        except ClientGone:
            return
        except TooLarge as error:
            await respond_problem(send, 413, error.message)
            return
        except ValueError as error:
            await respond_problem(send, 400, f"the body is not JSON: {error}")
            return
        peer.receive(message)
        await respond(send, 202, b"Accepted", content_type=b"text/plain")
