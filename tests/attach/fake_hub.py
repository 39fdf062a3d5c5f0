"""A hub that knows the hello and a few calls: enough to see what an attachment does.

Run as `fake_hub.py --home DIR [--version V] [--fail TEXT] [--crash] [--dies-on METHOD] [--tcp]
[--starts-in S] [--message-bytes-max N]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

import hub
from hub.errors import HomeInUse
from hub.home import Home
from hub.lock import HomeLock
from hub.rendezvous import Hello
from hub.starting import announce

OPTIONS = argparse.ArgumentParser()
OPTIONS.add_argument("--home", type=Home.at, required=True)
OPTIONS.add_argument("--version")
OPTIONS.add_argument("--fail")
OPTIONS.add_argument("--crash", action="store_true")
OPTIONS.add_argument("--dies-on", metavar="METHOD")
OPTIONS.add_argument("--tcp", action="store_true")
OPTIONS.add_argument("--starts-in", type=float, default=0.0)
OPTIONS.add_argument("--message-bytes-max", type=int, default=1_000_000)


class Session(asyncio.Protocol):
    """One attachment's conversation."""

    def __init__(self, hello: Hello, sessions: set[Session], dies_on: str | None) -> None:
        self.hello = hello
        self.sessions = sessions
        self.dies_on = dies_on
        self.received = b""
        self.seen: list[Any] = []
        self.waiting_for_answer: Any = None
        self.deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.sessions.discard(self)

    def data_received(self, data: bytes) -> None:
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                self.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "not JSON"}})
                continue
            self.take(message)

    def send(self, message: dict[str, Any]) -> None:
        self.transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def answer(self, request_id: Any, result: Any) -> None:
        self.send({"jsonrpc": "2.0", "id": request_id, "result": result})

    def take(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        self.seen.append([method or "answer", message.get("id")])
        if method is not None and method == self.dies_on:
            os._exit(1)
        if self.deaf:
            self.send({"jsonrpc": "2.0", "method": "notifications/heard", "params": {"method": method}})
            return
        if method == "initialize":
            lists = {"listChanged": True}
            self.answer(message["id"], {"capabilities": {"tools": lists, "prompts": {}}, "pid": os.getpid()})
        elif method == "tools/call":
            self.call(message["id"], params["name"], params.get("arguments", {}))
        elif method is None and self.waiting_for_answer is not None:
            self.answer(self.waiting_for_answer, {"answered": message["result"]})
        elif method == "subscriptions/listen":
            pass
        elif "id" in message:
            self.answer(message["id"], {"method": method, "pid": os.getpid()})

    def call(self, request_id: Any, name: str, arguments: dict[str, Any]) -> None:
        if name == "echo":
            self.answer(request_id, arguments)
        elif name == "surroundings":
            self.answer(
                request_id,
                {
                    "environ": dict(os.environ),
                    "cwd": os.getcwd(),
                    "session": os.getsid(0),
                    "parent": os.getppid(),
                    "pid": os.getpid(),
                    "stdin": os.read(0, 1).decode(),
                    "sigint": str(signal.getsignal(signal.SIGINT)),
                },
            )
        elif name == "seen":
            self.answer(request_id, {"seen": self.seen, "hello": [self.hello.cwd, self.hello.tool_names]})
        elif name == "big":
            self.answer(request_id, {"text": "x" * arguments["size"]})
        elif name == "ask":
            self.waiting_for_answer = request_id
            self.send({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {}})
        elif name == "later":
            asyncio.get_running_loop().call_later(
                arguments["seconds"], self.answer, request_id, {"late": True}
            )
        elif name == "deafen":
            # From now on the hub says what it heard, and answers nothing.
            self.deaf = True
            self.answer(request_id, {})


async def serve(options: argparse.Namespace) -> None:
    from hub.local import listen

    sessions: set[Session] = set()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    listener = await listen(
        options.home,
        lambda hello: Session(hello, sessions, options.dies_on),
        lambda: {"clients": len(sessions), "message_bytes_max": options.message_bytes_max},
        ended.set,
        unix=not options.tcp,
    )
    announce("ready")
    await ended.wait()
    await listener.close()


def main() -> int:
    options = OPTIONS.parse_args()
    if options.version:
        hub.__version__ = options.version
    time.sleep(options.starts_in)
    if options.crash:
        print("Traceback: something broke", file=sys.stderr)
        return 1
    if options.fail:
        announce("failed", options.fail)
        return 1
    try:
        with HomeLock(options.home):
            asyncio.run(serve(options))
    except HomeInUse as error:
        announce("in use", error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
