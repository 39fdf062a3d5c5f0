"""The official SDK's client is content with the hub, over every transport and in both eras."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult

from tests.gateway.requests import Modern
from tests.hub.running import Hubs, Served, environment, hub_mcp, stdio, until, write_servers

pytestmark = pytest.mark.anyio

SERVERS = ("old", "new")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A hub with its HTTP faces and its socket, so that all transports meet the same one."""
    home = tmp_path_factory.mktemp("home")
    write_servers(home, {"old": stdio("echo.py"), "new": stdio("modern.py")})
    served = Served(home)
    try:
        until(lambda: {"old.echo", "new.echo"} <= Modern(served).names(), "the tools")
        yield served
    finally:
        served.stop()
        Hubs(home).end()


@asynccontextmanager
async def connected(served: Served, transport: str, mode: str, **options: Any) -> AsyncIterator[Client]:
    """An SDK client that is connected in one of the ways there are."""
    async with contextlib.AsyncExitStack() as stack:
        headers = {"authorization": f"Bearer {served.key}"}
        where: Any
        if transport == "stdio":
            command, *arguments = hub_mcp(served.home)
            where = StdioServerParameters(
                command=command, args=arguments, env=environment(served.home), cwd=served.home
            )
        elif transport == "http":
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=30))
            where = streamable_http_client(f"{served.url}/mcp", http_client=http, max_sse_event_size=None)
        else:
            where = sse_client(f"{served.url}/sse", headers=headers)
        yield await stack.enter_async_context(Client(where, mode=mode, **options))


every = pytest.mark.parametrize(
    ("transport", "mode", "version"),
    [
        ("stdio", "auto", "2026-07-28"),
        ("stdio", "legacy", "2025-11-25"),
        ("http", "auto", "2026-07-28"),
        ("http", "legacy", "2025-11-25"),
        ("sse", "legacy", "2025-11-25"),
    ],
)


@every
async def test_it_lists_and_calls(served: Served, transport: str, mode: str, version: str) -> None:
    async with connected(served, transport, mode) as client:
        assert client.protocol_version == version
        assert client.server_info is not None
        assert client.server_info.name == "omni-hub"
        assert "memory.recall" in (client.instructions or "")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"old.echo", "new.echo", "hub.status", "memory.recall", "agent.run_turn"} <= set(tools)
        assert tools["old.echo"].annotations is not None
        assert tools["old.echo"].annotations.read_only_hint is True
        for server in SERVERS:
            result = await client.call_tool(f"{server}.echo", {"text": "größe"})
            assert result.structured_content == {"text": "größe"}
            assert not result.is_error
        status = await client.call_tool("hub.status", {})
        assert status.structured_content is not None
        assert {row["name"] for row in status.structured_content["servers"]} >= set(SERVERS)


@every
async def test_it_gets_progress_errors_and_large_results(
    served: Served, transport: str, mode: str, version: str
) -> None:
    async with connected(served, transport, mode) as client:
        for server in SERVERS:
            reports: list[float] = []

            async def on_progress(
                progress: float, total: float | None, message: str | None, to: list[float] = reports
            ) -> None:
                to.append(progress)

            await client.call_tool(f"{server}.slow", {"seconds": 0.1}, progress_callback=on_progress)
            assert reports == [1, 2, 3, 4]
            with pytest.raises(MCPError) as raised:
                await client.call_tool(f"{server}.error", {})
            assert raised.value.error.code == -32050
            assert raised.value.error.data == {"retry_after_s": 7, "deep": [1, {"x": None}]}
            failed = await client.call_tool(f"{server}.fail", {"message": "no"})
            assert failed.is_error
            big = await client.call_tool(f"{server}.big", {"bytes": 1_000_000})
            assert len(getattr(big.content[0], "text", "")) == 1_000_000


@every
async def test_a_call_that_it_gives_up_leaves_it_usable(
    served: Served, transport: str, mode: str, version: str
) -> None:
    async with connected(served, transport, mode) as client:
        for server in SERVERS:
            with anyio.move_on_after(0.5) as scope:
                await client.call_tool(f"{server}.slow", {"seconds": 60})
            assert scope.cancelled_caught
            result = await client.call_tool(f"{server}.echo", {"text": "still here"})
            assert result.structured_content == {"text": "still here"}
        hub = Modern(served)
        await anyio.to_thread.run_sync(
            until, lambda: not any(hub.server(server)["in_flight"] for server in SERVERS), "the calls' end"
        )


@every
async def test_its_user_is_asked_what_a_server_asks(
    served: Served, transport: str, mode: str, version: str
) -> None:
    async def answer(context: object, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"answer": f"to {params.message}"})

    async with connected(served, transport, mode, elicitation_callback=answer) as client:
        for server in SERVERS:
            with anyio.fail_after(20):
                result = await client.call_tool(f"{server}.ask", {"message": server})
            assert result.structured_content is not None
            assert result.structured_content["answer"]["content"] == {"answer": f"to {server}"}


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_modern_client_hears_of_changed_lists(served: Served, transport: str, tmp_path: Path) -> None:
    async with (
        connected(served, transport, "auto") as client,
        client.listen(tools_list_changed=True) as events,
    ):
        await client.call_tool("new.grow", {"name": f"grown_on_{transport}"})
        with anyio.fail_after(10):
            async for _ in events:
                break
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert f"new.grown_on_{transport}" in names
