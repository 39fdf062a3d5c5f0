"""The composition root: settings in, a running hub out.

`Hub` puts the parts together and opens the heavy ones when they are first needed.
`hub.running` has the ways it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hub import __version__
from hub.builtin import INSTRUCTIONS, builtin_servers
from hub.calls import Call, Caller, Face, Json
from hub.channels import LineChannel
from hub.clock import Clock, SystemClock
from hub.fleet import Fleet
from hub.home import Home
from hub.jsonrpc import Peer
from hub.router import Router
from hub.server import Client, McpServer, View
from hub.settings import Settings, ToolNames
from hub.surface import surface_of, surfaces
from hub.tending import Tending

if TYPE_CHECKING:
    from hub.agent import Agent
    from hub.memory import Memory
    from hub.sessions import Sessions
    from hub.store import Store

log = logging.getLogger(__name__)

SERVER_INSTRUCTIONS_CHARS_MAX = 2_000
INSTRUCTIONS_CHARS_MAX = 12_000
"""How much of each server's instructions, and of all together, reaches the clients' models."""


class Hub:
    """A hub that owns its home: every part, put together.

    Args:
        home: The home, whose lock this process holds.
        servers_file: What to serve; the home's own `mcp.json` when None.
        settings: The hub's settings.
        environ: The environment of the hub.
        clock: Tells the time.
        rng: For everything that is left to chance.
    """

    def __init__(
        self,
        home: Home,
        servers_file: Path | None,
        settings: Settings,
        *,
        environ: Mapping[str, str],
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.home = home
        self.settings = settings
        self.router = Router(settings.tool_names, settings.downstream.first_list_budget_s)
        self._environ = environ
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._fleet = Fleet(
            home,
            servers_file or home.servers_file,
            settings,
            environ,
            self._clock,
            self._rng,
            self._servers_changed,
            self.router.updated,
        )
        self.tending = Tending(self._fleet)
        self.server = McpServer(
            self.router,
            self.instructions,
            on_log_level=self._fleet.ask_for_logs,
            on_roots_changed=self._fleet.roots_changed,
        )
        self._surfaces = surfaces(settings.tool_names, settings.surface, settings.profiles)
        self.router.profiles = self._surfaces
        self._builtins = builtin_servers(self) if settings.builtin_tools else []
        self._stopping = asyncio.Event()
        self._started = time.monotonic()
        self._peers: set[Peer] = set()
        self._seeing_out: set[asyncio.Task[None]] = set()
        self._other_clients = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._opening = asyncio.Lock()
        self._store: Store | None = None
        self._memory: Memory | None = None
        self._sessions: Sessions | None = None
        self._agent: Agent | None = None

    # -- its life

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the context ends; nothing in here waits for a downstream server."""
        self._fleet.load()
        self._servers_changed(None)
        fleet = asyncio.get_running_loop().create_task(self._fleet.run(), name="fleet")
        fleet.add_done_callback(self._fleet_ended)
        try:
            yield
        finally:
            self.server.close()
            for peer in tuple(self._peers):
                await peer.settle(self.settings.http.drain_s)
                peer.close("the hub is stopping")
            fleet.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await fleet
            await self._close_stores()

    def stop(self) -> None:
        """Begin to end the hub."""
        self._stopping.set()

    async def wait_stopped(self) -> None:
        """Wait until something asks the hub to end."""
        await self._stopping.wait()

    def _fleet_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("the servers' supervisor failed; the hub ends", exc_info=error)
            self.stop()

    async def _close_stores(self) -> None:
        if self._agent is not None:
            await self._agent.close()
        if self._memory is not None:
            await self._memory.close()
        if self._store is not None:
            await self._store.close()

    # -- clients

    def connect(self, channel: LineChannel, view: View) -> Peer:
        """Put an MCP client on a channel; it is served until its peer closes."""
        client = Client(self.server, view)
        channel.receiver = peer = client.peer = Peer(channel, client, last_id=self._rng.randrange(2**31))
        self._peers.add(peer)
        self._note_clients()
        seeing_out = asyncio.get_running_loop().create_task(self._see_out(client))
        self._seeing_out.add(seeing_out)
        seeing_out.add_done_callback(self._seeing_out.discard)
        return peer

    async def _see_out(self, client: Client) -> None:
        await client.peer.wait_closed()
        client.detach()
        self._peers.discard(client.peer)
        self._note_clients()

    def view(
        self,
        face: Face,
        *,
        profile: str | None = None,
        project: str | None = None,
        tool_names: str | None = None,
    ) -> View:
        """What a client sees.

        Args:
            face: Where it comes in.
            profile: The profile it asks for.
            project: The folder it works in.
            tool_names: The style of names it asks for; its profile's, or the hub's, when None.

        Raises:
            UnknownName: There is no such profile.
        """
        surface = surface_of(self._surfaces, profile)
        if tool_names is not None:
            surface = surface.with_names(cast("ToolNames", tool_names))
        return View(surface, face, project, profile)

    @property
    def profiles(self) -> list[str]:
        """The names of the profiles."""
        return [name for name in self._surfaces if name is not None]

    @property
    def clients(self) -> int:
        """How many clients are attached now; what keeps the hub from ending counts as one."""
        turns = len(self._agent.running()) if self._agent is not None else 0
        return len(self._peers) + self._other_clients + turns

    def end_when_idle(self) -> None:
        """From now on, end the hub some time after the last client has left."""
        self._note_clients(arm=True)

    def _note_clients(self, *, arm: bool = False) -> None:
        armed = arm or self._idle_timer is not None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if armed:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self.settings.idle_exit_s, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.clients:
            self._note_clients(arm=True)
            return
        log.info("no client for a while; the hub ends")
        self.stop()

    # -- the parts that open when they are first needed

    async def memory(self) -> Memory:
        """The memory.

        Raises:
            ConfigError, StorageError: It cannot be opened.
        """
        async with self._opening:
            return await self._open_memory()

    async def sessions(self) -> Sessions:
        """The agent's sessions.

        Raises:
            ConfigError, StorageError: They cannot be opened.
        """
        async with self._opening:
            return await self._open_sessions()

    async def agent(self) -> Agent:
        """The agent.

        Raises:
            ConfigError, StorageError: Its sessions or memory cannot be opened.
        """
        async with self._opening:
            if self._agent is None:
                memory, sessions = await self._open_memory(), await self._open_sessions()
                await _import("hub.agent", "hub.llm")
                from hub.agent import Agent
                from hub.llm import LiteLLM

                settings = self.settings.agent
                model = LiteLLM(
                    self.settings.model,
                    self.settings.api_base,
                    self._fleet.variables,
                    fallbacks=settings.fallbacks,
                    retries_max=settings.model_retries_max,
                    rng=self._rng,
                    stream=settings.stream,
                    ollama_tokens_max=settings.context_tokens_max or 16_384,
                )
                self._agent = Agent(self.router, memory, sessions, model, settings, self._clock)
            return self._agent

    async def _open_memory(self) -> Memory:
        if self._memory is None:
            store = await self._open_store()
            await _import("hub.memory")
            from hub.memory import Memory

            self._memory = await Memory.open(self.home, self.settings.memory, self._clock, self._rng, store)
        return self._memory

    async def _open_sessions(self) -> Sessions:
        if self._sessions is None:
            store = await self._open_store()
            from hub.sessions import Sessions

            self._sessions = Sessions(store, self._clock, self.settings.agent.window_turns)
        return self._sessions

    async def _open_store(self) -> Store:
        if self._store is None:
            await _import("hub.store")
            from hub.store import Store

            store = Store(self.home.store_file)
            await store.open()
            self._store = store
        return self._store

    # -- what it says of itself

    def status(self) -> Json:
        """How the hub and each of its servers are; never waits."""
        return {
            "version": __version__,
            "home": str(self.home.root),
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "clients": self.clients,
            "tools": len(self.router.tools()),
            "model": self.settings.model,
            "servers": self._server_rows(),
            "problems": [str(problem) for problem in (*self._fleet.problems, *self._fleet.skill_problems)],
        }

    def servers(self) -> Json:
        """Every server with its state: `file`, `servers`, `problems`; never waits."""
        return {
            "file": str(self._fleet.servers_file),
            "servers": self._server_rows(),
            "problems": [str(problem) for problem in self._fleet.problems],
        }

    def _server_rows(self) -> list[Json]:
        rows = []
        for server in self._fleet.downstreams:
            review = self._fleet.review(server.name)
            changed = 0 if review is None else len(review.changes)
            rows.append(
                {
                    **asdict(server.status()),
                    "changed": changed,
                    "held": bool(changed) and self._fleet.holds_changed,
                }
            )
        return rows

    def search_tools(self, query: str, limit: int, caller: Caller | None = None) -> list[Json]:
        """The tools that fit a query, best first; those that a caller may see, if one is given."""
        return self.router.search(query, limit, caller)

    async def call_tool(self, call: Call) -> Json:
        """Call a tool by its name for a caller that found it with `tools.search`.

        Raises:
            HubError, RpcError: As the router does.
        """
        return await self.router.request(call)

    def _servers_changed(self, methods: frozenset[str] | None) -> None:
        """A server's lists changed, or, when None, the set of servers did."""
        if methods is None:
            self.router.set_servers([*self._builtins, *self._fleet.servers])
        else:
            self.router.changed(methods)

    def instructions(self) -> str:
        """What clients' models are told: the hub's own words, then each server's, attributed and bounded."""
        parts = [INSTRUCTIONS] if self._builtins else []
        parts += [
            f"Server `{name}` says:\n{said[:SERVER_INSTRUCTIONS_CHARS_MAX]}"
            for name, said in self._fleet.instructions
        ]
        return "\n\n".join(parts)[:INSTRUCTIONS_CHARS_MAX]

    # -- the HTTP faces

    def open_http(self, host: str | None, port: int | None, auth: bool) -> AbstractAsyncContextManager[Json]:
        """Open the HTTP faces until the context ends; yields where they are.

        Raises:
            ConfigError: The address cannot be used, or must not be used as it was asked.
        """
        from hub.gateway import open_gateway

        return open_gateway(self, host, port, auth)

    def count_client(self, change: int) -> None:
        """Something that counts as a client, beside the attachments, came (1) or went (-1)."""
        self._other_clients += change
        self._note_clients()


async def _import(*modules: str) -> None:
    """Import heavy modules beside the event loop, because calls must not wait for them."""
    for module in modules:
        await asyncio.to_thread(importlib.import_module, module)
