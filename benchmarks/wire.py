"""Lean MCP clients for measuring: the same few lines talk to a server directly and through a hub.

They do as little as a client can: JSON in, JSON out, answers matched by id. So a difference between two
measurements is a difference between what stands behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

Json = dict[str, Any]

LINE_BYTES_MAX = 64 * 1024 * 1024
META = "io.modelcontextprotocol/"
MODERN_META: Json = {
    f"{META}protocolVersion": "2026-07-28",
    f"{META}clientInfo": {"name": "bench", "version": "1"},
    f"{META}clientCapabilities": {},
}
INITIALIZE: Json = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


class RequestFailed(Exception):
    """The server answered with an error."""


class ServerGone(RequestFailed):
    """The server went away without an answer."""


class Client(Protocol):
    """What a measurement needs of a connection."""

    async def open(self) -> Json: ...

    async def request(self, method: str, params: Json | None = None) -> Json: ...

    async def close(self) -> None: ...


class StdioClient:
    """A client of a program that speaks MCP on its stdin and stdout.

    Args:
        command: The program and its arguments.
        modern: Speak 2026-07-28 and not 2025-06-18.

    Attributes:
        pid: The program's process, while it runs.
        last_id: The id of the latest request.
    """

    def __init__(self, command: Sequence[str], *, modern: bool = False) -> None:
        self._command = command
        self._modern = modern
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self.last_id = 0
        self.pid = 0

    async def start(self) -> None:
        """Launch the program, without a word to it."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=LINE_BYTES_MAX,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin
        self.pid = self._process.pid
        self._reader = asyncio.create_task(self._read())

    async def open(self) -> Json:
        """Launch it, and discover or initialize; returns the result."""
        await self.start()
        if self._modern:
            return await self.request("server/discover")
        result = await self.request("initialize", INITIALIZE)
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    async def request(self, method: str, params: Json | None = None) -> Json:
        """The result of one request.

        Raises:
            RequestFailed: The answer was an error.
            ServerGone: The program ended, so that none will come.
        """
        self.last_id += 1
        params = params or {}
        if self._modern:
            params = {**params, "_meta": MODERN_META}
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[self.last_id] = answer
        self._write({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        return _result(await answer)

    def cancel(self, request_id: int) -> None:
        """Tell the server that nobody waits for a request any more."""
        self._waiting.pop(request_id, None)
        params = {"requestId": request_id, "reason": "no longer needed"}
        self._write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})

    def write_bytes(self, content: bytes) -> None:
        """Send bytes as they are, be they messages or not."""
        self._stdin.write(content)

    def kill(self) -> None:
        """End the program as a crash does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _write(self, message: Json) -> None:
        self._stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            answer = None if "method" in message else self._waiting.pop(message["id"], None)
            if answer is not None and not answer.done():
                answer.set_result(message)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ServerGone(f"{self._command[0]} ended"))

    async def close(self) -> None:
        """End stdin, then the whole process group."""
        with contextlib.suppress(OSError, RuntimeError):
            self._stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()
        self._reader.cancel()


class HttpClient:
    """A client of a Streamable HTTP server, over a pool of kept-alive connections.

    Args:
        url: The endpoint, on loopback.
        modern: Speak 2026-07-28 and not 2025-06-18.
        headers: Sent with every request.
    """

    def __init__(self, url: str, *, modern: bool = False, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "127.0.0.1", parts.port or 80, parts.path
        self._modern = modern
        self._headers = {
            "Host": f"{self._host}:{self._port}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **(headers or {}),
        }
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._next_id = 0

    async def open(self) -> Json:
        """Discover or initialize; returns the result."""
        if self._modern:
            self._headers["MCP-Protocol-Version"] = "2026-07-28"
            return await self.request("server/discover")
        result = await self.request("initialize", INITIALIZE)
        self._headers["MCP-Protocol-Version"] = result["protocolVersion"]
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, {})
        return result

    async def request(self, method: str, params: Json | None = None) -> Json:
        """The result of one request.

        Raises:
            RequestFailed: The answer was an error.
        """
        self._next_id += 1
        params = params or {}
        extra: dict[str, str] = {}
        if self._modern:
            params = {**params, "_meta": MODERN_META}
            extra["Mcp-Method"] = method
            if method == "tools/call":
                extra["Mcp-Name"] = params["name"]
        message = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params}
        return _result(await self._post(message, extra))

    async def _post(self, message: Json, extra: Mapping[str, str], method: str = "POST") -> Json:
        reader, writer = await self._connection()
        body = json.dumps(message, separators=(",", ":")).encode()
        headers = {**self._headers, **extra, "Content-Length": str(len(body))}
        lines = [f"{method} {self._path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        status_line, *raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in raw)}
        if headers.get("transfer-encoding") == "chunked":
            content = b""
            while size := int(await reader.readline(), 16):
                content += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            content = await reader.readexactly(int(headers.get("content-length", 0)))
        self._idle.append((reader, writer))
        if (session := headers.get("mcp-session-id")) is not None:
            self._headers["Mcp-Session-Id"] = session
        status = int(status_line.split()[1])
        if not content and status in (200, 202, 204):
            return {}
        if headers.get("content-type", "").startswith("text/event-stream"):
            return _answer_among(content)
        try:
            answer: Json = json.loads(content)
        except ValueError:
            raise RequestFailed(f"HTTP {status}: {content[:200]!r}") from None
        return answer

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that the server has not closed meanwhile, or a new one."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port, limit=LINE_BYTES_MAX)

    async def close(self) -> None:
        """End the session, where there is one, and close every connection."""
        if "Mcp-Session-Id" in self._headers:
            with contextlib.suppress(OSError, RequestFailed, asyncio.IncompleteReadError, TimeoutError):
                await asyncio.wait_for(self._post({}, {}, "DELETE"), 2)
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


def _answer_among(events: bytes) -> Json:
    """The one answer in an event stream."""
    for line in events.splitlines():
        if line.startswith(b"data:") and (content := line[5:].strip()):
            message: Json = json.loads(content)
            if "method" not in message:
                return message
    raise RequestFailed("an event stream without an answer")


def _result(message: Json) -> Json:
    if "result" not in message:
        raise RequestFailed(str(message.get("error", message)))
    result: Json = message["result"]
    return result
