"""Hubs in front of a protected server, and the browser of whoever logs in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from hub.app import Hub
from hub.calls import Caller, Json
from hub.clock import ManualClock
from hub.home import Home
from hub.settings import DownstreamSettings, Settings, SkillsSettings
from tests.hub.running import http_server

PERSON = Caller("test 1", "cli", None)
DEADLINE_S = 20.0


class Protected:
    """A protected server and its authorization server, in a process of their own."""

    def __init__(self, *options: object) -> None:
        script = Path(__file__).parent / "protected.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), *map(str, options)], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        ports = json.loads(self.process.stdout.readline())
        self.origin = f"http://127.0.0.1:{ports['port']}"
        self.url = f"{self.origin}/mcp"
        self.authorization = f"http://127.0.0.1:{ports['authorization_port']}"

    def meddle(self, what: str) -> None:
        """Have it expire, revoke, deny, break, be slow, mend or reset."""
        httpx.get(f"{self.origin}/test/{what}", trust_env=False).raise_for_status()

    def journal(self, path: str | None = None) -> list[Json]:
        """What was asked of both sides, of one path if one is given."""
        entries: list[Json] = httpx.get(f"{self.origin}/test/journal", trust_env=False).json()
        return [entry for entry in entries if path in (None, entry["path"])]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., Protected]


class Pool:
    """Protected servers that are started once and used by many tests, one after the other."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, ...], list[Protected]] = {}
        self._taken: list[tuple[str, ...]] = []

    def take(self, *options: object) -> Protected:
        """One that no other holds now, as at its start."""
        key = tuple(map(str, options))
        alike = self._servers.setdefault(key, [])
        if self._taken.count(key) == len(alike):
            alike.append(Protected(*options))
        server = alike[self._taken.count(key)]
        self._taken.append(key)
        server.meddle("reset")
        return server

    def give_back(self) -> None:
        self._taken.clear()

    def end(self) -> None:
        for alike in self._servers.values():
            for server in alike:
                server.end()


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """The protected servers of a module."""
    servers = Pool()
    yield servers
    servers.end()


@pytest.fixture
def protected(pool: Pool) -> Iterator[Start]:
    """Gives protected servers with the options of `protected.py`."""
    yield pool.take
    pool.give_back()


class Browser:
    """Goes where it is sent, and follows what it is told, in a task of its own.

    Attributes:
        visited: Where it was sent.
        pages: What it was shown at the end.
    """

    def __init__(self) -> None:
        self.visited: list[str] = []
        self.pages: list[httpx.Response] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, url: str) -> None:
        self.visited.append(url)
        task = asyncio.get_running_loop().create_task(self._go(url))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go(self, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as http:
            self.pages.append(await http.get(url))


class RunHub(Protocol):
    def __call__(self, **entries: Json) -> contextlib.AbstractAsyncContextManager[Hub]: ...


@pytest.fixture
def clock() -> ManualClock:
    """What the hubs of a test take for the time."""
    return ManualClock()


@pytest.fixture
def run_hub(tmp_path: Path, clock: ManualClock) -> RunHub:
    """Runs a hub, in this process, on a home that stays the same throughout a test."""

    @asynccontextmanager
    async def run(**entries: Json) -> AsyncIterator[Hub]:
        home = Home.at(tmp_path / "home")
        home.root.mkdir(exist_ok=True)
        home.servers_file.write_text(json.dumps({"mcpServers": entries}))
        downstream = DownstreamSettings(token_store="file", backoff_first_s=0.05, login_deadline_s=10)
        skills = SkillsSettings(disabled=("fs", "time", "web"))
        settings = Settings(downstream=downstream, skills=skills)
        hub = Hub(home, None, settings, environ={}, clock=clock, rng=random.Random(1))
        async with hub.running():
            yield hub

    return run


async def state_of(hub: Hub, name: str, *wanted: str) -> Json:
    """The row of a server in the hub's status, once it is in one of these states."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            row: Json = next(row for row in hub.status()["servers"] if row["name"] == name)
            if row["state"] in wanted:
                return row
            await asyncio.sleep(0.01)


async def call(hub: Hub, tool: str, /, **arguments: Any) -> Json:
    """Call a tool as the command line does."""
    return await hub.router.call_tool(PERSON, tool, arguments, deadline_s=DEADLINE_S)


@pytest.fixture
def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def open_server() -> Iterator[str]:
    """The URL of a server that asks for no login."""
    with http_server("http_server.py") as port:
        yield f"http://127.0.0.1:{port}/mcp"
