"""What the hub's own servers are made of: tools as functions with checked arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hub.calls import Call, Json
from hub.errors import METHOD_NOT_FOUND, HubError, RpcError
from hub.jsonrpc import encode
from hub.protocol import LIST_KEYS

STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
OPTIONAL_STRING: Json = {"type": ["string", "null"]}
STRINGS: Json = {"type": "array", "items": STRING}
READS: Json = {"readOnlyHint": True, "openWorldHint": False}
WRITES: Json = {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False}


class Arguments(BaseModel):
    """What a tool takes; closed, so that a slip is told and not guessed at."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class BuiltinTool:
    """One tool of the hub's own.

    Attributes:
        name: Its own name, without its server's.
        title: For people.
        description: For models.
        arguments: Its input schema, as a model that checks the arguments.
        output: Its output schema; None for a tool whose result is another tool's, passed on as it is.
        annotations: What it may do, truthfully.
        run: Does it; the object it returns is the structured result.
        text: The result in words, for clients that show no structured content; JSON when None.
    """

    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    output: Json | None
    annotations: Json
    run: Callable[[Call, Any], Awaitable[Json]]
    text: Callable[[Json], str] | None = None

    def definition(self) -> Json:
        """The tool as MCP lists it."""
        schema = self.arguments.model_json_schema()
        schema.pop("title", None)
        for property_ in schema.get("properties", {}).values():
            property_.pop("title", None)
        definition: Json = {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": schema,
            "annotations": {"title": self.title, **self.annotations},
        }
        if self.output is not None:
            definition["outputSchema"] = self.output
        return definition


class BuiltinServer:
    """Some of the hub's own tools under one name.

    Args:
        name: The server's name.
        tools: Its tools.
    """

    def __init__(self, name: str, tools: Sequence[BuiltinTool]) -> None:
        self.name = name
        self.absence = None
        self.capabilities: Json = {"tools": {}}
        self.settled = asyncio.Event()
        self.settled.set()
        self._tools = {tool.name: tool for tool in tools}
        self._definitions: list[Json] | None = None

    def items(self, method: str) -> Sequence[Json]:
        if LIST_KEYS[method] != "tools":
            return ()
        if self._definitions is None:
            self._definitions = [tool.definition() for tool in self._tools.values()]
        return self._definitions

    async def request(self, call: Call, method: str, params: Json) -> Json:
        if method != "tools/call":
            raise RpcError({"code": METHOD_NOT_FOUND, "message": f"Method not found: {method}"})
        tool = self._tools[params["name"]]
        try:
            arguments = tool.arguments.model_validate(params.get("arguments") or {})
            structured = await tool.run(call, arguments)
        except ValidationError as error:
            return _failed(_explain(tool.name, error))
        except HubError as error:
            return _failed(error.message)
        if tool.output is None:
            return structured
        text = tool.text(structured) if tool.text else encode(structured).decode()
        return {
            "content": [{"type": "text", "text": text}],
            "structuredContent": structured,
            "isError": False,
        }

    async def subscribe(self, uri: str) -> None:
        """The hub's own tools have no resources."""
        raise RpcError({"code": METHOD_NOT_FOUND, "message": "nothing to subscribe to"})

    async def unsubscribe(self, uri: str) -> None:
        """There is nothing to end."""


def _failed(message: str) -> Json:
    return {"content": [{"type": "text", "text": message}], "isError": True}


def _explain(tool: str, error: ValidationError) -> str:
    lines = [f"the arguments of {tool} do not fit:"]
    for problem in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in problem["loc"])
        lines.append(f"- {where}: {problem['msg']}")
    return "\n".join(lines)


def object_schema(required: Json, optional: Json | None = None) -> Json:
    """The JSON Schema of an object: its required members, and the others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }
