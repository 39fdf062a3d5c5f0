"""A reference MCP server without a transport: one connection, both protocol eras, standard library only.

Scripts in this folder put a transport around it (`echo.py`: stdio, `http_server.py --lean`: HTTP) or spoil
it on purpose (`bad.py`). It is strict about what a client must send, so that a test that passes against it
says something, and it is fast to start (about 30 ms), so that many tests can afford their own.

Tools, all with truthful annotations:

    echo(text)             `text` as text content and as `structuredContent: {"text": ...}`
    add(a, b)              `structuredContent: {"sum": a + b}`
    slow(seconds, steps=4) answers after `seconds`; reports progress `steps` times if a token was given;
                           stops without an answer when cancelled and writes `cancelled` to the journal
    big(bytes)             text content of that many bytes
    fail(message)          a result with `isError`
    error()                the JSON-RPC error -32050 with `data` and an unknown member
    unknown_content()      a content type nobody knows, unknown fields everywhere, integers over 64 bits
    params()               `structuredContent: {"params": ...}`: the request's params exactly as received
    env()                  `structuredContent: {"env", "cwd", "argv", "pid"}` of this process
    grow(name="grown")     adds a tool and announces the changed list
    log(message, count=1)  sends `notifications/message` `count` times before the answer
    ask(message)           elicits from the client (legacy: `elicitation/create`; modern: `input_required`)
                           and returns `structuredContent: {"answer": <ElicitResult>}`
    extra_0000 ...         with `extra_tools`: each echoes its `text`, with a schema of ordinary size

The journal, when there is one, is a file of JSON lines, each written before its effect can be seen:
`{"event": "started", "pid"}`, `{"event": "received", "method", "id"?, "name"?}`,
`{"event": "cancelled", "id"}`, `{"event": "ended"}`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Json = dict[str, Any]
Send = Callable[[Json], None]
Era = Literal["legacy", "modern", "both"]

LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSION = "2026-07-28"
META = "io.modelcontextprotocol/"
UNSUPPORTED_VERSION = -32022


class RpcError(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.error: Json = {"code": code, "message": message, **more}


def tool(name: str, description: str, properties: Json, required: list[str], **more: Any) -> Json:
    """A tool definition with a closed object schema."""
    return {
        "name": name,
        "description": description,
        "inputSchema": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
        **more,
    }


TEXT = {"type": "string"}
NUMBER = {"type": "number"}
COUNT = {"type": "integer", "minimum": 0}

TOOLS: tuple[Json, ...] = (
    tool(
        "echo",
        "Return the text.",
        {"text": TEXT},
        ["text"],
        outputSchema={"type": "object", "properties": {"text": TEXT}, "required": ["text"]},
    ),
    tool("add", "Add two numbers.", {"a": NUMBER, "b": NUMBER}, ["a", "b"]),
    tool("slow", "Answer later, with progress.", {"seconds": NUMBER, "steps": COUNT}, ["seconds"]),
    tool("big", "Return that many bytes of text.", {"bytes": COUNT}, ["bytes"]),
    tool("fail", "Fail as a tool fails.", {"message": TEXT}, []),
    tool("error", "Answer with a JSON-RPC error.", {}, []),
    tool("unknown_content", "Return what no client knows yet.", {}, []),
    tool("params", "Return the params as they arrived.", {}, []) | {"inputSchema": {"type": "object"}},
    tool("env", "Return environment, folder, arguments and pid.", {}, []),
    tool("grow", "Add a tool to the list.", {"name": TEXT}, []) | {"annotations": {"readOnlyHint": False}},
    tool("log", "Send log messages first.", {"message": TEXT, "count": COUNT}, ["message"]),
    tool("ask", "Ask the user.", {"message": TEXT}, ["message"]),
)


def extra_tool(number: int) -> Json:
    """One of the many tools that a test of long lists asks for."""
    return tool(
        f"extra_{number:04}",
        f"Extra tool {number}: looks something up in a place that does not exist, returns the text.",
        {
            "text": {"type": "string", "description": "What to look up.", "maxLength": 10_000},
            "limit": {"type": "integer", "description": "How many to return.", "minimum": 1, "default": 10},
            "order": {"type": "string", "enum": ["newest", "oldest", "relevance"], "default": "relevance"},
        },
        ["text"],
    )


class Reference:
    """One connection to the reference server.

    `receive` may be called from one thread; `send` is called from several, one whole message at a time.

    Args:
        send: Takes each outgoing message.
        name: The server's name in `serverInfo`.
        era: Which clients it serves; `both` is decided by the first request.
        extra_tools: How many `extra_` tools it lists.
        page: How many tools one page of `tools/list` holds; 0 is all.
        journal: The file of JSON lines.
    """

    def __init__(
        self,
        send: Send,
        *,
        name: str = "reference",
        era: Era = "legacy",
        extra_tools: int = 0,
        page: int = 0,
        journal: Path | None = None,
    ) -> None:
        self.name = name
        self.era = era
        self.tools = [*TOOLS, *(extra_tool(number) for number in range(extra_tools))]
        self.page = page
        self.journal = journal
        self.modern: bool | None = None if era == "both" else era == "modern"
        self.listening: dict[str | int, Json] = {}
        self.cancelled: dict[str | int, threading.Event] = {}
        self.asked: dict[str, Callable[[Json], None]] = {}
        self._send = send
        self._lock = threading.Lock()
        self.note(event="started", pid=os.getpid())

    def send(self, message: Json) -> None:
        with self._lock:
            self._send(message)

    def note(self, **event: Any) -> None:
        """Append a line to the journal."""
        if self.journal is not None:
            with self.journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")

    def receive(self, message: Any) -> None:
        """Take one message; what it causes goes to `send`, now or later."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "invalid request"}})
            return
        method = message.get("method")
        if method is None:
            if (answer := self.asked.pop(str(message.get("id")), None)) is not None:
                answer(message)
            return
        params = message.get("params") or {}
        named = {"name": params["name"]} if method == "tools/call" and "name" in params else {}
        if "id" not in message:
            self.note(event="received", method=method)
            self.notified(method, params)
            return
        request_id = message["id"]
        self.note(event="received", method=method, id=request_id, **named)
        try:
            if self.modern is None:
                self.modern = method != "initialize" and f"{META}protocolVersion" in params.get("_meta", {})
            if self.modern:
                self.check_envelope(method, params)
            result = self.respond(request_id, method, params)
        except RpcError as error:
            self.send({"jsonrpc": "2.0", "id": request_id, "error": error.error})
            return
        if result is not None:
            self.answer(request_id, result)

    def answer(self, request_id: str | int, result: Json) -> None:
        """Send a result, stamped as the connection's era wants it."""
        if self.modern:
            result = {"resultType": "complete", **result}
            result["_meta"] = {
                f"{META}serverInfo": {"name": self.name, "version": "1"},
                **result.get("_meta", {}),
            }
        self.send({"jsonrpc": "2.0", "id": request_id, "result": result})

    def check_envelope(self, method: str, params: Json) -> None:
        """Refuse what a modern client must not send, or must not leave out."""
        if method == "initialize":
            data = {"supported": [MODERN_VERSION], "requested": params.get("protocolVersion")}
            raise RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data=data)
        meta = params.get("_meta", {})
        for key in ("protocolVersion", "clientCapabilities"):
            if META + key not in meta:
                raise RpcError(-32602, f"params._meta lacks {META + key}")
        if meta[f"{META}protocolVersion"] != MODERN_VERSION:
            data = {"supported": [MODERN_VERSION], "requested": meta[f"{META}protocolVersion"]}
            raise RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data=data)

    def notified(self, method: str, params: Json) -> None:
        if method == "notifications/cancelled":
            event = self.cancelled.get(params.get("requestId", ""))
            if event is not None:
                event.set()
            self.listening.pop(params.get("requestId", ""), None)

    def respond(self, request_id: str | int, method: str, params: Json) -> Json | None:
        """The result of a request, or None when it is answered later or never.

        Raises:
            RpcError: The error to answer with.
        """
        if method == "initialize" and not self.modern:
            asked = params.get("protocolVersion")
            return {
                "protocolVersion": asked if asked in LEGACY_VERSIONS else LEGACY_VERSIONS[-1],
                "capabilities": {"tools": {"listChanged": True}, "logging": {}},
                "serverInfo": {"name": self.name, "version": "1"},
            }
        if method == "server/discover" and self.modern:
            return {
                "supportedVersions": [MODERN_VERSION],
                "capabilities": {"tools": {"listChanged": True}},
                "ttlMs": 0,
                "cacheScope": "private",
            }
        if method in ("ping", "logging/setLevel") and not self.modern:
            return {}
        if method == "tools/list":
            return self.list_tools(params)
        if method == "tools/call":
            return self.call(request_id, params)
        if method == "subscriptions/listen" and self.modern:
            wanted = params.get("notifications", {})
            honoured = {"toolsListChanged": True} if wanted.get("toolsListChanged") else {}
            self.listening[request_id] = honoured
            self.push(
                "notifications/subscriptions/acknowledged",
                {"notifications": honoured, "_meta": {f"{META}subscriptionId": request_id}},
            )
            return None
        raise RpcError(-32601, f"Method not found: {method}")

    def push(self, method: str, params: Json) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def list_tools(self, params: Json) -> Json:
        cache = {"ttlMs": 0, "cacheScope": "private"} if self.modern else {}
        if not self.page:
            return {"tools": list(self.tools), **cache}
        start = int(params.get("cursor", 0))
        end = start + self.page
        more = {"nextCursor": str(end)} if end < len(self.tools) else {}
        return {"tools": self.tools[start:end], **more, **cache}

    def call(self, request_id: str | int, params: Json) -> Json | None:
        name = params.get("name", "")
        arguments = params.get("arguments") or {}
        definition = next((tool for tool in self.tools if tool["name"] == name), None)
        if definition is None:
            raise RpcError(-32602, f"Unknown tool: {name}")
        missing = [key for key in definition["inputSchema"].get("required", []) if key not in arguments]
        if missing:
            return text_result(f"missing arguments: {', '.join(missing)}", is_error=True)
        method = getattr(self, f"tool_{name}", self.tool_echo)
        result: Json | None = method(request_id, params, arguments)
        return result

    def tool_echo(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        text = arguments.get("text", "")
        return text_result(text, structuredContent={"text": text})

    def tool_add(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        total = arguments["a"] + arguments["b"]
        return text_result(str(total), structuredContent={"sum": total})

    def tool_slow(self, request_id: str | int, params: Json, arguments: Json) -> None:
        cancelled = self.cancelled[request_id] = threading.Event()

        def work() -> None:
            steps = max(1, int(arguments.get("steps", 4)))
            token = params.get("_meta", {}).get("progressToken")
            for step in range(1, steps + 1):
                if cancelled.wait(arguments["seconds"] / steps):
                    self.note(event="cancelled", id=request_id)
                    return
                if token is not None:
                    self.push(
                        "notifications/progress",
                        {"progressToken": token, "progress": step, "total": steps, "message": f"step {step}"},
                    )
            del self.cancelled[request_id]
            self.answer(request_id, text_result("done", structuredContent={"slept": arguments["seconds"]}))

        threading.Thread(target=work, daemon=True).start()

    def tool_big(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        return text_result("x" * int(arguments["bytes"]))

    def tool_fail(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        return text_result(arguments.get("message", "it failed"), is_error=True)

    def tool_error(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        raise RpcError(
            -32050, "quota used up", data={"retry_after_s": 7, "deep": [1, {"x": None}]}, hint="unknown"
        )

    def tool_unknown_content(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        return {
            "content": [
                {"type": "hologram", "voxels": [1, 2, 3], "nested": {"unknown": True}},
                {"type": "text", "text": "known", "colour": "green", "annotations": {"unknown": 1}},
            ],
            "structuredContent": {
                "big": 2**80,
                "negative": -(2**70),
                "float": 1e300,
                "empty": None,
                "ü": "\u2028",
            },
            "unknownField": {"kept": ["as", "it", "is"]},
            "_meta": {"example.com/trace": "abc"},
        }

    def tool_params(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        return text_result(json.dumps(params), structuredContent={"params": params})

    def tool_env(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        facts = {"env": dict(os.environ), "cwd": os.getcwd(), "argv": sys.argv, "pid": os.getpid()}
        return text_result(json.dumps(facts), structuredContent=facts)

    def tool_grow(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        self.tools.append(tool(arguments.get("name", "grown"), "Grown.", {"text": TEXT}, []))
        if not self.modern:
            self.send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        for subscription, honoured in self.listening.items():
            if honoured:
                meta = {f"{META}subscriptionId": subscription}
                self.push("notifications/tools/list_changed", {"_meta": meta})
        return text_result("grown")

    def tool_log(self, request_id: str | int, params: Json, arguments: Json) -> Json:
        for number in range(int(arguments.get("count", 1))):
            record = {
                "level": "info",
                "logger": self.name,
                "data": {"text": arguments["message"], "n": number},
            }
            self.push("notifications/message", record)
        return text_result("logged")

    def tool_ask(self, request_id: str | int, params: Json, arguments: Json) -> Json | None:
        question = {
            "message": arguments["message"],
            "requestedSchema": {"type": "object", "properties": {"answer": TEXT}, "required": ["answer"]},
        }
        if self.modern:
            if (answers := params.get("inputResponses")) is None:
                request = {"method": "elicitation/create", "params": {"mode": "form", **question}}
                return {
                    "resultType": "input_required",
                    "inputRequests": {"q": request},
                    "requestState": "asked",
                }
            return text_result("answered", structuredContent={"answer": answers.get("q")})

        def answered(message: Json) -> None:
            facts = message.get("result") or {"error": message.get("error")}
            self.answer(request_id, text_result("answered", structuredContent={"answer": facts}))

        self.asked[f"ask-{request_id}"] = answered
        self.send(
            {"jsonrpc": "2.0", "id": f"ask-{request_id}", "method": "elicitation/create", "params": question}
        )
        return None


def text_result(text: str, *, is_error: bool = False, **more: Any) -> Json:
    """A `CallToolResult` with one text block."""
    result: Json = {"content": [{"type": "text", "text": text}], **more}
    if is_error:
        result["isError"] = True
    return result
