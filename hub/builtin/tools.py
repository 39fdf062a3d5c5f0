"""The hub itself as tools: finding and calling any tool, and how the hub is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import Field

from hub.builtin.parts import Parts
from hub.builtin.servers import READS, STRING, STRINGS, Arguments, BuiltinTool, object_schema
from hub.calls import Call, Json


class SearchArguments(Arguments):
    query: str = Field(min_length=1, description="What is to be done, in words.")
    limit: int = Field(default=8, ge=1, le=50, description="How many tools at most.")


class CallArguments(Arguments):
    name: str = Field(min_length=1, description="The tool's name, as tools.search gave it.")
    arguments: dict[str, Any] = Field(default={}, description="Its arguments, as its schema asks for them.")


class NoArguments(Arguments):
    pass


def search(parts: Parts) -> BuiltinTool:
    """`tools.search`."""

    async def run(call: Call, arguments: SearchArguments) -> Json:
        return {"tools": parts.search_tools(arguments.query, arguments.limit, call.caller)}

    return BuiltinTool(
        name="search",
        title="Find a tool",
        description="Find tools by what they do. Returns their full definitions, best first.",
        arguments=SearchArguments,
        output=object_schema({"tools": {"type": "array", "items": {"type": "object"}}}),
        annotations=READS,
        run=run,
    )


def call(parts: Parts) -> BuiltinTool:
    """`tools.call`."""

    async def run(call: Call, arguments: CallArguments) -> Json:
        params = {**call.params, "name": arguments.name, "arguments": arguments.arguments}
        return await parts.call_tool(replace(call, params=params))

    return BuiltinTool(
        name="call",
        title="Call a tool by its name",
        description="Call a tool that tools.search found. The result is that tool's own.",
        arguments=CallArguments,
        output=None,
        # It may call any tool there is, so it may do what any of them may do.
        annotations={"readOnlyHint": False, "destructiveHint": True, "openWorldHint": True},
        run=run,
    )


def status(parts: Parts) -> BuiltinTool:
    """`hub.status`."""

    async def run(call: Call, arguments: NoArguments) -> Json:
        return parts.status()

    return BuiltinTool(
        name="status",
        title="How the hub is",
        description="Which servers are connected, why one is not, and how the hub itself is.",
        arguments=NoArguments,
        output=object_schema(
            {"version": STRING, "servers": {"type": "array", "items": {"type": "object"}}},
            {"problems": STRINGS},
        ),
        annotations=READS,
        run=run,
    )
