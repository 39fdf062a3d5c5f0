"""What the hub's own servers are made of: tools with checked arguments, and resources."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hub.calls import Call, Json
from hub.errors import INVALID_PARAMS, METHOD_NOT_FOUND, HubError, RpcError, UnknownName
from hub.jsonrpc import encode
from hub.protocol import RESOURCE_NOT_FOUND

STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
OPTIONAL_STRING: Json = {"anyOf": [STRING, {"type": "null"}]}
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
        schema = _plain(self.arguments.model_json_schema())
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


@dataclass(frozen=True, slots=True)
class BuiltinResource:
    """Resources of the hub's own that one template describes.

    Attributes:
        uri_template: What their URIs look like (RFC 6570).
        name: The template's name.
        title: For people.
        description: For models.
        mime_type: Of each of them.
        read: The content that a URI of the template names, without the URI; raises `UnknownName`.
    """

    uri_template: str
    name: str
    title: str
    description: str
    mime_type: str
    read: Callable[[Call, str], Awaitable[Json]]

    def definition(self) -> Json:
        """The template as MCP lists it."""
        return {
            "uriTemplate": self.uri_template,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mimeType": self.mime_type,
        }


class BuiltinServer:
    """Some of the hub's own tools and resources under one name.

    Args:
        name: The server's name.
        tools: Its tools.
        resources: Its resources, each kind under a template of its own.
    """

    def __init__(
        self, name: str, tools: Sequence[BuiltinTool], resources: Sequence[BuiltinResource] = ()
    ) -> None:
        self.name = name
        self.absence = None
        # Not `resources`: that would say that it may know some which no list or template of its own names.
        self.capabilities: Json = {"tools": {}}
        self.settled = asyncio.Event()
        self.settled.set()
        self._tools = {tool.name: tool for tool in tools}
        self._resources = tuple(resources)
        self._definitions: list[Json] | None = None

    def items(self, method: str) -> Sequence[Json]:
        if method == "resources/templates/list":
            return [resource.definition() for resource in self._resources]
        if method != "tools/list":
            return ()
        if self._definitions is None:
            self._definitions = [tool.definition() for tool in self._tools.values()]
        return self._definitions

    async def request(self, call: Call, method: str, params: Json) -> Json:
        if method == "resources/read":
            return await self._read(call, params["uri"])
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

    async def _read(self, call: Call, uri: str) -> Json:
        for resource in self._resources:
            if uri.startswith(resource.uri_template.partition("{")[0]):
                try:
                    return {"contents": [{"uri": uri, **await resource.read(call, uri)}]}
                except UnknownName as error:
                    raise _not_found(call, uri, error.message) from None
        raise _not_found(call, uri, "it has no such resource")

    async def subscribe(self, uri: str) -> None:
        """The hub's own resources never change."""
        raise RpcError({"code": METHOD_NOT_FOUND, "message": "nothing to subscribe to"})

    async def unsubscribe(self, uri: str) -> None:
        """There is nothing to end."""


def _plain(schema: Any, definitions: Mapping[str, Json] | None = None) -> Any:
    """A schema as clients read it most surely: without titles, every `$ref` replaced by what it names."""
    if isinstance(schema, list):
        return [_plain(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = schema.get("$defs", {}) if definitions is None else definitions
    if "$ref" in schema:
        named = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    plain = {
        key: _plain(value, definitions)
        for key, value in schema.items()
        if key not in ("title", "$defs", "properties")
    }
    if "properties" in schema:
        plain["properties"] = {
            name: _plain(value, definitions) for name, value in schema["properties"].items()
        }
    return plain


def _not_found(call: Call, uri: str, why: str) -> RpcError:
    code = INVALID_PARAMS if call.modern else RESOURCE_NOT_FOUND
    return RpcError({"code": code, "message": f"Resource not found: {uri}: {why}", "data": {"uri": uri}})


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
