"""The servers that other tests rely on are what they say: valid for the SDK's client, or bad as named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp_types import ElicitResult

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}


def stdio(script: str, *options: str) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=[str(HERE / script), *options])


@asynccontextmanager
async def listening(script: str, *options: str) -> AsyncIterator[int]:
    """A server over HTTP; yields its port."""
    process = await anyio.open_process([sys.executable, str(HERE / script), *options], stderr=None)
    try:
        assert process.stdout is not None
        with anyio.fail_after(20):
            yield json.loads(await process.stdout.receive())["port"]
    finally:
        process.kill()
        await process.aclose()


def talk(script: str, options: Sequence[str], *messages: object) -> tuple[list[Any], int]:
    """Send messages and close stdin; returns the lines that came back, and the exit status."""
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    command = [sys.executable, str(HERE / script), *options]
    done = subprocess.run(command, input=lines.encode(), capture_output=True, timeout=20, check=False)
    return done.stdout.splitlines(), done.returncode


def call(name: str, request_id: int = 2, **arguments: object) -> dict[str, object]:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


async def check(client: Client, version: str) -> None:
    """What every reference server can do."""
    assert client.protocol_version == version
    names = {tool.name for tool in (await client.list_tools()).tools}
    assert "echo" in names
    result = await client.call_tool("echo", {"text": "größe"})
    assert result.structured_content == {"text": "größe"}
    reports: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        reports.append(progress)

    await client.call_tool("slow", {"seconds": 0.05}, progress_callback=on_progress)
    assert reports == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("script", "options", "version"),
    [
        ("echo.py", (), "2025-11-25"),
        ("echo.py", ("--era", "both"), "2026-07-28"),
        ("modern.py", (), "2026-07-28"),
        ("sdk.py", (), "2026-07-28"),
        ("bad.py", ("half_lines",), "2025-11-25"),
    ],
)
async def test_a_stdio_server_serves_the_sdk_client(
    script: str, options: tuple[str, ...], version: str
) -> None:
    async with Client(stdio(script, *options)) as client:
        await check(client, version)


@pytest.mark.parametrize(
    ("script", "options", "version"),
    [
        ("http_server.py", (), "2026-07-28"),
        ("http_server.py", ("--era", "legacy"), "2025-11-25"),
        ("sdk.py", ("--http", "0"), "2026-07-28"),
    ],
)
async def test_an_http_server_serves_the_sdk_client(
    script: str, options: tuple[str, ...], version: str
) -> None:
    async with listening(script, *options) as port, Client(f"http://127.0.0.1:{port}/mcp") as client:
        await check(client, version)


async def test_the_sdk_server_serves_sse() -> None:
    async with (
        listening("sdk.py", "--http", "0") as port,
        Client(sse_client(f"http://127.0.0.1:{port}/sse")) as client,
    ):
        await check(client, "2026-07-28")


@pytest.mark.parametrize("script", ["echo.py", "modern.py"])
async def test_ask_asks_the_client_in_its_era(script: str) -> None:
    async def answer(context: object, params: object) -> ElicitResult:
        return ElicitResult(action="accept", content={"answer": "blue"})

    async with Client(stdio(script), elicitation_callback=answer) as client:
        result = await client.call_tool("ask", {"message": "Which colour?"})
    assert result.structured_content == {"answer": {"action": "accept", "content": {"answer": "blue"}}}


async def test_grow_announces_the_changed_list_to_a_modern_client() -> None:
    async with Client(stdio("modern.py")) as client, client.listen(tools_list_changed=True) as events:
        await client.call_tool("grow", {"name": "new"})
        with anyio.fail_after(5):
            async for _ in events:
                break
        assert "new" in {tool.name for tool in (await client.list_tools()).tools}


async def test_pages_hold_all_tools() -> None:
    async with Client(stdio("echo.py", "--tools", "30", "--page", "7")) as client:
        names = set()
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor)
            assert len(page.tools) <= 7
            names |= {tool.name for tool in page.tools}
            if (cursor := page.next_cursor) is None:
                break
    assert "extra_0029" in names


async def test_a_cancelled_call_is_never_answered_and_is_journalled(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.touch()
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}
    process = await anyio.open_process([sys.executable, str(HERE / "echo.py"), "--journal", str(journal)])
    try:
        assert process.stdin is not None
        for message in (INITIALIZE, call("slow", seconds=30), cancel):
            await process.stdin.send(json.dumps(message).encode() + b"\n")
        with anyio.fail_after(5):
            while '"cancelled"' not in journal.read_text(encoding="utf-8"):  # noqa: ASYNC110 (a file has no event)
                await anyio.sleep(0.01)
    finally:
        process.kill()
        await process.aclose()


async def test_an_error_keeps_code_data_and_unknown_members() -> None:
    lines, _ = talk("echo.py", (), INITIALIZE, call("error"))
    error = json.loads(lines[-1])["error"]
    assert error["code"] == -32050
    assert error["data"]["retry_after_s"] == 7
    assert error["hint"] == "unknown"
    async with Client(stdio("echo.py")) as client:
        with pytest.raises(MCPError, match="quota used up"):
            await client.call_tool("error", {})


def test_bad_servers_are_bad_in_the_way_they_are_named() -> None:
    discover = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {}}
    assert talk("bad.py", ["exits_at_once"], INITIALIZE) == ([], 3)
    assert talk("bad.py", ["exits_after_start"], INITIALIZE, call("echo", text="x"))[1] == 4
    assert talk("bad.py", ["hangs"], INITIALIZE) == ([], 0)
    assert talk("bad.py", ["exits_on_discover"], discover) == ([], 5)
    assert talk("bad.py", ["ignores_unknown"], discover) == ([], 0)
    lines, status = talk("bad.py", ["half_answer"], INITIALIZE, call("die"))
    assert status < 0
    assert lines[-1].startswith(b'{"jsonrpc":"2.0","id":2,')
    assert not lines[-1].endswith(b"}")
    lines, _ = talk("bad.py", ["wrong_ids"], INITIALIZE, call("echo", text="right"))
    texts = [json.loads(line)["result"]["content"][0]["text"] for line in lines[1:]]
    assert texts == ["for another request"] * 3 + ["right", "a second answer"]
    lines, _ = talk("bad.py", ["prints_to_stdout"], INITIALIZE)
    assert len(lines) > 5
    lines, _ = talk("bad.py", ["ten_megabytes"], INITIALIZE, call("echo", text="x"))
    assert len(lines[-1]) > 10_000_000
