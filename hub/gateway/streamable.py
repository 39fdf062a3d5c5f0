"""Streamable HTTP at `/mcp`, in both protocol eras.

A legacy client opens a session with `initialize`; a modern one sends requests that
stand alone. Either way each POST has a stream of its own: what belongs to a request
goes to that stream, and it becomes server-sent events only when something comes
before the answer. An answer that comes first is plain JSON.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from typing import Any

from hub import http_headers
from hub.calls import Call, Json
from hub.eras import read_envelope
from hub.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    HubError,
    RpcError,
    TooLarge,
)
from hub.gateway.http import (
    KEEPALIVE_S,
    ClientGone,
    Frames,
    Receive,
    Scope,
    Send,
    header,
    read_body,
    respond,
    respond_json,
    stream,
)
from hub.jsonrpc import Channel, Peer, RequestId, decode, encode
from hub.protocol import (
    HANDSHAKE_VERSIONS,
    MODERN_VERSIONS,
    PROTOCOL_VERSION_META_KEY,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from hub.server import Client, McpServer, View, modern_call
from hub.settings import HttpSettings
from hub.sse import sse_frame

log = logging.getLogger(__name__)

_STATUS_OF_CODE = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    http_headers.HEADER_MISMATCH: 400,
    -32021: 400,
    UNSUPPORTED_PROTOCOL_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}
"""The HTTP status of a modern error by its JSON-RPC code (2026-07-28, transports); 200 for others."""


LEAVING_NOTICED_S = 0.01
"""From when on the departure of a modern client is watched for."""


class _Refused(Exception):
    """A request is turned away before any session or server sees it.

    Attributes:
        status: The HTTP status.
        body: The JSON-RPC error response.
    """

    def __init__(self, status: int, error: Json, request_id: RequestId | None = None) -> None:
        super().__init__(error["message"])
        self.status = status
        self.body: Json = {"jsonrpc": "2.0", "id": request_id, "error": error}


def _refused(status: int, code: int, message: str) -> _Refused:
    return _Refused(status, {"code": code, "message": message})


class PostStream:
    """The stream of one POST: a channel for the answer to its request and what belongs to it.

    Args:
        request_id: The request whose answer ends the stream.
        late: Where goes what still belongs to the request after its answer; nowhere when None.
    """

    def __init__(self, request_id: RequestId, late: Channel | None = None) -> None:
        self._request_id = request_id
        self._late = late
        self._frames: Frames | None = None  # most answers come first and need none
        self._first: asyncio.Future[Json | None] = asyncio.get_running_loop().create_future()
        self._ended = False
        self._watching: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        return self._frames is not None and self._frames.full

    def send(self, message: Json, headers: Mapping[str, str] | None = None) -> None:
        if self._ended:
            if self._late is not None:
                self._late.send(message)
            return
        answer = "method" not in message and message.get("id") == self._request_id
        self._ended = answer
        if not self._first.done():
            self._first.set_result(message if answer else None)
            if answer:
                return
        frames = self._stream_frames()
        frames.put(sse_frame(encode(message), type="message"), dispensable="id" not in message)
        if answer:
            frames.end()

    def _stream_frames(self) -> Frames:
        if self._frames is None:
            self._frames = Frames()
        return self._frames

    async def drain(self) -> None:
        await self._stream_frames().drain()

    def close(self) -> None:
        """Nothing more will come."""
        if not self._ended:
            self._ended = True
            self._settle_first(None)
            self._stream_frames().end()

    async def deliver(
        self, send: Send, receive: Receive, *, headers: list[tuple[bytes, bytes]], modern: bool
    ) -> bool:
        """Send the response as it comes; returns False when a modern client left before its end."""
        loop = asyncio.get_running_loop()
        # Silent for long: from then on it is a stream with keepalives.
        timers = [loop.call_later(KEEPALIVE_S, self._settle_first, None)]
        if modern:
            # A modern client cancels by leaving. Most answers are there before it is worth looking.
            timers.append(loop.call_later(LEAVING_NOTICED_S, self._watch, receive))
        try:
            answer = await self._first
        finally:
            for timer in timers:
                timer.cancel()
            if self._watching is not None:
                self._watching.cancel()
        if answer is _GONE:
            return False
        if answer is None:
            return await stream(send, receive, self._stream_frames(), headers=headers)
        status = 200
        if modern and isinstance(error := answer.get("error"), dict):
            status = _STATUS_OF_CODE.get(error.get("code", 0), 200)
        await respond(send, status, encode(answer), headers=headers)
        return True

    def _settle_first(self, what: Json | None) -> None:
        """Decide what the response is: an answer, a stream (None), or nothing because nobody is there."""
        if not self._first.done():
            self._first.set_result(what)

    def _watch(self, receive: Receive) -> None:
        self._watching = asyncio.ensure_future(_wait_gone(receive))
        self._watching.add_done_callback(lambda _: self._settle_first(_GONE))


_GONE: Json = {}
"""Stands for a client that has left."""


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class StandingStream:
    """What a legacy server sends beside answers: the stream of a GET, while one is open."""

    def __init__(self) -> None:
        self.frames: Frames | None = None

    @property
    def full(self) -> bool:
        return False  # a listener that does not read loses what it would not have read

    def send(self, message: Json, headers: Mapping[str, str] | None = None) -> None:
        if self.frames is not None and not self.frames.full:
            self.frames.put(sse_frame(encode(message), type="message"))

    async def drain(self) -> None:
        """It never fills."""

    def close(self) -> None:
        if self.frames is not None:
            self.frames.end()


class _Session:
    """One legacy client."""

    def __init__(self, server: McpServer, view: View) -> None:
        self.standing = StandingStream()
        self.client = Client(server, view)
        self.peer = self.client.peer = Peer(self.standing, self.client)
        self.streams = 0
        self.last_used = 0.0

    def close(self, reason: str) -> None:
        self.client.detach()
        self.peer.close(reason)


class StreamableHttp:
    """The endpoint.

    Args:
        server: Answers requests.
        settings: Bounds.
        view: What clients see.
        message_bytes_max: The largest body accepted.
    """

    def __init__(self, server: McpServer, settings: HttpSettings, view: View) -> None:
        self._server = server
        self._settings = settings
        self._view = view
        self._sessions: dict[str, _Session] = {}
        self._listens: set[PostStream] = set()
        self._reaper: asyncio.TimerHandle | None = None

    @property
    def sessions(self) -> int:
        """How many legacy clients have a session."""
        return len(self._sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._serve(scope, receive, send)
        except _Refused as refused:
            await respond_json(send, refused.status, refused.body)
        except ClientGone:
            return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = header(scope, b"mcp-protocol-version").decode("latin-1")
        method = scope["method"]
        if method == "POST":
            await self._post(scope, receive, send, version)
        elif version in MODERN_VERSIONS or method not in ("GET", "DELETE"):
            allow = b"POST" if version in MODERN_VERSIONS else b"GET, POST, DELETE"
            await respond(send, 405, headers=[(b"allow", allow)])
        elif method == "GET":
            await self._listen(self._session(scope), scope, receive, send)
        else:
            self._session(scope)
            self._end(header(scope, b"mcp-session-id").decode("latin-1"), "the client ended its session")
            await respond(send, 204)

    # -- POST

    async def _post(self, scope: Scope, receive: Receive, send: Send, version: str) -> None:
        accept = header(scope, b"accept")
        if (
            accept
            and b"application/json" not in accept
            and b"*/*" not in accept
            and b"application/*" not in accept
        ):
            raise _refused(
                406, INVALID_REQUEST, "the client must accept application/json and text/event-stream"
            )
        if not header(scope, b"content-type").strip().lower().startswith(b"application/json"):
            raise _refused(415, INVALID_REQUEST, "the Content-Type must be application/json")
        try:
            message = decode(await read_body(scope, receive, self._settings.body_bytes_max))
        except TooLarge as error:
            raise _refused(413, INVALID_REQUEST, error.message) from None
        except ValueError as error:
            raise _refused(400, PARSE_ERROR, f"the body is not JSON: {error}") from None
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            raise _refused(400, INVALID_REQUEST, "the body must be a single JSON-RPC 2.0 message")
        if version in MODERN_VERSIONS:
            await self._modern(message, scope, receive, send)
            return
        if version and version not in HANDSHAKE_VERSIONS and message.get("method") != "initialize":
            known = ", ".join((*HANDSHAKE_VERSIONS, *MODERN_VERSIONS))
            unsupported = {
                "code": UNSUPPORTED_PROTOCOL_VERSION,
                "message": f"Unsupported protocol version {version!r}; the hub speaks {known}",
                "data": {"supported": list(MODERN_VERSIONS), "requested": version},
            }
            raise _Refused(400, unsupported, request_id=_id(message))
        await self._legacy(message, scope, receive, send)

    async def _legacy(self, message: Json, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = []
        if message.get("method") == "initialize":
            session_id, session = self._open()
            headers.append((b"mcp-session-id", session_id.encode()))
        else:
            session = self._session(scope)
        session.last_used = asyncio.get_running_loop().time()
        if "method" not in message or "id" not in message:
            session.peer.receive(message)
            await respond(send, 202)
            return
        request_id = _id(message)
        if request_id is None:
            raise _refused(400, INVALID_REQUEST, "'id' must be a string or an integer")
        post = PostStream(request_id)
        session.streams += 1
        try:
            session.peer.receive(message, post)
            await post.deliver(send, receive, headers=headers, modern=False)
        finally:
            post.close()
            session.streams -= 1
            session.last_used = asyncio.get_running_loop().time()

    async def _modern(self, message: Json, scope: Scope, receive: Receive, send: Send) -> None:
        if "id" not in message and "method" in message:
            await respond(send, 202)  # the modern era defines no notifications from clients over HTTP
            return
        request_id, method, params = _id(message), message.get("method"), message.get("params")
        if request_id is None or not isinstance(method, str):
            raise _refused(400, INVALID_REQUEST, "the body must be a request with an id and a method")
        post = PostStream(request_id)
        try:
            call = self._modern_call(method, params, scope, post)
        except RpcError as error:
            raise _Refused(_STATUS_OF_CODE.get(error.code, 200), error.to_json_rpc(), request_id) from None
        running = asyncio.ensure_future(self._answer(call, request_id, post))
        if method == "subscriptions/listen":
            self._listens.add(post)
        try:
            await post.deliver(send, receive, headers=[], modern=True)
        finally:
            self._listens.discard(post)
            post.close()
            if not running.done():
                running.cancel()
            await asyncio.wait([running])

    def _modern_call(self, method: str, params: Any, scope: Scope, post: PostStream) -> Call:
        """Check what a modern request says twice, in its headers and its body.

        Raises:
            RpcError: The two disagree, or the envelope is wrong.
        """
        headers: dict[str, list[str]] = {}
        for key, value in scope["headers"]:
            if key.startswith(b"mcp-"):
                # HTTP allows whitespace around a value, and does not mean it (RFC 9110, 5.5).
                headers.setdefault(key.decode("latin-1"), []).append(value.decode("latin-1").strip(" \t"))
        params = {} if params is None else params
        if not isinstance(params, dict):
            raise RpcError({"code": INVALID_PARAMS, "message": "'params' must be an object"})
        for name in (http_headers.PROTOCOL_VERSION, http_headers.METHOD, http_headers.NAME):
            if len(headers.get(name, ())) > 1:
                raise _mismatch(f"{name} header appears more than once")
        meta = params.get("_meta")
        said = meta.get(PROTOCOL_VERSION_META_KEY) if isinstance(meta, dict) else None
        if isinstance(said, str) and headers[http_headers.PROTOCOL_VERSION][0] != said:
            raise _mismatch("mcp-protocol-version header does not match the version in _meta")
        envelope = read_envelope(params)
        if envelope is None:
            raise RpcError(
                {
                    "code": INVALID_PARAMS,
                    "message": "params._meta must carry the protocol version and capabilities",
                }
            )
        if headers.get(http_headers.METHOD, [None])[0] != method:
            raise _mismatch("mcp-method header does not match the method")
        named = params.get(http_headers.NAME_PARAMS.get(method, ""))
        if named is not None:
            sent = headers.get(http_headers.NAME, [None])[0]
            if sent is None or http_headers.decode_value(sent) != named:
                raise _mismatch(f"mcp-name header does not match {http_headers.NAME_PARAMS[method]!r}")
        if method == "tools/call" and isinstance(named, str):
            problem = http_headers.mismatch(
                self._server.router.mirrored_params(named, self._view.surface),
                params.get("arguments"),
                headers,
            )
            if problem is not None:
                raise _mismatch(problem)

        def notify(method: str, params: Json) -> None:
            post.send({"jsonrpc": "2.0", "method": method, "params": params})

        return modern_call(envelope, method, params, self._view, notify)

    async def _answer(self, call: Call, request_id: RequestId, post: PostStream) -> None:
        try:
            result = await self._server.answer(call, self._view, request_id)
        except (HubError, RpcError) as error:
            post.send({"jsonrpc": "2.0", "id": request_id, "error": error.to_json_rpc()})
        except Exception:
            # A bug in one request must not take down the server it came in on.
            log.exception("a request failed inside the hub", extra={"method": call.method})
            error_ = {"code": INTERNAL_ERROR, "message": "internal error; see the hub's log"}
            post.send({"jsonrpc": "2.0", "id": request_id, "error": error_})
        else:
            if post.full:
                await post.drain()
            post.send({"jsonrpc": "2.0", "id": request_id, "result": result})

    # -- sessions

    def _session(self, scope: Scope) -> _Session:
        """The session a request names.

        Raises:
            _Refused: It names none, or one that has ended.
        """
        session_id = header(scope, b"mcp-session-id").decode("latin-1")
        if not session_id:
            raise _refused(
                400, INVALID_REQUEST, "send initialize first, then its Mcp-Session-Id with every request"
            )
        session = self._sessions.pop(session_id, None)
        if session is None:
            raise _refused(404, INVALID_REQUEST, "this session has ended; send initialize to open another")
        self._sessions[session_id] = session  # at the end: the order is that of their last use
        return session

    def _open(self) -> tuple[str, _Session]:
        if len(self._sessions) >= self._settings.sessions_max:
            # They stand in the order of their last use; of those alike in streams, `min` takes the first.
            idlest = min(self._sessions, key=lambda id_: self._sessions[id_].streams)
            self._end(idlest, "a newer session took its place")
        session_id, session = secrets.token_urlsafe(24), _Session(self._server, self._view)
        self._sessions[session_id] = session
        if self._reaper is None:
            self._reap()
        return session_id, session

    def _end(self, session_id: str, reason: str) -> None:
        self._sessions.pop(session_id).close(reason)

    def _reap(self) -> None:
        """End sessions that have been idle for too long, from time to time."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._settings.session_idle_s
        for session_id, session in list(self._sessions.items()):
            if not session.streams and session.last_used and session.last_used < oldest:
                self._end(session_id, "it was idle for too long")
        self._reaper = loop.call_later(min(60.0, self._settings.session_idle_s), self._reap)

    async def drain(self, grace_s: float) -> None:
        """End what has no end of its own, let calls finish, then end every session.

        Args:
            grace_s: How long calls may take at most.
        """
        for post in tuple(self._listens):
            post.close()
        for session in self._sessions.values():
            session.standing.close()
        sessions = self._sessions.values()
        await asyncio.gather(*(session.peer.settle(grace_s) for session in sessions))
        self._close()

    def _close(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        for session_id in list(self._sessions):
            self._end(session_id, "the hub is stopping")

    # -- GET

    async def _listen(self, session: _Session, scope: Scope, receive: Receive, send: Send) -> None:
        if b"text/event-stream" not in header(scope, b"accept"):
            raise _refused(406, INVALID_REQUEST, "the client must accept text/event-stream")
        if session.standing.frames is not None:
            raise _refused(409, INVALID_REQUEST, "this session has a stream already")
        session.standing.frames = frames = Frames()
        session.streams += 1
        try:
            await stream(send, receive, frames)
        finally:
            session.standing.frames = None
            session.streams -= 1
            session.last_used = asyncio.get_running_loop().time()


def _id(message: Json) -> RequestId | None:
    request_id = message.get("id")
    return request_id if isinstance(request_id, str | int) and not isinstance(request_id, bool) else None


def _mismatch(problem: str) -> RpcError:
    return RpcError({"code": http_headers.HEADER_MISMATCH, "message": problem})
