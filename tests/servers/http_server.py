"""The reference server over Streamable HTTP, lean: raw ASGI on uvicorn, no SDK, no framework.

    python http_server.py [PORT] [options of echo.py] [--bad MODE] [--seconds S]

It listens on 127.0.0.1 (a free port without PORT or with 0) and prints `{"port": N}` to stdout once it does.
`/mcp` takes POST (one JSON-RPC message; the answer is JSON, or an event stream when the tool sends
notifications first: `slow` with a progress token, `log`, `ask`), GET (legacy: the server's own stream, for
changed lists) and DELETE (legacy: ends the session). Each legacy session is one reference connection under
its `Mcp-Session-Id`; modern requests share one. For SSE, and for a server as most people write one, see
`sdk.py`.

`--bad MODE` spoils it:

    not_found        404 to everything              unauthorized   401 with `WWW-Authenticate`
    server_error     500 with an HTML body          html           200 with an HTML body
    hangs            accepts, never answers         closes         closes the connection without an answer
    redirects        307 to itself                  wrong_type     answers JSON as `text/plain`
    forgets_session  404 to the second tools/call of a session, as a restarted server does
    half_stream      tools/call: begins an event stream, and closes it before the answer
    breaks_later     tools/call: 500 with an HTML body; the rest works
    late             tools/call: answers after --seconds (default 5)
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

from asgi import JSON_TYPE, AsgiSend, Receive, Scope, body, disconnected, header, respond, run_uvicorn
from echo import arguments, build
from reference import META, Era, Json, Reference

STREAMS = {"log", "ask", "slow"}
"""Tools that may send something before their answer."""

HTML = b"<html><body><h1>It works!</h1></body></html>"
SSE_TYPE = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]


class Session:
    """A reference connection whose messages are sorted to whoever waits for them."""

    def __init__(self, options: Any, era: Era) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiting: dict[str | int, asyncio.Queue[Json]] = {}
        self.stream: asyncio.Queue[Json] = asyncio.Queue()
        self.current: asyncio.Queue[Json] | None = None
        self.calls = 0
        self.reference = build(options, Reference, self.post, era)

    def post(self, message: Json) -> None:
        """Called from the loop's thread, or from a slow tool's."""
        self.loop.call_soon_threadsafe(self.sort, message)

    def sort(self, message: Json) -> None:
        """Answers go to their request, what belongs to a call beside it, the rest to the GET stream."""
        if "method" not in message:
            self.waiting.get(message["id"], self.stream).put_nowait(message)
            return
        subscription = message.get("params", {}).get("_meta", {}).get(f"{META}subscriptionId")
        beside = self.waiting.get(subscription) if subscription is not None else None
        if beside is None and "list_changed" not in message["method"] and self.waiting:
            beside = next(reversed(self.waiting.values()))
        (beside or self.stream).put_nowait(message)


class App:
    """The ASGI app."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.sessions: dict[str, Session] = {}
        self.modern: Session | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        if self.options.bad is not None and await self.spoil(self.options.bad, scope, receive, send):
            return
        if scope["path"] != "/mcp":
            await respond(send, 404, b'{"error": "no such path"}')
        elif scope["method"] == "POST":
            await self.post(scope, receive, send)
        elif scope["method"] == "GET":
            await self.listen(scope, receive, send)
        elif scope["method"] == "DELETE":
            self.sessions.pop(header(scope, b"mcp-session-id"), None)
            await respond(send, 200, b"")
        else:
            await respond(send, 405, b"")

    async def post(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        try:
            message = json.loads(await body(receive))
        except ValueError:
            error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "not JSON"}}
            await respond(send, 400, json.dumps(error).encode())
            return
        method, params = message.get("method"), message.get("params") or {}
        headers = list(JSON_TYPE)
        modern = f"{META}protocolVersion" in params.get("_meta", {}) and self.options.era != "legacy"
        if modern or self.options.era == "modern":
            if header(scope, b"mcp-method") != method:
                error = {
                    "jsonrpc": "2.0",
                    "id": message.get("id"),
                    "error": {"code": -32020, "message": "Mcp-Method"},
                }
                await respond(send, 400, json.dumps(error).encode())
                return
            session = self.modern = self.modern or Session(self.options, "modern")
        elif method == "initialize":
            session_id = secrets.token_hex(8)
            session = self.sessions[session_id] = Session(self.options, "legacy")
            headers.append((b"mcp-session-id", session_id.encode()))
        elif (known := self.sessions.get(header(scope, b"mcp-session-id"))) is not None:
            session = known
        else:
            await respond(
                send, 404 if header(scope, b"mcp-session-id") else 400, b'{"error": "no such session"}'
            )
            return
        if "id" not in message or method is None:
            session.reference.receive(message)
            await respond(send, 202, b"")
            return
        if method == "tools/call":
            session.calls += 1
            if self.options.bad == "breaks_later":
                await respond(send, 500, HTML, [(b"content-type", b"text/html")])
                return
            if self.options.bad == "forgets_session" and session.calls % 2 == 0:
                self.sessions.clear()
                await respond(send, 404, b'{"error": "no such session"}')
                return
        request_id = message["id"]
        answers = session.waiting[request_id] = asyncio.Queue()
        try:
            session.reference.receive(message)
            if self.options.bad == "late" and method == "tools/call":
                await asyncio.sleep(self.options.seconds)
            streams = params.get("name") in STREAMS or method == "subscriptions/listen"
            if streams or (self.options.bad == "half_stream" and method == "tools/call"):
                await self.stream(answers, request_id, receive, send)
                return
            first = await answers.get()
            while "method" in first:
                first = await answers.get()
            kind = [(b"content-type", b"text/plain")] if self.options.bad == "wrong_type" else headers
            await respond(send, 200, json.dumps(first, ensure_ascii=False).encode(), kind)
        finally:
            session.waiting.pop(request_id, None)

    async def stream(
        self, answers: asyncio.Queue[Json], request_id: Any, receive: Receive, send: AsgiSend
    ) -> None:
        """Send messages as events until the answer, or until the client leaves."""
        await send({"type": "http.response.start", "status": 200, "headers": SSE_TYPE})
        if self.options.bad == "half_stream":
            await send({"type": "http.response.body", "body": b": begun\n\ndata: {", "more_body": False})
            return
        gone = asyncio.create_task(disconnected(receive))
        try:
            while not gone.done():
                coming = asyncio.create_task(answers.get())
                await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    return
                message = coming.result()
                event = b"event: message\ndata: " + json.dumps(message, ensure_ascii=False).encode() + b"\n\n"
                last = message.get("id") == request_id and "method" not in message
                await send({"type": "http.response.body", "body": event, "more_body": not last})
                if last:
                    return
        finally:
            gone.cancel()

    async def listen(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        session = self.sessions.get(header(scope, b"mcp-session-id"))
        if session is None:
            await respond(send, 405, b"")
        else:
            await self.stream(session.stream, object(), receive, send)

    async def spoil(self, mode: str, scope: Scope, receive: Receive, send: AsgiSend) -> bool:
        """Answer as badly as the mode says; False when the mode spoils something else."""
        if mode == "not_found":
            await respond(send, 404, b"")
        elif mode == "unauthorized":
            await respond(send, 401, b"", [(b"www-authenticate", b'Bearer realm="example"')])
        elif mode == "server_error":
            await respond(send, 500, HTML, [(b"content-type", b"text/html")])
        elif mode == "html":
            await respond(send, 200, HTML, [(b"content-type", b"text/html")])
        elif mode == "redirects":
            await respond(send, 307, b"", [(b"location", scope["path"].encode())])
        elif mode == "hangs":
            await disconnected(receive)
        elif mode == "closes":
            # ASGI has no word for it; uvicorn's cycle, which `receive` is bound to, holds the transport.
            receive.__self__.transport.abort()  # type: ignore[attr-defined]
        else:
            return False
        return True


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--bad")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.set_defaults(era="both", name="http-reference")
    options = parser.parse_args()
    asyncio.run(run_uvicorn(App(options), options.port))


if __name__ == "__main__":
    main()
