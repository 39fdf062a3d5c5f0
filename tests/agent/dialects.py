"""Model providers that speak their own APIs, as far as one turn with one tool call needs them.

Each answers its first request with a call of `fs_read`, and the request that brings the
result with a text that quotes it.
"""

from __future__ import annotations

import asyncio
import json
import re
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any

from hub.calls import Json


class Dialect(ABC):
    """A provider's server on loopback; use it as an async context manager.

    Attributes:
        model: The LiteLLM name that reaches it.
        requests: The path and body of every request so far.
    """

    model: str
    path_prefix = ""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Json]] = []
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self.path_prefix}"

    @abstractmethod
    def answer(self, path: str, body: Json) -> tuple[str, bytes]:
        """The content type and body of the answer to one request."""

    async def __aenter__(self) -> Dialect:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)content-length: (\d+)", head)
        body = json.loads(await reader.readexactly(int(length[1]))) if length else {}
        path = head.split(" ", 2)[1]
        self.requests.append((path, body))
        kind, answer = self.answer(path, body)
        writer.write(
            f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\n"
            f"content-length: {len(answer)}\r\n\r\n".encode()
            + answer
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()


def _events(*events: tuple[str | None, Json]) -> tuple[str, bytes]:
    text = "".join(
        (f"event: {name}\n" if name else "") + f"data: {json.dumps(event)}\n\n" for name, event in events
    )
    return "text/event-stream", text.encode()


def _json(value: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(value).encode()


class Anthropic(Dialect):
    """`POST /v1/messages`."""

    model = "anthropic/claude-sonnet-5-5"

    def answer(self, path: str, body: Json) -> tuple[str, bytes]:
        last = body["messages"][-1]["content"]
        results = [block for block in last if block["type"] == "tool_result"]
        block: Json
        if results:
            block, stop = {"type": "text", "text": f"It says: {_text(results[0]['content'])}"}, "end_turn"
        else:
            block = {"type": "tool_use", "id": "toolu_1", "name": "fs_read", "input": {"x": 1}}
            stop = "tool_use"
        usage = {"input_tokens": 20, "output_tokens": 7, "cache_read_input_tokens": 5}
        message: Json = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5-5",
            "content": [block],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": usage,
        }
        if not body.get("stream"):
            return _json(message)
        opening = {**block, "input": {}} if "input" in block else {**block, "text": ""}
        if "input" in block:
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in ('{"x"', ": 1}")]
        else:
            deltas = [{"type": "text_delta", "text": part} for part in (block["text"][:5], block["text"][5:])]
        return _events(
            ("message_start", {"type": "message_start", "message": {**message, "content": []}}),
            ("content_block_start", {"type": "content_block_start", "index": 0, "content_block": opening}),
            *(
                ("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})
                for delta in deltas
            ),
            ("content_block_stop", {"type": "content_block_stop", "index": 0}),
            (
                "message_delta",
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": stop, "stop_sequence": None},
                    "usage": {"output_tokens": 7},
                },
            ),
            ("message_stop", {"type": "message_stop"}),
        )


class Gemini(Dialect):
    """`POST /models/…:generateContent`, and `:streamGenerateContent` with server-sent events."""

    model = "gemini/gemini-3.8-flash"

    def answer(self, path: str, body: Json) -> tuple[str, bytes]:
        parts = body["contents"][-1]["parts"]
        results = [part["function_response"] for part in parts if "function_response" in part]
        if results:
            content = results[0]["response"]["content"]
            said: list[list[Json]] = [[{"text": "It says: "}], [{"text": content}]]
        else:
            call = {"functionCall": {"name": "fs_read", "args": {"x": 1}}, "thoughtSignature": "c2lnbmVk"}
            said = [[call]]
        usage = {"promptTokenCount": 20, "candidatesTokenCount": 7, "totalTokenCount": 27}

        def chunk(parts: list[Json], last: bool) -> Json:
            candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
            if last:
                candidate["finishReason"] = "STOP"
            return {
                "candidates": [candidate],
                "usageMetadata": usage,
                "modelVersion": "gemini-3.8-flash",
            }

        if "streamGenerateContent" not in path:
            return _json(chunk([part for parts in said for part in parts], last=True))
        chunks = [chunk(parts, parts is said[-1]) for parts in said]
        return _events(*((None, found) for found in chunks))


class Ollama(Dialect):
    """`POST /api/chat`, newline-delimited JSON when streaming."""

    model = "ollama_chat/qwen3:8b"

    def answer(self, path: str, body: Json) -> tuple[str, bytes]:
        if path != "/api/chat":
            return _json({})
        last = body["messages"][-1]
        messages: list[Json]
        if last["role"] == "tool":
            messages = [{"role": "assistant", "content": part} for part in ("It says: ", last["content"])]
        else:
            call = {"function": {"name": "fs_read", "arguments": {"x": 1}}}
            messages = [{"role": "assistant", "content": "", "tool_calls": [call]}]
        base = {"model": "qwen3:8b", "created_at": "2026-11-21T00:00:00Z"}
        done = {"done": True, "done_reason": "stop", "prompt_eval_count": 20, "eval_count": 7}
        if not body.get("stream"):
            whole = {**messages[0], "content": "".join(message["content"] for message in messages)}
            return _json({**base, **done, "message": whole})
        lines: list[Json] = [{**base, "message": message, "done": False} for message in messages]
        lines.append({**base, **done, "message": {"role": "assistant", "content": ""}})
        return "application/x-ndjson", "".join(json.dumps(line) + "\n" for line in lines).encode()


def _text(content: Any) -> str:
    """The text of an Anthropic tool result, which is a string or a list of blocks."""
    if isinstance(content, str):
        return content
    return "".join(block["text"] for block in content)
