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
import subprocess
import sys
import tempfile
import urllib.request
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

Json = dict[str, Any]
Scenario = Callable[[Client], Awaitable[None]]

CLIENT_METADATA_URL = "https://conformance-test.local/client-metadata.json"
"""The client id metadata document that the suite expects."""

BROWSE = "--browse"
LOGINS = 2
"""How often a login is tried: a second time where the server then wants more of it."""

LOGIN_DEADLINE_S = 20.0
READY_S = 5.0
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
            while not (tools := (await client.list_tools()).tools):  # noqa: ASYNC110 (simpler than to listen)
                await asyncio.sleep(0.05)
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
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    oauth = {"clientMetadataUrl": CLIENT_METADATA_URL}
    if "client_id" in context:
        oauth = {"clientId": context["client_id"], "clientSecret": context["client_secret"]}
    entry = {"type": "http", "url": url, "oauth": oauth}
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {"mock": entry}}))
    (home / "hub.toml").write_text(
        'builtin_tools = false\ntool_names = "bare"\n[skills]\ndisabled = ["fs", "time", "web"]\n'
    )


@asynccontextmanager
async def client_of(home: Path, *options: str) -> AsyncIterator[Client]:
    """A client of the hub that owns a home."""
    modern = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION") in MODERN_PROTOCOL_VERSIONS
    args = ["-m", "hub", "mcp", *options, "--home", str(home)]
    async with Client(
        StdioServerParameters(command=sys.executable, args=args, cwd=home),
        mode="auto" if modern else "legacy",
        cache=None,
        elicitation_callback=answer,
        sampling_callback=sample,
        list_roots_callback=roots,
    ) as client:
        yield client


async def play(scenario: str, home: Path) -> None:
    """Do what a scenario asks for."""
    async with client_of(home, "--embedded") as client:
        await tools_of(client)
        await SCENARIOS.get(scenario, nothing)(client)


async def log_in_and_call(home: Path) -> None:
    """Log in as a person does, with a browser that agrees to everything, and use the server."""
    try:
        for _ in range(LOGINS):
            if hub(home, "servers", "login", "mock") != 0:
                continue
            async with client_of(home) as client:
                if await first_tool_works(client):
                    return
    finally:
        hub(home, "stop")


async def first_tool_works(client: Client) -> bool:
    """Whether the server's first tool can be called; it may want more than the login has brought."""
    for tool in (await tools_of(client))[:1]:
        with suppress(MCPError):
            return not (await client.call_tool(tool.name, {})).is_error
    return False


def hub(home: Path, *command: str) -> int:
    """Run a command of the hub; returns its exit code."""
    browser = f"{sys.executable} {__file__} {BROWSE} %s"
    done = subprocess.run(
        [sys.executable, "-m", "hub", *command, "--home", str(home)],
        env={**os.environ, "BROWSER": browser},
        cwd=home,
        stdout=sys.stderr,
        timeout=LOGIN_DEADLINE_S,
        check=False,
    )
    return done.returncode


def browse(url: str) -> None:
    """Follow the redirects of an authorization, as a browser does."""
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=LOGIN_DEADLINE_S).close()


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    if sys.argv[1] == BROWSE:
        browse(sys.argv[2])
        return
    scenario, url = os.environ.get("MCP_CONFORMANCE_SCENARIO", ""), sys.argv[-1]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        write_home(home, url)
        playing = log_in_and_call(home) if scenario.startswith("auth/") else play(scenario, home)
        asyncio.run(playing)


if __name__ == "__main__":
    main()
