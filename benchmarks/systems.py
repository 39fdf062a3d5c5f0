"""The systems that are measured side by side: servers alone, the hub with each of its faces, other hubs.

Each is a running endpoint with a lean client on it. All hubs serve the same five downstream servers, of which
one is called: `called` is the official SDK's server over stdio, `remote` the same over HTTP, the other three
idle. Hubs live in throw-away homes.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from wire import Client, HttpClient, StdioClient

HERE = Path(__file__).resolve().parent
SERVERS = HERE.parent / "tests" / "servers"
PEERS = HERE / "peers"
PYTHON = sys.executable
HUB = (PYTHON, "-m", "hub")
SDK_SERVER = (PYTHON, str(SERVERS / "sdk.py"))
IDLE_SERVER = (PYTHON, str(SERVERS / "echo.py"))
READY_S = 30.0


@dataclass
class System:
    """One running endpoint.

    Attributes:
        name: How the results call it.
        client: A connection to it.
        pid: The process whose CPU time and memory count; None when there is none between.
        tool: The name of the echo tool.
        remote_tool: The name of the echo tool behind HTTP; empty when it has none.
    """

    name: str
    client: Client
    pid: int | None = None
    tool: str = "echo"
    remote_tool: str = ""

    async def echo(self, text: str) -> None:
        """Call the echo tool and check its answer."""
        await self._call(self.tool, text)

    async def echo_remote(self, text: str) -> None:
        """The same with the server behind HTTP."""
        await self._call(self.remote_tool, text)

    async def _call(self, tool: str, text: str) -> None:
        result = await self.client.request("tools/call", {"name": tool, "arguments": {"text": text}})
        assert result["content"][0]["text"] == text, result

    async def list_tools(self) -> list[dict[str, Any]]:
        """All tools, through every page."""
        tools: list[dict[str, Any]] = []
        cursor: dict[str, Any] = {}
        while True:
            page = await self.client.request("tools/list", dict(cursor))
            tools += page["tools"]
            if not page.get("nextCursor"):
                return tools
            cursor = {"cursor": page["nextCursor"]}

    async def until_listed(self, *names: str) -> float:
        """Wait until tools of these names are listed; returns the seconds it took.

        Raises:
            TimeoutError: They were not within `READY_S`.
        """
        started = time.perf_counter()
        async with asyncio.timeout(READY_S):
            # A poll, because it works on every system alike.
            while not set(names) <= {tool["name"] for tool in await self.list_tools()}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return time.perf_counter() - started


def servers_file(folder: Path, entries: dict[str, Any]) -> Path:
    """An `mcp.json` with these entries."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mcp.json"
    path.write_text(json.dumps({"mcpServers": entries}, indent=1), encoding="utf-8")
    return path


def entry(command: Sequence[str]) -> dict[str, Any]:
    """A stdio entry of `mcp.json`."""
    return {"command": command[0], "args": list(command[1:])}


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@asynccontextmanager
async def http_program(command: Sequence[str], port: int, log: Path) -> AsyncIterator[int]:
    """Run a program until the block ends, once its port takes connections; yields its pid."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        async with asyncio.timeout(READY_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    if process.returncode is not None:
                        raise RuntimeError(f"{' '.join(command)} ended: {_tail(log)}") from None
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()


class Field:
    """Starts systems in one folder, and ends them all.

    Args:
        folder: A throw-away folder.
        stack: What is started is closed with it.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._stack = stack

    async def five_servers(self) -> Path:
        """The `mcp.json` of five servers, with the HTTP one running."""
        port = free_port()
        await self._stack.enter_async_context(
            http_program((*SDK_SERVER, "--http", str(port)), port, self.folder / "web.log")
        )
        idle = {f"idle{number}": entry(IDLE_SERVER) for number in range(3)}
        remote = {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}
        return servers_file(self.folder / "five", {"called": entry(SDK_SERVER), "remote": remote, **idle})

    async def direct_stdio(self, *options: str, modern: bool = False) -> System:
        """The SDK's server alone, on stdio."""
        name = "direct stdio modern" if modern else "direct stdio"
        return await self._stdio(name, (*SDK_SERVER, *options), modern=modern)

    async def direct_http(self, *, modern: bool = False, options: Sequence[str] = ()) -> System:
        """The SDK's server alone, on Streamable HTTP."""
        port = free_port()
        command = (*SDK_SERVER, "--http", str(port), *options)
        pid = await self._stack.enter_async_context(
            http_program(command, port, self.folder / f"direct-{port}.log")
        )
        name = "direct HTTP modern" if modern else "direct HTTP"
        return await self._http(name, port, pid, modern=modern)

    async def forwarder(self) -> System:
        """The raw forwarder before the SDK's server: the floor."""
        return await self._stdio(
            "raw forwarder", (PYTHON, str(PEERS / "raw_forwarder.py"), *SDK_SERVER), counted=True
        )

    async def fastmcp_stdio(self, servers: Path) -> System:
        """fastmcp's mounted proxies, on stdio."""
        command = (PYTHON, str(PEERS / "fastmcp_hub.py"), str(servers))
        return await self._stdio("fastmcp stdio", command, prefix="{}_", counted=True)

    async def fastmcp_http(self, servers: Path) -> System:
        """fastmcp's mounted proxies, on Streamable HTTP."""
        port = free_port()
        command = (PYTHON, str(PEERS / "fastmcp_hub.py"), str(servers), "--http", str(port))
        pid = await self._stack.enter_async_context(http_program(command, port, self.folder / "fastmcp.log"))
        return await self._http("fastmcp HTTP", port, pid, prefix="{}_")

    async def hub_embedded(self, servers: Path, home: str = "embedded", *, modern: bool = False) -> System:
        """The hub inside one stdio process."""
        command = (*HUB, "mcp", "--embedded", *self._place(servers, home))
        name = "hub embedded modern" if modern else "hub embedded"
        return await self._stdio(name, command, prefix="{}.", counted=True, modern=modern)

    async def hub_attached(self, servers: Path, home: str = "attached") -> System:
        """A hub of its own process, reached through an attachment."""
        place = self._place(servers, home)
        self._stack.push_async_callback(self._stop_hub, place)
        system = await self._stdio("hub attached", (*HUB, "mcp", *place), prefix="{}.")
        system.pid = json.loads((self.folder / home / "hub.json").read_text())["pid"]
        return system

    async def hub_http(self, servers: Path, *, home: str = "http") -> list[System]:
        """`hub serve`, with a client of each protocol era."""
        port = free_port()
        command = (*HUB, "serve", "--port", str(port), "--no-auth", *self._place(servers, home))
        pid = await self._stack.enter_async_context(http_program(command, port, self.folder / "serve.log"))
        legacy = await self._http("hub HTTP", port, pid, prefix="{}.")
        modern = await self._http("hub HTTP modern", port, pid, prefix="{}.", modern=True)
        return [legacy, modern]

    def _place(self, servers: Path, home: str) -> tuple[str, ...]:
        return ("--home", str(self.folder / home), "--mcp-config", str(servers))

    async def _stop_hub(self, place: Sequence[str]) -> None:
        stopping = await asyncio.create_subprocess_exec(
            *HUB, "stop", *place[:2], stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        await asyncio.wait_for(stopping.wait(), 20)

    async def _stdio(
        self,
        name: str,
        command: Sequence[str],
        *,
        prefix: str = "",
        counted: bool = False,
        modern: bool = False,
    ) -> System:
        client = StdioClient(command, modern=modern)
        self._stack.push_async_callback(client.close)
        async with asyncio.timeout(READY_S):
            await client.open()
        return await self._ready(System(name, client, client.pid if counted else None), prefix)

    async def _http(
        self, name: str, port: int, pid: int, *, prefix: str = "", modern: bool = False
    ) -> System:
        client = HttpClient(f"http://127.0.0.1:{port}/mcp", modern=modern)
        self._stack.push_async_callback(client.close)
        async with asyncio.timeout(READY_S):
            await client.open()
        return await self._ready(System(name, client, pid), prefix)

    async def _ready(self, system: System, prefix: str) -> System:
        if prefix:
            system.tool = prefix.format("called") + "echo"
            remote_tool = prefix.format("remote") + "echo"
            await system.until_listed(system.tool)
            if remote_tool in {tool["name"] for tool in await system.list_tools()}:
                system.remote_tool = remote_tool
        async with asyncio.timeout(READY_S):
            await system.echo("ready")
        return system


def check_hub() -> None:
    """Make sure that every hub that is started is this folder's, also one that starts detached.

    Raises:
        SystemExit: The interpreter would import another one, so the numbers would be of other code.
    """
    # A detached hub does not look into the current folder, which `python -m hub` does.
    found = subprocess.run(
        [PYTHON, "-P", "-c", "import hub; print(hub.__file__)"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    imported = Path(found.stdout.strip()).resolve().parent
    if imported != HERE.parent / "hub":
        raise SystemExit(
            f"{PYTHON} has the hub of {imported}; use an environment where this one is installed"
        )


def cpu_s(pid: int) -> float:
    """CPU seconds that all threads of a process have used, exact to microseconds where the platform tells."""
    tasks = Path(f"/proc/{pid}/task")
    if tasks.is_dir():
        spent_ns = 0
        for task in tasks.iterdir():
            spent_ns += int((task / "schedstat").read_text().split()[0])
        return spent_ns / 1e9
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def rss_mb(pid: int) -> float:
    """The resident memory of one process, in MB."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def discard(folder: Path) -> None:
    """Remove a throw-away folder."""
    shutil.rmtree(folder, ignore_errors=True)
