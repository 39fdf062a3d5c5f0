"""A hub for the command line to talk to: real router, memory, sessions and socket, in a thread."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.builtin import BuiltinServer
from hub.calls import Call, Caller, Json
from hub.cli import main
from hub.clock import SystemClock
from hub.control import open_channel
from hub.errors import DownstreamUnavailable, RpcError
from hub.home import Home
from hub.local import listen
from hub.lock import HomeLock
from hub.memory import Memory
from hub.rendezvous import Hello
from hub.router import Router
from hub.sessions import Sessions
from hub.settings import MemorySettings
from hub.store import Store
from hub.toolsearch import rank_tools


def _tool(
    name: str, description: str, properties: Json, required: Sequence[str] = (), **annotations: bool
) -> Json:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"name": name, "description": description, "inputSchema": schema, "annotations": annotations}


class Bench(BuiltinServer):
    """A server with a tool for each way a call can end."""

    def __init__(self) -> None:
        super().__init__("bench", [])

    def items(self, method: str) -> Sequence[Json]:
        if method != "tools/list":
            return []
        return [
            _tool(
                "add",
                "Add numbers. Nothing else.",
                {
                    "numbers": {"type": "array", "items": {"type": "number"}, "description": "What to add."},
                    "round": {"type": "boolean", "default": False},
                },
                ["numbers"],
                readOnlyHint=True,
            ),
            _tool("fail", "Fail as tools do [always].", {}),
            _tool("lost", "Fail as servers do.", {}),
            _tool("count", "Report progress on the way.", {"to": {"type": "integer"}}, ["to"]),
        ]

    async def request(self, call: Call, method: str, params: Json) -> Json:
        arguments = params.get("arguments") or {}
        match params["name"]:
            case "add":
                total = sum(arguments["numbers"])
                return {
                    "content": [{"type": "text", "text": f"{total:g}"}],
                    "structuredContent": {"sum": total},
                }
            case "fail":
                return {"content": [{"type": "text", "text": "no [luck] today"}], "isError": True}
            case "count":
                for done in range(arguments["to"]):
                    call.progress(done + 1, arguments["to"], f"at {done + 1}")
                return {"content": [{"type": "text", "text": "counted"}]}
        raise DownstreamUnavailable("bench", "is away")


class Hub:
    """A running hub as `hub.control` sees it, without downstreams, agent and HTTP."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.router = Router("dotted", 0.5)
        self.router.set_servers([Bench()])
        self.stopping = asyncio.Event()
        self._store = Store(home.store_file)
        self._memory: Memory | None = None

    def status(self) -> Json:
        return {
            "version": "0",
            "home": str(self.home.root),
            "pid": os.getpid(),
            "uptime_s": 1.0,
            "clients": 1,
            "tools": len(self.router.tools()),
            "model": None,
            **self.servers(),
        }

    def stop(self) -> None:
        self.stopping.set()

    def search_tools(self, query: str, limit: int) -> list[Json]:
        return rank_tools(query, list(self.router.tools()), limit)

    async def memory(self) -> Memory:
        if self._memory is None:
            settings = MemorySettings()
            self._memory = await Memory.open(
                self.home, settings, SystemClock(), random.Random(1), self._store
            )
            await self._memory.ready()
        return self._memory

    async def sessions(self) -> Sessions:
        return Sessions(self._store, SystemClock())

    async def agent(self) -> Any:
        raise RpcError({"code": -32000, "message": "there is no agent in this hub"})

    def servers(self) -> Json:
        bench = {"name": "bench", "state": "ready", "tools": 4, "calls": 0, "failures": 0}
        return {
            "file": "mcp.json",
            "servers": [{**bench, "problem": None, "target": "a bench"}],
            "problems": [],
        }

    @property
    def tending(self) -> Any:
        return self

    async def test(self, name: str) -> Json:
        return {"name": name, "ok": False, "problem": "is away"}

    def count_client(self, change: int) -> None:
        """Nobody counts here."""

    def open_http(self, host: str | None, port: int | None, auth: bool) -> Any:
        raise RpcError({"code": -32000, "message": "there is no HTTP in this hub"})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self._store.open()
        channels = []

        def accept(hello: Hello) -> asyncio.Protocol:
            channel = open_channel(self, Caller("test 1", "cli", hello.cwd), 1024 * 1024)
            channels.append(channel)
            return channel

        listener = await listen(self.home, accept, lambda: {"clients": len(channels)}, self.stop)
        try:
            yield
        finally:
            await listener.close()
            for channel in channels:
                channel.close()
            if self._memory is not None:
                await self._memory.close()
            await self._store.close()


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in a folder and home of its own; returns exit code, stdout and stderr."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HUB_HOME", str(tmp_path / "home"))
    for variable in [name for name in os.environ if name.startswith("HUB_") and name != "HUB_HOME"]:
        monkeypatch.delenv(variable)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The home that `cli` uses."""
    return Home.at(tmp_path / "home")


@pytest.fixture
def running_hub(home: Home) -> Iterator[None]:
    """A hub that runs for `home` while the test lasts, or until it is told to stop."""
    ready = threading.Event()
    ended: list[BaseException] = []
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        hub = Hub(home)
        async with hub.running():
            loop = asyncio.get_running_loop()
            stop.append(lambda: loop.call_soon_threadsafe(hub.stop))
            ready.set()
            await hub.stopping.wait()

    def thread() -> None:
        try:
            with HomeLock(home):
                asyncio.run(serve())
        except BaseException as error:
            ended.append(error)
            ready.set()

    worker = threading.Thread(target=thread)
    worker.start()
    assert ready.wait(20)
    if ended:
        raise ended[0]
    yield
    if worker.is_alive():
        stop[0]()
    worker.join(20)
    assert not worker.is_alive()
    assert not ended
