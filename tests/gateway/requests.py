"""Requests as clients of each era send them over HTTP, and what comes back on their streams."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx

from tests.hub.running import ENVELOPE, INITIALIZE, MODERN, Json, Refused, Served

ACCEPT = {"accept": "application/json, text/event-stream"}
_ids = itertools.count(1)


def request(method: str, params: Json | None = None, *, id: object = None) -> Json:
    """A request of the legacy era."""
    return {"jsonrpc": "2.0", "id": id or next(_ids), "method": method, "params": params or {}}


def call(tool: str, /, **arguments: Any) -> Json:
    """A tool call of the legacy era."""
    return request("tools/call", {"name": tool, "arguments": arguments})


def modern_request(method: str, params: Json | None = None) -> Json:
    """A request with its envelope."""
    params = dict(params or {})
    return request(method, {**params, "_meta": ENVELOPE | params.get("_meta", {})})


def modern_headers(message: Json) -> dict[str, str]:
    """The headers that mirror a modern request."""
    headers = ACCEPT | {"mcp-protocol-version": MODERN, "mcp-method": message["method"]}
    named = {"tools/call": "name", "resources/read": "uri"}.get(message["method"])
    if named is not None:
        headers["mcp-name"] = message["params"][named]
    return headers


def messages(response: httpx.Response) -> list[Json]:
    """The messages of a response, be it plain JSON or a stream."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        return list(events(response.iter_lines()))
    return [json.loads(response.read())]


def events(lines: Iterator[str]) -> Iterator[Json]:
    """The messages of a stream as they come."""
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def open_session(served: Served, capabilities: Json | None = None) -> dict[str, str]:
    """Open a legacy session; returns the headers that every request of it carries."""
    hello = request("initialize", INITIALIZE | {"capabilities": capabilities or {}})
    response = served.http.post("/mcp", json=hello, headers=ACCEPT)
    assert response.status_code == 200, response.text
    headers = ACCEPT | {
        "mcp-session-id": response.headers["mcp-session-id"],
        "mcp-protocol-version": response.json()["result"]["protocolVersion"],
    }
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert served.http.post("/mcp", json=initialized, headers=headers).status_code == 202
    return headers


class Modern:
    """A modern client."""

    def __init__(self, served: Served) -> None:
        self.served = served

    def post(self, message: Json, **headers: str) -> httpx.Response:
        return self.served.http.post("/mcp", json=message, headers=modern_headers(message) | headers)

    def request(self, method: str, params: Json | None = None) -> Json:
        """The result of one request.

        Raises:
            Refused: The answer was an error.
        """
        answer = messages(self.post(modern_request(method, params)))[-1]
        if "error" in answer:
            raise Refused(answer["error"])
        result: Json = answer["result"]
        return result

    def call(self, tool: str, /, **arguments: Any) -> Json:
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def names(self) -> set[str]:
        return {tool["name"] for tool in self.request("tools/list")["tools"]}

    def server(self, name: str) -> Json:
        """What `hub.status` says of one server."""
        rows = self.call("hub.status")["structuredContent"]["servers"]
        row: Json = next(row for row in rows if row["name"] == name)
        return row
