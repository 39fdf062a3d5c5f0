"""One hub with `everything.py` behind it six times: each era of server over each transport."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.hub.running import (
    SERVERS,
    Client,
    Hubs,
    Served,
    http_server,
    hub_mcp,
    stdio,
    until,
    write_servers,
)
from tests.matrix.conversation import Era, Observed, Person, Talker, talking
from tests.matrix.script import SCRIPT

SCRIPT_NAME = "everything.py"
NAMES = [f"{transport}_{era}" for transport in ("stdio", "http") for era in ("legacy", "modern", "both")]
FRONTS = ("stdio", "http", "sse")


@dataclass
class Scene:
    """A hub that serves, and the ways to it."""

    home: Path
    served: Served
    ports: dict[str, int]

    def transport(self, front: str) -> Any:
        """A way to the hub."""
        if front == "stdio":
            command, *args = hub_mcp(self.home)
            return stdio_client(StdioServerParameters(command=command, args=args))
        if front == "sse":
            return sse_client(f"{self.served.url}/sse")
        return streamable_http_client(f"{self.served.url}/mcp")

    @asynccontextmanager
    async def through_hub(
        self, front: str, era: Era, server: str, person: Person | None
    ) -> AsyncIterator[Talker]:
        """A client of the hub that means one of its servers."""
        async with talking(self.transport(front), era, server, f"{server}.", person) as talker:
            yield talker

    @asynccontextmanager
    async def direct(self, transport: str, era: Era, person: Person | None) -> AsyncIterator[Talker]:
        """A client of a server that speaks both eras, without the hub."""
        async with AsyncExitStack() as stack:
            if transport == "stdio":
                args = [str(SERVERS / SCRIPT_NAME), "--name", "direct"]
                way: Any = stdio_client(StdioServerParameters(command=sys.executable, args=args))
                name = "direct"
            else:
                name = "http_both"
                way = streamable_http_client(f"http://127.0.0.1:{self.ports[name]}/mcp")
            yield await stack.enter_async_context(talking(way, era, name, "", person))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("matrix") / "home"
    with ExitStack() as stack:
        entries, ports = {}, {}
        for name in NAMES:
            transport, era = name.split("_")
            options = ("--era", era, "--name", name)
            if transport == "stdio":
                entries[name] = stdio(SCRIPT_NAME, *options)
            else:
                ports[name] = stack.enter_context(http_server(SCRIPT_NAME, "--http", 0, *options))
                entries[name] = {"type": "http", "url": f"http://127.0.0.1:{ports[name]}/mcp"}
        write_servers(home, entries)
        hubs = Hubs(home)
        stack.callback(hubs.end)
        served = Served(home, "--no-auth")
        stack.callback(served.stop)
        opening: Client = hubs.attach()
        opening.open()
        until(
            lambda: all(f"{name}.grow" in opening.tools() for name in NAMES),
            f"the tools of {', '.join(NAMES)}",
        )
        opening.close()
        yield Scene(home, served, ports)


def run_script(talker: Talker) -> Any:
    """Do everything in the script; gives what each step brought."""

    async def run() -> dict[str, Observed]:
        return {step: await talker.observe(do(talker)) for step, do in SCRIPT.items()}

    return run()


@pytest.fixture(scope="module")
def directly(scene: Scene) -> dict[str, dict[str, Observed]]:
    """What the script brings without a hub, by the era of the client."""

    async def run(era: Era) -> dict[str, Observed]:
        async with scene.direct("stdio", era, Person()) as talker:
            observed: dict[str, Observed] = await run_script(talker)
            return observed

    return {era: asyncio.run(run(era)) for era in ("legacy", "modern")}
