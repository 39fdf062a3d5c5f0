"""The router: the only module that knows more than one server.

Every list and every call goes through here, whoever asks and whichever server
answers: a downstream, a skill, or the hub's own agent and memory. Names are
resolved in tables that are built when lists change; a call never causes a list.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hub.calls import HOPS_META_KEY, Call, Caller, Json
from hub.errors import INVALID_PARAMS, InvalidArguments, RpcError, UnknownName
from hub.http_headers import Mirrored, declared_params
from hub.names import NameTables, Target, fold
from hub.protocol import LIST_KEYS, RESOURCE_NOT_FOUND
from hub.resources import Listing, ResourceTable
from hub.schemas import accepted
from hub.settings import ToolNames
from hub.surface import Surface, surface_of
from hub.toolsearch import rank_tools

log = logging.getLogger(__name__)


class Server(Protocol):
    """An MCP server behind the router, whatever it is made of."""

    name: str
    settled: asyncio.Event
    """Set once its lists are known, or known to be out of reach."""

    @property
    def absence(self) -> str | None:
        """Why what it has is not offered, in words that follow its name; None when all of it is."""
        ...

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """The server's MCP capabilities as last known."""
        ...

    def items(self, method: str) -> Sequence[Json]:
        """The items of a list as last known; never waits."""
        ...

    async def request(self, call: Call, method: str, params: Json) -> Json:
        """Answer a request that was resolved to this server."""
        ...

    async def subscribe(self, uri: str) -> None:
        """Ask for the updates of a resource."""
        ...

    async def unsubscribe(self, uri: str) -> None:
        """Ask for the updates of a resource no longer."""
        ...


@dataclass(slots=True)
class Tally:
    """What became of the calls to one tool.

    Attributes:
        calls: How many there were.
        failures: How many ended in an error, or in a result with `isError`.
        duration_s: How long they took, in all.
    """

    calls: int = 0
    failures: int = 0
    duration_s: float = 0.0


OnChange = Callable[[frozenset[str]], None]
"""Told which list methods now give something else."""

OnUpdated = Callable[[str], None]
"""Told the URI of a resource that has changed."""


@dataclass(frozen=True, slots=True)
class _Tables:
    """What names and URIs mean, as of the last change of any list."""

    names: Mapping[str, NameTables]
    resources: ResourceTable
    mirrored: Mapping[Target, Mirrored]


class Router:
    """All servers behind one surface.

    Args:
        tool_names: The style of names for callers that ask for none.
        first_list_budget_s: For how long after the servers were set a list waits for
            those of which nothing is known yet.
    """

    def __init__(self, tool_names: ToolNames, first_list_budget_s: float) -> None:
        self.tool_names = tool_names
        self.profiles: Mapping[str | None, Surface] = {}
        """What the callers of a profile may see and call."""
        self._first_list_budget_s = first_list_budget_s
        self._servers: dict[str, Server] = {}
        self._patient_until = 0.0
        self._listeners: list[OnChange] = []
        self._tables: _Tables | None = None
        self._subscribers: dict[tuple[str, str], set[OnUpdated]] = {}
        self._lists: dict[tuple[str, ToolNames], list[Json]] = {}
        self._dotted_names: dict[str, list[str]] = {}
        self._tallies: dict[Target, Tally] = {}

    # -- which servers there are

    def set_servers(self, servers: Iterable[Server]) -> None:
        """Replace the set of servers; earlier ones take precedence in names."""
        self._servers = {server.name: server for server in servers}
        self._patient_until = asyncio.get_running_loop().time() + self._first_list_budget_s
        self.changed(frozenset(LIST_KEYS))

    def server(self, name: str) -> Server | None:
        """A server by its name."""
        return self._servers.get(name)

    def subscribe(self, listener: OnChange) -> Callable[[], None]:
        """Tell a listener of every change; returns how to stop that. A listener must not raise."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def changed(self, methods: frozenset[str]) -> None:
        """Take note that some server's lists are no longer what they were."""
        self._tables = None
        self._lists.clear()
        self._dotted_names.clear()
        for listener in tuple(self._listeners):
            listener(methods)

    # -- lists

    async def listing(
        self, method: str, surface: Surface | None = None, *, wait_s: float | None = None
    ) -> list[Json]:
        """One list over all servers, as a surface shows it.

        In the first moments after a start, a list waits for servers of which nothing is
        known; of a server that was seen before, the last known items are given at once.

        Args:
            method: Which list.
            surface: What is shown of it; everything, under the router's own style of names, when None.
            wait_s: How long to wait instead, whenever it is asked for.

        Returns:
            Items that are shared: do not change them.
        """
        unknown = [server for server in self._servers.values() if not server.settled.is_set()]
        left_s = self._patient_until - asyncio.get_running_loop().time() if wait_s is None else wait_s
        if unknown and left_s > 0:
            waits = [asyncio.ensure_future(server.settled.wait()) for server in unknown]
            try:
                await asyncio.wait(waits, timeout=left_s)
            finally:
                for wait in waits:
                    wait.cancel()
        items = self._listed(method, surface.tool_names if surface else self.tool_names)
        if surface is None:
            return items
        if method == "tools/list":
            return surface.shown(items, self._dotted(method))
        if method == "prompts/list":
            return surface.permitted(items, self._dotted(method))
        return items

    def tools(self, style: ToolNames | None = None, caller: Caller | None = None) -> Sequence[Json]:
        """The tools of all servers as known now, under public names; never waits.

        Args:
            style: The style of names; the router's own when None.
            caller: Whose profile says which are seen; all are when None.

        Returns:
            Definitions that are shared: do not change them.
        """
        tools = self._listed("tools/list", style or self.tool_names)
        policy = self._policy(caller)
        return tools if policy is None else policy.permitted(tools, self._dotted("tools/list"))

    def _policy(self, caller: Caller | None) -> Surface | None:
        """What a caller may see and call, whichever way it asks; None for everything.

        Raises:
            UnknownName: Its profile is not there any more.
        """
        if caller is None or caller.profile is None:
            return None
        return surface_of(self.profiles, caller.profile)

    def _dotted(self, method: str) -> list[str]:
        """`server.item` for each item of a list, in its order."""
        known = self._dotted_names.get(method)
        if known is None:
            known = self._dotted_names[method] = [
                f"{server.name}.{name}"
                for server in self._servers.values()
                for name in dict.fromkeys(item["name"] for item in server.items(method))
            ]
        return known

    def _listed(self, method: str, style: ToolNames) -> list[Json]:
        known = self._lists.get((method, style))
        if known is None:
            known = self._lists[method, style] = list(self._build(method, style))
        return known

    def _build(self, method: str, style: ToolNames) -> Iterable[Json]:
        tables = self._current()
        if method == "resources/list":
            yield from tables.resources.resources()
        elif method == "resources/templates/list":
            yield from tables.resources.templates()
        else:
            names = tables.names[method]
            for server in self._servers.values():
                seen: set[str] = set()
                for item in server.items(method):
                    # A server that lists a name twice has one item by it: the first.
                    if item["name"] not in seen:
                        seen.add(item["name"])
                        shown = {**item, "name": names.public(Target(server.name, item["name"]), style)}
                        if method == "tools/list":
                            shown["inputSchema"] = accepted(item.get("inputSchema"))
                        yield shown

    def _current(self) -> _Tables:
        if self._tables is None:
            servers = self._servers.values()
            self._tables = _Tables(
                names={
                    method: NameTables(
                        Target(server.name, item["name"])
                        for server in servers
                        for item in server.items(method)
                    )
                    for method in ("tools/list", "prompts/list")
                },
                resources=ResourceTable(
                    [
                        Listing(
                            server.name,
                            server.items("resources/list"),
                            server.items("resources/templates/list"),
                            any_uri="resources" in server.capabilities,
                        )
                        for server in servers
                    ]
                ),
                mirrored={
                    Target(server.name, tool["name"]): declared
                    for server in servers
                    for tool in server.items("tools/list")
                    if (declared := declared_params(tool.get("inputSchema")))
                },
            )
        return self._tables

    def search(self, query: str, limit: int, caller: Caller | None = None) -> list[Json]:
        """The tools that fit a query, best first; those that a caller may see, if one is given."""
        return rank_tools(query, self.tools(caller=caller), limit)

    def tool(self, name: str, style: ToolNames | None = None) -> Json:
        """A tool's definition by any of its names.

        Raises:
            UnknownName: No tool goes by that name, or several do.
        """
        style = style or self.tool_names
        server, item = self.resolve(name, style)
        public = self._current().names["tools/list"].public(Target(server.name, item), style)
        definition = next(tool for tool in server.items("tools/list") if tool["name"] == item)
        return {**definition, "name": public}

    def mirrored_params(self, name: str, surface: Surface) -> Mirrored:
        """Which arguments of a tool modern HTTP clients mirror in headers; none when it is unknown."""
        tables = self._current()
        target = tables.names["tools/list"].resolve(name, surface.tool_names) if tables.mirrored else None
        return tables.mirrored.get(target, {}) if target is not None else {}

    def server_of(self, name: str) -> str:
        """The name of the server that a tool's name means.

        Raises:
            UnknownName: No tool goes by that name, or several do.
        """
        return self.resolve(name)[0].name

    # -- calls

    def resolve(self, name: str, style: ToolNames | None = None) -> tuple[Server, str]:
        """The server that a tool's name means, and the tool's own name there.

        Raises:
            UnknownName: No tool goes by that name, or several do.
        """
        target = self._current().names["tools/list"].resolve(name, style or self.tool_names)
        if target is None:
            raise self._unknown_tool(name)
        return self._servers[target.server], target.item

    def _unknown_tool(self, name: str) -> UnknownName:
        if absent := self._absent(name):
            return UnknownName(f"Unknown tool: {name}; {absent}", tool=name)
        known = [tool["name"] for tool in self.tools()]
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else "; tools/list gives the names there are"
        return UnknownName(f"Unknown tool: {name}{hint}", tool=name)

    def _absent(self, name: str) -> str | None:
        """Why the server that a name seems to mean does not offer it."""
        for server in self._servers.values():
            if server.absence is not None and fold(name).startswith(
                (f"{fold(server.name)}_", f"mcp__{fold(server.name)}__")
            ):
                return f"server {server.name!r} {server.absence}"
        return None

    async def request(self, call: Call, surface: Surface | None = None) -> Json:
        """Answer a request that belongs to one server: the one path that every such request takes.

        Args:
            call: The request.
            surface: What its caller may see and call; what its profile says when None.

        Returns:
            The server's result, unchanged but for the URIs of resources that two servers share.

        Raises:
            HubError, RpcError: It could not be answered.
        """
        method, params = call.method, call.params
        surface = surface or self._policy(call.caller)
        if method == "tools/call":
            return await self._call_tool(call, surface)
        if method == "prompts/get":
            server, own = self._prompt(params.get("name"), surface)
            return await server.request(call, method, {**params, "name": own})
        if method == "resources/read":
            server, own = self._resource(params.get("uri"), call.modern)
            result = await server.request(call, method, {**params, "uri": own})
            return result if own == params["uri"] else _readdressed(result, own, params["uri"])
        assert method == "completion/complete"
        reference = params.get("ref")
        if not isinstance(reference, dict):
            raise InvalidArguments("'ref' must be an object")
        if reference.get("type") == "ref/prompt":
            server, own = self._prompt(reference.get("name"), surface)
            return await server.request(call, method, {**params, "ref": {**reference, "name": own}})
        server, own = self._resource(reference.get("uri"), call.modern)
        return await server.request(call, method, {**params, "ref": {**reference, "uri": own}})

    def _prompt(self, name: object, surface: Surface | None) -> tuple[Server, str]:
        if not isinstance(name, str):
            raise InvalidArguments("'name' must be a string")
        style = surface.tool_names if surface else self.tool_names
        target = self._current().names["prompts/list"].resolve(name, style)
        if target is None or (surface is not None and not surface.permits(target.server, target.item)):
            why = self._absent(name) or "prompts/list gives the names there are"
            raise UnknownName(f"Unknown prompt: {name}; {why}", prompt=name)
        return self._servers[target.server], target.item

    def _resource(self, uri: object, modern: bool) -> tuple[Server, str]:
        if not isinstance(uri, str):
            raise InvalidArguments("'uri' must be a string")
        found = self._current().resources.resolve(uri)
        if found is None:
            code = INVALID_PARAMS if modern else RESOURCE_NOT_FOUND
            raise RpcError({"code": code, "message": f"Resource not found: {uri}", "data": {"uri": uri}})
        return self._servers[found[0]], found[1]

    async def _call_tool(self, call: Call, surface: Surface | None) -> Json:
        name, arguments = call.params.get("name"), call.params.get("arguments")
        if not isinstance(name, str):
            raise InvalidArguments("'name' must be a string")
        if arguments is not None and not isinstance(arguments, dict):
            raise InvalidArguments(f"the 'arguments' of {name!r} must be an object")
        server, item = self.resolve(name, surface.tool_names if surface else None)
        if surface is not None and not surface.permits(server.name, item):
            raise UnknownName(f"Unknown tool: {name} is not part of this profile", tool=name)
        params = call.params if item == name else {**call.params, "name": item}
        if arguments and not _INVENTED.isdisjoint(arguments):
            params = {**params, "arguments": _without_invented(arguments, server, item)}
        tally = self._tallies.setdefault(Target(server.name, item), Tally())
        started = time.perf_counter()
        failed = True
        try:
            result = await server.request(call, "tools/call", params)
            failed = result.get("isError") is True
            return result
        finally:
            tally.calls += 1
            tally.failures += failed
            tally.duration_s += time.perf_counter() - started

    # -- updates of resources

    async def subscribe_resource(self, uri: str, listener: OnUpdated, *, modern: bool) -> None:
        """Tell a listener of every update of a resource, under the URI it asked for.

        Raises:
            HubError, RpcError: There is no such resource, or its server cannot be asked.
        """
        server, own = self._resource(uri, modern)
        listeners = self._subscribers.setdefault((server.name, own), set())
        if not listeners:
            try:
                await server.subscribe(own)
            except BaseException:
                self._subscribers.pop((server.name, own), None)
                raise
        listeners.add(listener)

    async def unsubscribe_resource(self, uri: str, listener: OnUpdated) -> None:
        """Tell the listener no longer; its server is told when it was the last one."""
        found = self._current().resources.resolve(uri)
        listeners = self._subscribers.get(found, set()) if found is not None else set()
        if found is None or listener not in listeners:
            return
        listeners.discard(listener)
        if not listeners:
            del self._subscribers[found]
            if (server := self._servers.get(found[0])) is not None:
                await server.unsubscribe(found[1])

    def updated(self, server: str, uri: str) -> None:
        """A server says that a resource of its own has changed."""
        public = self._current().resources.public(server, uri)
        for listener in tuple(self._subscribers.get((server, uri), ())):
            listener(public)

    async def call_tool(
        self,
        caller: Caller,
        name: str,
        arguments: Json,
        *,
        deadline_s: float | None = None,
        on_progress: Callable[[float, float | None, str | None], None] | None = None,
    ) -> Json:
        """Call a tool on behalf of a caller inside the hub: its agent, its command line.

        Args:
            caller: Who asks.
            name: The tool's public name.
            arguments: Its arguments.
            deadline_s: How long to wait at most; the server's own deadlines when None.
            on_progress: Takes progress: how far, of how much, and in words.

        Returns:
            The `tools/call` result: `content`, perhaps `structuredContent` and `isError`.

        Raises:
            HubError, RpcError: It could not be called.
            TimeoutError: `deadline_s` passed; the server was told to stop.
        """
        meta: Json = {}
        if caller.hops:
            meta[HOPS_META_KEY] = caller.hops
        notify = None
        if on_progress is not None:
            meta["progressToken"] = name
            report = on_progress

            def notify(method: str, params: Json) -> None:
                if method == "notifications/progress":
                    report(params["progress"], params.get("total"), params.get("message"))

        params: Json = {"name": name, "arguments": arguments}
        if meta:
            params["_meta"] = meta
        call = Call(caller, "tools/call", params)
        if notify is not None:
            call.notify = notify
        async with asyncio.timeout(deadline_s):
            return await self.request(call)

    def tallies(self) -> dict[Target, Tally]:
        """What became of the calls to each tool since the hub started."""
        return dict(self._tallies)


_INVENTED = frozenset({"wait_for_previous"})
"""Arguments that clients add to every tool (Gemini CLI), and sometimes send on."""


def _without_invented(arguments: Json, server: Server, item: str) -> Json:
    """A call's arguments without those that its client made up, where the tool forbids unknown ones."""
    tool = next((tool for tool in server.items("tools/list") if tool["name"] == item), {})
    schema = tool.get("inputSchema")
    if not isinstance(schema, dict) or schema.get("additionalProperties") is not False:
        return arguments
    known = schema.get("properties") or {}
    return {name: value for name, value in arguments.items() if name not in _INVENTED or name in known}


def _readdressed(result: Json, own: str, public: str) -> Json:
    """A `resources/read` result whose contents carry the URI that the client asked for."""
    contents = result.get("contents")
    if not isinstance(contents, list):
        return result
    return {
        **result,
        "contents": [
            {**content, "uri": public} if isinstance(content, dict) and content.get("uri") == own else content
            for content in contents
        ],
    }
