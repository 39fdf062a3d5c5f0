"""A model that follows a script: a real HTTP server on loopback that speaks OpenAI's chat API.

LiteLLM reaches it like any other server: model `openai/scripted`, `api_base` its
`url`. It says in its replies that it is scripted. Tests and the tour use it; nothing
ever falls back to it.

    async with ScriptedModel([Call("fs.read", {"path": "notes.txt"}), Say("Done.")]) as model:
        ...  # model.url
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from hub.calls import Json

LABEL = "[scripted model] "
"""What every text of the scripted model begins with, unless its maker says otherwise."""

_BODY_BYTES_MAX = 64 * 1024 * 1024
_PIECE_CHARS = 12
"""How much text one streamed piece holds."""


@dataclass(frozen=True, slots=True)
class Say:
    """The model says something and is done.

    Attributes:
        text: What it says.
        finish: Why it stops; `length` for a reply cut at its token limit.
        delay_s: How long it thinks first.
        piece_delay_s: How long it waits between two streamed pieces.
    """

    text: str
    finish: str = "stop"
    delay_s: float = 0.0
    piece_delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """The model asks for a tool.

    Attributes:
        name: The tool's public name.
        arguments: Its arguments; a string is sent as it is, however broken.
        also: Further calls in the same answer.
        text: What it says beside the call.
        delay_s: How long it thinks first.
    """

    name: str
    arguments: Json | str = field(default_factory=dict)
    also: tuple[Call, ...] = ()
    text: str = ""
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fail:
    """The server answers with an HTTP error."""

    status: int
    message: str = "scripted failure"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Garbage:
    """The server answers 200 with something that is not a chat completion."""

    body: bytes = b"<html>not a model</html>"


@dataclass(frozen=True, slots=True)
class BreakOff:
    """The connection drops in the middle of a streamed text."""

    text: str


@dataclass(frozen=True, slots=True)
class Hang:
    """The server takes the request and never answers."""


Step = Say | Call | Fail | Garbage | BreakOff | Hang


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as a script sees it."""

    body: Json

    @property
    def messages(self) -> list[Json]:
        messages: list[Json] = self.body.get("messages", [])
        return messages

    @property
    def tools(self) -> list[str]:
        """The tools offered, under the names that models see."""
        return [tool["function"]["name"] for tool in self.body.get("tools", [])]

    @property
    def user(self) -> str:
        """The latest message of the user, with whatever the prompt put around it."""
        return next((str(m["content"]) for m in reversed(self.messages) if m["role"] == "user"), "")

    @property
    def results(self) -> list[str]:
        """The tool results since that message, oldest first."""
        found: list[str] = []
        for message in reversed(self.messages):
            if message["role"] == "user":
                break
            if message["role"] == "tool":
                found.append(str(message["content"]))
        return found[::-1]


Script = Sequence[Step | Callable[[Request], Step]] | Callable[[Request], Step]
"""Steps for one request each, some computed from it; or one function for every request."""


class ScriptedModel:
    """The server. Use it as an async context manager.

    Args:
        script: What to answer. A script of steps that has ended answers with status 500.
        label: What every text begins with; empty where a test reads the text as a program would.

    Attributes:
        requests: Every request so far, oldest first.
        abandoned: How many answers the client did not wait for.
    """

    def __init__(self, script: Script, *, label: str = LABEL) -> None:
        self._script = script
        self._label = label
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._called = asyncio.Condition()
        self.requests: list[Request] = []
        self.abandoned = 0

    @property
    def url(self) -> str:
        """The `api_base` under which it is reached."""
        assert self._server is not None, "the scripted model runs inside `async with`"
        port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/v1"

    async def wait_for_requests(self, count: int, deadline_s: float = 10.0) -> None:
        """Return once that many requests have arrived.

        Raises:
            TimeoutError: They did not, in time.
        """
        async with asyncio.timeout(deadline_s), self._called:
            await self._called.wait_for(lambda: len(self.requests) >= count)

    async def wait_for_abandoned(self, count: int, deadline_s: float = 10.0) -> None:
        """Return once that many answers were not waited for.

        Raises:
            TimeoutError: They were, or not in time.
        """
        async with asyncio.timeout(deadline_s), self._called:
            await self._called.wait_for(lambda: self.abandoned >= count)

    async def __aenter__(self) -> ScriptedModel:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1024 * 1024)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await _read_request(reader)) is not None:
                async with self._called:
                    self.requests.append(request)
                    number = len(self.requests)
                    self._called.notify_all()
                if not await self._answer(self._step(request, number), request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            await self._count_abandoned()
        except asyncio.CancelledError:
            # Only `__aexit__` cancels; the connection ends with the server.
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    def _step(self, request: Request, number: int) -> Step:
        if callable(self._script):
            return self._script(request)
        if number > len(self._script):
            return Fail(500, f"the script has {len(self._script)} steps, this is request {number}")
        step = self._script[number - 1]
        return step(request) if callable(step) else step

    async def _answer(
        self, step: Step, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Play one step; whether the connection can carry another request."""
        match step:
            case Fail(status, message, headers):
                body = json.dumps({"error": {"message": message, "type": "scripted"}}).encode()
                await _respond(writer, status, body, headers)
                return True
            case Garbage(body):
                await _respond(writer, 200, body)
                return True
            case Hang():
                return await self._pause(float("inf"), reader)
            case BreakOff(text):
                _begin_stream(writer)
                for piece in _pieces(self._label + text):
                    _send_chunk(writer, _chunk({"content": piece}))
                await writer.drain()
                return False
            case Say() | Call():
                if step.delay_s and not await self._pause(step.delay_s, reader):
                    return False
                if not request.body.get("stream"):
                    await _respond(writer, 200, json.dumps(self._completion(step, request)).encode())
                    return True
                return await self._stream(step, request, reader, writer)

    async def _stream(
        self,
        step: Say | Call,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        completion = self._completion(step, request)
        choice = completion["choices"][0]
        message = choice["message"]
        _begin_stream(writer)
        _send_chunk(writer, _chunk({"role": "assistant", "content": ""}))
        for piece in _pieces(message["content"] or ""):
            _send_chunk(writer, _chunk({"content": piece}))
            if isinstance(step, Say) and step.piece_delay_s:
                await writer.drain()
                if not await self._pause(step.piece_delay_s, reader):
                    return False
        for index, call in enumerate(message.get("tool_calls", ())):
            function = call["function"]
            opening = {**call, "index": index, "function": {"name": function["name"], "arguments": ""}}
            _send_chunk(writer, _chunk({"tool_calls": [opening]}))
            for piece in _pieces(function["arguments"]):
                part = {"index": index, "function": {"arguments": piece}}
                _send_chunk(writer, _chunk({"tool_calls": [part]}))
        _send_chunk(writer, _chunk({}, finish=choice["finish_reason"]))
        if request.body.get("stream_options", {}).get("include_usage"):
            _send_chunk(writer, {**_chunk({}), "choices": [], "usage": completion["usage"]})
        _send(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _pause(self, seconds: float, reader: asyncio.StreamReader) -> bool:
        """Wait, unless the client goes away first; whether it is still there."""
        try:
            async with asyncio.timeout(None if seconds == float("inf") else seconds):
                # A client that waits for its answer sends nothing; the end of its stream is its leaving.
                await reader.read(1)
        except TimeoutError:
            return True
        await self._count_abandoned()
        return False

    async def _count_abandoned(self) -> None:
        async with self._called:
            self.abandoned += 1
            self._called.notify_all()

    def _completion(self, step: Say | Call, request: Request) -> Json:
        text = self._label + step.text if step.text else ""
        message: Json = {"role": "assistant", "content": text}
        finish = "tool_calls"
        if isinstance(step, Say):
            finish = step.finish
        else:
            number = len(self.requests)
            message["tool_calls"] = [
                {
                    "id": f"call_{number}_{index}",
                    "type": "function",
                    "function": {
                        "name": _wire_name(call.name, request.tools),
                        "arguments": call.arguments
                        if isinstance(call.arguments, str)
                        else json.dumps(call.arguments),
                    },
                }
                for index, call in enumerate((step, *step.also))
            ]
        read = len(json.dumps(request.body)) // 4
        written = max(1, len(json.dumps(message)) // 4)
        return {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 0,
            "model": "scripted",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
            },
        }


def _wire_name(public: str, offered: Sequence[str]) -> str:
    """The offered name that stands for a public one; the public one, made acceptable, when none does."""
    wire = re.sub(r"[^A-Za-z0-9_-]", "_", public)
    return next((name for name in offered if name in (public, wire)), wire)


def _chunk(delta: Json, finish: str | None = None) -> Json:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE_CHARS):
        yield text[start : start + _PIECE_CHARS]


def _begin_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")


def _send_chunk(writer: asyncio.StreamWriter, chunk: Json) -> None:
    _send(writer, b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _send(writer: asyncio.StreamWriter, event: bytes) -> None:
    writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")


async def _respond(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    headers: Sequence[tuple[str, str]] = (),
) -> None:
    lines = [f"HTTP/1.1 {status} Scripted", "content-type: application/json"]
    lines += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers)]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request with a JSON body; None when the client is done."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    found = re.search(rb"(?i)^content-length:\s*(\d+)", head, re.MULTILINE)
    length = int(found[1]) if found else 0
    assert length <= _BODY_BYTES_MAX
    body: Any = json.loads(await reader.readexactly(length)) if length else {}
    return Request(body)
