"""Answering the private methods on the parts of the running hub."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from hub.calls import Caller, Json
from hub.changes import Marked
from hub.channels import LineChannel
from hub.control import params, traces
from hub.errors import METHOD_NOT_FOUND, DownstreamTimeout, InvalidArguments, RpcError, UnknownName
from hub.jsonrpc import Peer, Request

if TYPE_CHECKING:
    from hub.agent import Agent
    from hub.memory import Memory, Provenance, Scope
    from hub.router import Router
    from hub.sessions import Sessions
    from hub.tending import Tending


class RunningHub(Protocol):
    """The hub that a control connection works on."""

    @property
    def router(self) -> Router:
        """Every tool of every server."""
        ...

    def status(self) -> Json:
        """How the hub and each of its servers are; never waits."""
        ...

    def stop(self) -> None:
        """Begin to end the hub; returns at once."""
        ...

    def search_tools(self, query: str, limit: int) -> list[Json]:
        """The definitions of the tools that fit a query, best first; never waits."""
        ...

    async def memory(self) -> Memory:
        """The memory, opened when it is first asked for."""
        ...

    async def sessions(self) -> Sessions:
        """The agent's sessions, opened when they are first asked for."""
        ...

    async def agent(self) -> Agent:
        """The agent, made when it is first asked for."""
        ...

    def servers(self) -> Json:
        """Every server with its state: `file`, `servers`, `problems`; never waits."""
        ...

    @property
    def tending(self) -> Tending:
        """What a person does about one server."""
        ...

    def count_client(self, change: int) -> None:
        """Something that counts as a client came (1) or went (-1)."""
        ...

    def open_http(self, host: str | None, port: int | None, auth: bool) -> AbstractAsyncContextManager[Json]:
        """Open the HTTP faces until the context ends; yields where they are."""
        ...


REQUESTS_MAX = 32
"""How many requests one command may have running; it needs one."""

STARTING_WAIT_S = 10.0
"""How long a person's list of tools waits for servers that were never seen before."""

ID_KINDS = {"rc_": "recall", "run_": "run", "ep_": "episode"}
"""What an id names, by how it begins."""


class ControlConnection:
    """One command's conversation with the hub.

    Args:
        hub: The running hub.
        caller: Who asks; its project is the folder the command runs in.
    """

    def __init__(self, hub: RunningHub, caller: Caller) -> None:
        self._hub = hub
        self._caller = caller
        self._methods: dict[str, Callable[[Request], Awaitable[Json]]] = {
            "hub/status": self._status,
            "hub/stop": self._stop,
            "hub/tools.list": self._tools_list,
            "hub/tools.show": self._tools_show,
            "hub/tools.search": self._tools_search,
            "hub/tools.call": self._tools_call,
            "hub/servers.list": self._servers_list,
            "hub/servers.test": self._servers_test,
            "hub/servers.login": self._servers_login,
            "hub/servers.logout": self._servers_logout,
            "hub/servers.changes": self._servers_changes,
            "hub/servers.approve": self._servers_approve,
            "hub/memory.store": self._memory_store,
            "hub/memory.recall": self._memory_recall,
            "hub/memory.feedback": self._memory_feedback,
            "hub/memory.forget": self._memory_forget,
            "hub/memory.list": self._memory_list,
            "hub/memory.stats": self._memory_stats,
            "hub/sessions.list": self._sessions_list,
            "hub/sessions.show": self._sessions_show,
            "hub/sessions.delete": self._sessions_delete,
            **traces.methods(hub.sessions),
            "hub/run_turn": self._run_turn,
            "hub/serve": self._serve,
        }

    async def on_request(self, request: Request) -> Json:
        """Answer one private method."""
        method = self._methods.get(request.method)
        if method is None:
            raise RpcError({"code": METHOD_NOT_FOUND, "message": f"no such method: {request.method}"})
        return await method(request)

    def on_notification(self, method: str, params: Json) -> None:
        """A command sends none that matter."""

    # -- the hub

    async def _status(self, request: Request) -> Json:
        return self._hub.status()

    async def _stop(self, request: Request) -> Json:
        self._hub.stop()
        return {"stopped": True}

    async def _serve(self, request: Request) -> Json:
        asked = params.read(params.Serve, request)
        async with self._hub.open_http(asked.host, asked.port, asked.auth) as where:
            request.peer.notify("hub/event", {"type": "serving", **where})
            self._hub.count_client(1)  # the person who runs the command
            try:
                # The faces stay open until the connection ends, which cancels this request.
                await asyncio.Event().wait()
            finally:
                self._hub.count_client(-1)
        raise AssertionError("the wait above only ends by cancellation")

    # -- tools and servers

    async def _tools_list(self, request: Request) -> Json:
        wanted = params.read(params.ToolsList, request).server
        tools = await self._hub.router.listing("tools/list", wait_s=STARTING_WAIT_S)
        if wanted is not None:
            tools = [tool for tool in tools if self._hub.router.resolve(tool["name"])[0].name == wanted]
        starting = [server["name"] for server in self._hub.servers()["servers"] if _is_starting(server)]
        changed = [tool["name"] for tool in tools if self._has_changed(tool["name"])]
        return {"tools": tools, "starting": starting, "changed": changed}

    def _has_changed(self, name: str) -> bool:
        server, item = self._hub.router.resolve(name)
        return isinstance(server, Marked) and item in server.changed

    async def _tools_show(self, request: Request) -> Json:
        router = self._hub.router
        name = params.read(params.ToolsShow, request).name
        tools: Sequence[Json] = router.tools()
        try:
            meant = router.resolve(name)
        except UnknownName:
            # A person has just added a server, or started the hub, and means what is still starting.
            tools = await router.listing("tools/list", wait_s=STARTING_WAIT_S)
            meant = router.resolve(name)
        return next(tool for tool in tools if router.resolve(tool["name"]) == meant)

    async def _tools_search(self, request: Request) -> Json:
        asked = params.read(params.ToolsSearch, request)
        return {"tools": self._hub.search_tools(asked.query, asked.limit)}

    async def _tools_call(self, request: Request) -> Json:
        asked = params.read(params.ToolsCall, request)
        token = asked.meta.get("progressToken")

        def report(progress: float, total: float | None, message: str | None) -> None:
            params: Json = {"progressToken": token, "progress": progress}
            if total is not None:
                params["total"] = total
            if message is not None:
                params["message"] = message
            request.peer.notify("notifications/progress", params)

        try:
            return await self._hub.router.call_tool(
                self._caller,
                asked.name,
                asked.arguments,
                deadline_s=asked.deadline_s,
                on_progress=None if token is None else report,
            )
        except TimeoutError:
            server = self._hub.router.resolve(asked.name)[0].name
            raise DownstreamTimeout(
                server, f"{asked.name} took longer than {asked.deadline_s:g} s and was told to stop"
            ) from None

    async def _servers_list(self, request: Request) -> Json:
        return self._hub.servers()

    async def _servers_test(self, request: Request) -> Json:
        return await self._hub.tending.test(params.read(params.OneServer, request).name)

    async def _servers_login(self, request: Request) -> Json:
        def tell(url: str) -> None:
            request.peer.notify("hub/event", {"type": "login", "url": url})

        return await self._hub.tending.log_in(params.read(params.OneServer, request).name, tell)

    async def _servers_logout(self, request: Request) -> Json:
        return await self._hub.tending.log_out(params.read(params.OneServer, request).name)

    async def _servers_changes(self, request: Request) -> Json:
        return self._hub.tending.changes(params.read(params.OneServer, request).name)

    async def _servers_approve(self, request: Request) -> Json:
        asked = params.read(params.ServersApprove, request)
        return self._hub.tending.approve(asked.name, asked.digest)

    # -- memory

    async def _memory_store(self, request: Request) -> Json:
        asked = params.read(params.MemoryStore, request)
        memory = await self._hub.memory()
        scopes = self._scopes(asked.scope)
        kept = await memory.store(
            asked.text,
            intent=asked.intent,
            outcome=asked.outcome,
            scope=None if scopes is None else scopes[0],
            provenance=self._provenance(),
        )
        return as_object(kept)

    async def _memory_recall(self, request: Request) -> Json:
        asked = params.read(params.MemoryRecall, request)
        memory = await self._hub.memory()
        found = await memory.recall(
            asked.query,
            scopes=self._scopes(asked.scope),
            project=self._caller.project,
            k2=asked.k2,
            client=self._caller.name,
        )
        return as_object(found)

    async def _memory_feedback(self, request: Request) -> Json:
        asked = params.read(params.MemoryFeedback, request)
        about = {
            f"{kind}_id": asked.about for prefix, kind in ID_KINDS.items() if asked.about.startswith(prefix)
        }
        if not about:
            raise InvalidArguments(
                f"{asked.about!r} is no id: those of recalls begin with rc_, of runs with run_, "
                "of episodes with ep_"
            )
        memory = await self._hub.memory()
        changed = await memory.feedback(asked.reward, used_ids=asked.used_ids, source="user", **about)
        return {
            "changed": [
                {"episode_id": episode_id, "before": before, "after": after}
                for episode_id, (before, after) in changed.values.items()
            ]
        }

    async def _memory_forget(self, request: Request) -> Json:
        asked = params.read(params.MemoryForget, request)
        memory = await self._hub.memory()
        scopes = self._scopes(asked.scope)
        forgotten = await memory.forget(
            episode_ids=asked.episode_ids, scope=None if scopes is None else scopes[0]
        )
        unknown = [episode_id for episode_id in asked.episode_ids if episode_id not in forgotten]
        if unknown and not forgotten:
            raise UnknownName(f"there is no episode {', '.join(unknown)}")
        return {"forgotten": forgotten, "unknown": unknown}

    async def _memory_list(self, request: Request) -> Json:
        asked = params.read(params.MemoryList, request)
        memory = await self._hub.memory()
        listed = await memory.list(scopes=self._scopes(asked.scope), limit=asked.limit, offset=asked.offset)
        return {"episodes": as_json(listed)}

    async def _memory_stats(self, request: Request) -> Json:
        memory = await self._hub.memory()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STARTING_WAIT_S):
                await memory.ready()
        return as_object(await memory.stats())

    def _scopes(self, scope: str | None) -> list[Scope] | None:
        """The scope that a command names; None when it names none.

        Raises:
            InvalidArguments: It is no scope.
        """
        from hub.memory import Scope

        if scope is None:
            return None
        if scope == "project":
            if self._caller.project is None:
                raise InvalidArguments("this command runs in no folder, so it has no project scope")
            return [Scope("project", self._caller.project)]
        return [Scope.parse(scope)]

    def _provenance(self) -> Provenance:
        from hub.memory import Provenance

        return Provenance(client=self._caller.name, project=self._caller.project)

    # -- sessions and turns

    async def _sessions_list(self, request: Request) -> Json:
        sessions = await self._hub.sessions()
        return {"sessions": as_json(await sessions.entries(params.read(params.SessionsList, request).limit))}

    async def _sessions_show(self, request: Request) -> Json:
        asked = params.read(params.SessionsShow, request)
        sessions = await self._hub.sessions()
        turns = await sessions.show(asked.session_id)
        return {"session_id": asked.session_id, "turns": as_json(turns[-asked.limit :])}

    async def _sessions_delete(self, request: Request) -> Json:
        asked = params.read(params.SessionsDelete, request)
        sessions = await self._hub.sessions()
        await sessions.delete(asked.session_id)
        return {"session_id": asked.session_id, "deleted": True}

    async def _run_turn(self, request: Request) -> Json:
        asked = params.read(params.RunTurn, request)
        if not asked.message.strip():
            raise InvalidArguments("the message is empty")
        agent = await self._hub.agent()
        from hub.agent import Limits

        result = await agent.run_turn(
            self._caller,
            asked.session_id,
            asked.message,
            on_event=lambda event: request.peer.notify("hub/event", event.to_json()),
            limits=Limits(**asked.limits.model_dump()),
            output_schema=asked.output_schema,
        )
        return result.to_json()


def open_channel(hub: RunningHub, caller: Caller, message_bytes_max: int) -> LineChannel:
    """The protocol that carries a control connection on, once its hello has been answered."""
    channel = LineChannel(message_bytes_max)
    channel.receiver = Peer(channel, ControlConnection(hub, caller), requests_max=REQUESTS_MAX)
    return channel


def _is_starting(server: Json) -> bool:
    """Whether a server is connecting and nothing is known of it yet."""
    return server["state"] == "connecting" and not server["tools"]


def as_object(result: object) -> Json:
    """A dataclass as a JSON object."""
    found: Json = as_json(result)
    return found


def as_json(value: Any) -> Any:
    """A result as JSON: dataclasses as objects, a scope as the text that names it."""
    from hub.memory import Scope

    if isinstance(value, Scope):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value
