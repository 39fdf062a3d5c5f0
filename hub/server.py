"""The hub's MCP face: what a client meets, in either protocol era.

`McpServer` answers requests, whatever transport they came in on: lists and calls go
to the router, and the result gets the envelope of the caller's era. `Client` is one
client on a stream (its pipes, or the local socket); the HTTP face has its own way
of holding clients and shares everything else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hub.calls import HOPS_META_KEY, LOG_LEVELS, Call, Caller, Face, Json, LogLevel
from hub.eras import SERVER_INFO, Envelope, in_words, legacy_result, legacy_tool, modern_result, read_envelope
from hub.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, RpcError
from hub.jsonrpc import Peer, Request, RequestId
from hub.parking import Parking
from hub.protocol import (
    HANDSHAKE_VERSIONS,
    LATEST_HANDSHAKE_VERSION,
    LIST_CAPABILITIES,
    LIST_CHANGED,
    LIST_KEYS,
    LISTEN_FILTERS,
    LOG_LEVEL_META_KEY,
    MODERN_VERSIONS,
    PROTOCOL_VERSION_META_KEY,
    SUBSCRIPTION_ID_META_KEY,
)
from hub.router import Router
from hub.surface import Surface

log = logging.getLogger(__name__)

CAPABILITIES: Json = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
}
"""What the hub can pass on. It does not depend on which servers are connected: they come and go."""

_FORWARDED = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})
_CACHEABLE = frozenset({*LIST_KEYS, "server/discover", "resources/read"})
_ASKING = frozenset({"sampling", "elicitation", "roots"})
"""Capabilities by which a client can be asked something in the middle of a call."""

_MODERN_ONLY = frozenset({"server/discover", "subscriptions/listen"})
_LEGACY_ONLY = frozenset({"ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})


@dataclass(frozen=True, slots=True)
class View:
    """What one client sees, as its attachment asked for it.

    Attributes:
        surface: Which tools, under which names.
        face: Where it came in.
        project: The folder it works in.
        profile: The name of its profile.
    """

    surface: Surface
    face: Face = "mcp"
    project: str | None = None
    profile: str | None = None

    def caller(self, client: str, params: Json) -> Caller:
        """Who sends a request, by the client's own name."""
        return Caller(client, self.face, self.project, hops(params), profile=self.profile)


@dataclass(slots=True)
class Handshake:
    """What a legacy client settled with `initialize`.

    Attributes:
        version: The protocol revision.
        capabilities: What the client declared.
        client: Its name and version, in words.
    """

    version: str
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    client: str = "unknown"


class McpServer:
    """Answers MCP requests over the router.

    Args:
        router: Everything behind the hub.
        instructions: Gives the instructions for models, as they are now.
        on_log_level: Told the level that a legacy client asks for.
        on_roots_changed: Told that a legacy client's roots have changed.
        listens_max: How many `subscriptions/listen` streams may be open at once.
    """

    def __init__(
        self,
        router: Router,
        instructions: Callable[[], str],
        *,
        on_log_level: Callable[[LogLevel], None],
        on_roots_changed: Callable[[], None],
        listens_max: int = 1024,
    ) -> None:
        self.router = router
        self.on_log_level = on_log_level
        self.on_roots_changed = on_roots_changed
        self._instructions = instructions
        self._listens_max = listens_max
        self._listens = 0
        self._closing = asyncio.Event()
        self._parking = Parking()

    def close(self) -> None:
        """End the streams of changes gracefully, and what waits for clients to come back."""
        self._closing.set()
        self._parking.close()

    def initialize(self, params: Json) -> tuple[Json, Handshake]:
        """Answer `initialize`.

        Raises:
            RpcError: Its params are wrong.
        """
        requested = params.get("protocolVersion")
        capabilities = params.get("capabilities")
        if not isinstance(requested, str) or not isinstance(capabilities, dict):
            raise RpcError(
                {
                    "code": INVALID_PARAMS,
                    "message": "initialize needs 'protocolVersion' and an object 'capabilities'",
                }
            )
        version = requested if requested in HANDSHAKE_VERSIONS else LATEST_HANDSHAKE_VERSION
        result: Json = {
            "protocolVersion": version,
            "capabilities": CAPABILITIES,
            "serverInfo": SERVER_INFO,
            "instructions": self._instructions(),
        }
        return result, Handshake(version, capabilities, in_words(params.get("clientInfo")))

    async def answer(self, call: Call, view: View, request_id: RequestId) -> Json:
        """Answer any request but those that open or change a connection, in the caller's envelope.

        Raises:
            HubError, RpcError: What the caller is told instead.
        """
        if call.method in _FORWARDED:
            result = await self._forward(call, view)
        else:
            result = await self._own(call, view, request_id)
        if call.modern:
            return modern_result(result, cacheable=call.method in _CACHEABLE)
        return legacy_result(result)

    async def _forward(self, call: Call, view: View) -> Json:
        """Pass a request on to the server it belongs to."""
        if not call.modern or _ASKING.isdisjoint(call.capabilities):
            return await self.router.request(call, view.surface)
        if self._parking.holds(call):
            return await self._parking.resume(call)
        return await self._parking.run(call, lambda call: self.router.request(call, view.surface))

    async def _own(self, call: Call, view: View, request_id: RequestId) -> Json:
        """Answer what the hub knows by itself."""
        method = call.method
        if method in (_LEGACY_ONLY if call.modern else _MODERN_ONLY):
            raise _no_method(method)
        if method in LIST_KEYS:
            items = await self.router.listing(method, view.surface)
            if method == "tools/list" and not call.modern:
                items = [legacy_tool(tool) for tool in items]
            return {LIST_KEYS[method]: items}
        if method == "ping":
            return {}
        if method == "server/discover":
            return {
                "supportedVersions": list(MODERN_VERSIONS),
                "capabilities": CAPABILITIES,
                "instructions": self._instructions(),
            }
        if method == "subscriptions/listen":
            return await self._listen(call, request_id)
        raise _no_method(method)

    async def _listen(self, call: Call, request_id: RequestId) -> Json:
        """Send the changes a modern client asked for until it stops listening, or the hub ends."""
        wanted = call.params.get("notifications")
        if not isinstance(wanted, dict):
            raise RpcError({"code": INVALID_PARAMS, "message": "'notifications' must be an object"})
        if self._listens >= self._listens_max:
            raise RpcError(
                {"code": INVALID_REQUEST, "message": f"{self._listens_max} streams are open already"}
            )
        meta = {SUBSCRIPTION_ID_META_KEY: request_id}
        honored: Json = {name: True for name in LISTEN_FILTERS.values() if wanted.get(name) is True}
        uris = wanted.get("resourceSubscriptions")
        if isinstance(uris, list) and uris:
            honored["resourceSubscriptions"] = [uri for uri in uris if isinstance(uri, str)]

        def tell(methods: frozenset[str]) -> None:
            for notification in changes(methods):
                if LISTEN_FILTERS[notification] in honored:
                    call.notify(notification, {"_meta": meta})

        def tell_updated(uri: str) -> None:
            call.notify("notifications/resources/updated", {"uri": uri, "_meta": meta})

        unsubscribe = self.router.subscribe(tell)
        self._listens += 1
        subscribed = []
        try:
            for uri in honored.get("resourceSubscriptions", ()):
                await self.router.subscribe_resource(uri, tell_updated, modern=True)
                subscribed.append(uri)
            call.notify("notifications/subscriptions/acknowledged", {"notifications": honored, "_meta": meta})
            await self._closing.wait()
        finally:
            self._listens -= 1
            unsubscribe()
            for uri in subscribed:
                await self.router.unsubscribe_resource(uri, tell_updated)
        return {"_meta": meta}


def changes(methods: frozenset[str]) -> list[str]:
    """The change notifications that stand for a set of changed lists."""
    return [
        notification
        for notification, lists in LIST_CHANGED.items()
        if methods.intersection(lists) and LIST_CAPABILITIES[lists[0]] in CAPABILITIES
    ]


def _no_method(method: str) -> RpcError:
    return RpcError({"code": METHOD_NOT_FOUND, "message": f"Method not found: {method}", "data": method})


class Client:
    """One client on a stream: its pipes, or the local socket.

    It may open with `initialize`, or send modern requests from the start, or do both
    in turn, as clients that probe do. It is the handler of its peer; set `peer`
    before messages come in.

    Args:
        server: Answers its requests.
        view: What it sees.
    """

    peer: Peer

    def __init__(self, server: McpServer, view: View) -> None:
        self._server = server
        self._view = view
        self._handshake: Handshake | None = None
        # A legacy client that never chose a level gets what its server sends.
        self._log_level: LogLevel = "debug"
        self._uris: set[str] = set()
        self._unsubscribe = server.router.subscribe(self._tell)

    def detach(self) -> None:
        """The client is gone."""
        self._unsubscribe()
        uris, self._uris = self._uris, set()
        for uri in uris:
            # Whoever else listens keeps the subscription; a server that is away needs not be told.
            asyncio.get_running_loop().create_task(self._forget(uri)).add_done_callback(_log_failure)

    async def on_request(self, request: Request) -> Json:
        params = request.params
        if request.method == "initialize":
            result, self._handshake = self._server.initialize(params)
            return result
        envelope = read_envelope(params)
        if envelope is not None:
            call = modern_call(envelope, request.method, params, self._view, request.notify)
        elif self._handshake is not None:
            call = Call(
                self._view.caller(self._handshake.client, params),
                request.method,
                params,
                capabilities=self._handshake.capabilities,
                notify=request.notify,
                log_level=self._log_level,
                ask=request.ask,
            )
            if (change := self._changes.get(request.method)) is not None:
                return await change(self, params)
        elif request.method == "ping":
            return {}
        elif request.method == "server/discover":
            raise _refusal(INVALID_PARAMS, f"params._meta must carry {PROTOCOL_VERSION_META_KEY!r}")
        else:
            raise _refusal(INVALID_REQUEST, f"send initialize before {request.method}")
        return await self._server.answer(call, self._view, request.id)

    async def _set_log_level(self, params: Json) -> Json:
        level = params.get("level")
        if level not in LOG_LEVELS:
            raise _refusal(INVALID_PARAMS, f"'level' must be one of {', '.join(LOG_LEVELS)}")
        self._log_level = level
        self._server.on_log_level(level)
        return {}

    async def _subscribe(self, params: Json) -> Json:
        uri = params.get("uri")
        if not isinstance(uri, str):
            raise _refusal(INVALID_PARAMS, "'uri' must be a string")
        await self._server.router.subscribe_resource(uri, self._tell_updated, modern=False)
        self._uris.add(uri)
        return {}

    async def _unsubscribe_from(self, params: Json) -> Json:
        uri = params.get("uri")
        if isinstance(uri, str):
            self._uris.discard(uri)
            await self._forget(uri)
        return {}

    async def _forget(self, uri: str) -> None:
        await self._server.router.unsubscribe_resource(uri, self._tell_updated)

    _changes: ClassVar[Mapping[str, Callable[[Client, Json], Awaitable[Json]]]] = {
        "logging/setLevel": _set_log_level,
        "resources/subscribe": _subscribe,
        "resources/unsubscribe": _unsubscribe_from,
    }
    """The requests by which a legacy client changes its connection."""

    def on_notification(self, method: str, params: Json) -> None:
        if method == "notifications/roots/list_changed":
            self._server.on_roots_changed()

    def _tell(self, methods: frozenset[str]) -> None:
        if self._handshake is not None:
            for notification in changes(methods):
                self.peer.notify(notification)

    def _tell_updated(self, uri: str) -> None:
        self.peer.notify("notifications/resources/updated", {"uri": uri})


def modern_call(
    envelope: Envelope, method: str, params: Json, view: View, notify: Callable[[str, Json], None]
) -> Call:
    """A modern client's request, with the way back to it."""
    level = params["_meta"].get(LOG_LEVEL_META_KEY)
    return Call(
        view.caller(envelope.client, params),
        method,
        params,
        modern=True,
        capabilities=envelope.capabilities,
        notify=notify,
        log_level=level if level in LOG_LEVELS else None,
    )


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("a server was not told of an ended subscription", extra={"problem": str(error)})


def _refusal(code: int, message: str) -> RpcError:
    return RpcError({"code": code, "message": message})


def hops(params: Json) -> int:
    """How many agents a request says it has passed through."""
    meta = params.get("_meta")
    count = meta.get(HOPS_META_KEY) if isinstance(meta, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0
