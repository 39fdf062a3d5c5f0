"""A client for the suite's mock servers, with the hub between: what the suite tests is the hub as a client.

    python through_hub.py URL

The suite says in the environment which scenario it plays (`MCP_CONFORMANCE_SCENARIO`), in which revision
(`MCP_CONFORMANCE_PROTOCOL_VERSION`), and with what (`MCP_CONFORMANCE_CONTEXT`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

Json = dict[str, Any]
Scenario = Callable[[Client], Awaitable[None]]

LOGIN_DEADLINE_S = 20.0
READY_S = 15.0
"""How long the hub may take to know the server's tools, or that it will not know them."""

EMPTY: Json = {"string": "x", "integer": 0, "number": 0, "boolean": False, "object": {}, "array": []}


def arguments_for(tool: types.Tool) -> Json:
    """Arguments that satisfy a tool, and say nothing."""
    properties = tool.input_schema.get("properties", {})
    return {
        name: EMPTY.get(properties.get(name, {}).get("type"), "x")
        for name in tool.input_schema.get("required", [])
    }


async def tools_of(client: Client) -> list[types.Tool]:
    """The server's tools, once the hub has them."""
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            while not (tools := (await client.list_tools()).tools):
                await asyncio.sleep(0.05)  # the hub announces them too; asking again is simpler here
            return tools
    return []


async def add(client: Client) -> None:
    await client.call_tool("add_numbers", {"a": 5, "b": 3})


async def call_everything(client: Client) -> None:
    for tool in await tools_of(client):
        with suppress(MCPError):
            await client.call_tool(tool.name, arguments_for(tool))


async def use_every_primitive(client: Client) -> None:
    await call_everything(client)
    for resource in (await client.list_resources()).resources:
        await client.read_resource(resource.uri)
    for prompt in (await client.list_prompts()).prompts:
        await client.get_prompt(prompt.name)


async def replay(client: Client) -> None:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    for call in context.get("toolCalls", []):
        with suppress(MCPError):
            await client.call_tool(call["name"], call.get("arguments") or {})


async def several_rounds(client: Client) -> None:
    for tool in ("echo_state", "unrelated", "no_state", "no_result_type"):
        await client.call_tool(f"test_mrtr_{tool}", {})


async def echo_schema(client: Client) -> None:
    tools = {tool.name: tool for tool in await tools_of(client)}
    schema = tools["json_schema_2020_12_tool"].input_schema
    await client.call_tool("json_schema_echo", {"schema": schema})


def call(tool: str) -> Scenario:
    async def called(client: Client) -> None:
        await client.call_tool(tool, {})

    return called


async def nothing(client: Client) -> None:
    """Having the hub connect is all there is to it."""


SCENARIOS: dict[str, Scenario] = {
    "tools_call": add,
    "request-metadata": add,
    "sse-retry": call("test_reconnection"),
    "elicitation-sep1034-client-defaults": call("test_client_elicitation_defaults"),
    "sep-2322-client-request-state": several_rounds,
    "http-standard-headers": use_every_primitive,
    "http-custom-headers": replay,
    "http-invalid-tool-headers": call_everything,
    "json-schema-2020-12-preservation": echo_schema,
}


async def answer(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Accept a form with its defaults."""
    content: Json = {}
    if isinstance(params, types.ElicitRequestFormParams):
        for name, schema in params.requested_schema.get("properties", {}).items():
            if "default" in schema:
                content[name] = schema["default"]
            elif schema.get("type") == "boolean":
                content[name] = True
    return types.ElicitResult(action="accept", content=content)


async def sample(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    return types.CreateMessageResult(
        role="assistant", content=types.TextContent(type="text", text=""), model="m"
    )


async def roots(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[])


def write_home(home: Path, url: str) -> None:
    """A home with the mock server in it and nothing else."""
    home.mkdir()
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"mock": {"type": "http", "url": url}}}))
    (home / "hub.toml").write_text(
        'builtin_tools = false\ntool_names = "bare"\n[skills]\ndisabled = ["fs", "time", "web"]\n'
    )


async def run(scenario: str, url: str, folder: Path) -> None:
    home = folder / "home"
    write_home(home, url)
    modern = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION") in MODERN_PROTOCOL_VERSIONS
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "hub", "mcp", "--embedded", "--home", str(home)], cwd=home
    )
    async with Client(
        command,
        mode="auto" if modern else "legacy",
        cache=None,
        elicitation_callback=answer,
        sampling_callback=sample,
        list_roots_callback=roots,
    ) as client:
        await tools_of(client)
        await SCENARIOS.get(scenario, nothing)(client)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    scenario, url = os.environ.get("MCP_CONFORMANCE_SCENARIO", ""), sys.argv[-1]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(scenario, url, Path(folder)))


if __name__ == "__main__":
    main()
