"""One open conversation with a downstream server.

A session begins when the handshake is done and ends with its connection. It
forwards calls as raw JSON, and gives whatever the server sends meanwhile back to
the caller it belongs to, or refuses it: nobody gets another's messages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar

from hub.calls import Call, Json
from hub.downstream.handshake import Era, Handshake, envelope, shake_hands
from hub.downstream.links import Link
from hub.errors import INVALID_REQUEST, METHOD_NOT_FOUND, Busy, DownstreamError, RpcError
from hub.jsonrpc import Request
from hub.protocol import (
    CONNECTION_META_KEYS,
    LIST_CAPABILITIES,
    LIST_CHANGED,
    LIST_IDS,
    LIST_KEYS,
    LISTEN_FILTERS,
    LOG_LEVEL_META_KEY,
)
from hub.settings import DownstreamSettings

log = logging.getLogger(__name__)

LIST_PAGES_MAX = 1000
"""A server that pages on for longer is taken to be broken."""

LISTEN_S = 10 * 365 * 86_400.0
"""A `subscriptions/listen` request is answered when the conversation ends; its wait is never the limit."""

PUSH_CAPABILITIES: Mapping[str, str] = {
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
    "roots/list": "roots",
}
"""What a legacy server may ask of a client, and the capability the client must have declared."""

current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
"""The call that an incoming message belongs to, where the transport knows."""


class Session:
    """A conversation with a server whose handshake is done.

    Args:
        name: The server's name, for messages.
        settings: Deadlines and bounds.
        call_idle_deadline_s: How long a call may stay silent.
        on_stale: Takes the methods of lists that the server says have changed.
    """

    handshake: Handshake
    _link: Link

    def __init__(
        self,
        name: str,
        settings: DownstreamSettings,
        call_idle_deadline_s: float,
        on_stale: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._name = name
        self._settings = settings
        self._call_idle_deadline_s = call_idle_deadline_s
        self._on_stale = on_stale
        self.calls: set[Call] = set()

    async def open(self, link: Link, era: Era | None) -> None:
        """Shake hands on a link whose handler this session is; afterwards `handshake` is set.

        Raises:
            RpcError, PeerTimeout, PeerClosed, NoCommonVersion: As `shake_hands` does.
        """
        self._link = link
        self.handshake = await shake_hands(link.peer, era, deadline_s=self._settings.connect_deadline_s)
        link.use_version(self.handshake.version)

    # -- towards the server

    async def forward(self, call: Call, method: str, params: Json) -> Json:
        """Send a caller's request on and return the result unchanged.

        Raises:
            RpcError: The server's own error, unchanged.
            PeerTimeout, PeerClosed: It did not answer, or went away.
            Busy: Too many calls are in flight to this server.
        """
        if len(self.calls) >= self._settings.calls_max:
            raise Busy(
                f"server {self._name!r}: {self._settings.calls_max} calls are in flight; wait for one to finish"
            )
        meta = {key: value for key, value in call.meta.items() if key not in CONNECTION_META_KEYS}
        if self.handshake.modern:
            meta |= envelope(dict(call.capabilities))
        else:
            meta.pop(LOG_LEVEL_META_KEY, None)
        if meta:
            params = {**params, "_meta": meta}
        elif "_meta" in params:
            params = {key: value for key, value in params.items() if key != "_meta"}
        token = call.progress_token

        def on_progress(report: Json) -> None:
            call.notify("notifications/progress", {**report, "progressToken": token})

        self.calls.add(call)
        call_token = current_call.set(call)
        try:
            return await self._link.peer.request(
                method,
                params,
                idle_deadline_s=self._call_idle_deadline_s,
                total_deadline_s=self._settings.call_total_deadline_s,
                on_progress=None if token is None else on_progress,
                headers=self._link.headers_for(method, params),
            )
        finally:
            current_call.reset(call_token)
            self.calls.discard(call)

    async def fetch(self, method: str) -> list[Json]:
        """All items of one list, over all its pages; empty when the server has no such list.

        Raises:
            RpcError, PeerTimeout, PeerClosed: The server failed.
            DownstreamError: It pages on without end.
        """
        if LIST_CAPABILITIES[method] not in self.handshake.capabilities:
            return []
        items: list[Json] = []
        params: Json = {"_meta": envelope({})} if self.handshake.modern else {}
        seen: set[str] = set()
        for _ in range(LIST_PAGES_MAX):
            try:
                page = await self._link.peer.request(
                    method,
                    params,
                    idle_deadline_s=self._settings.list_deadline_s,
                    headers=self._link.headers_for(method, params),
                )
            except RpcError as error:
                if error.code == METHOD_NOT_FOUND:
                    return items
                raise
            items += [item for item in page.get(LIST_KEYS[method]) or () if _identified(item, method)]
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str):
                return items
            if cursor in seen:
                break
            seen.add(cursor)
            params = {**params, "cursor": cursor}
        raise DownstreamError(self._name, f"its {method} has pages without end")

    async def listen(self) -> None:
        """Ask a modern server for its changes, for as long as the conversation lasts.

        Raises:
            RpcError: The server has no such stream; its lists are then taken as they were.
            PeerClosed: The conversation ended.
        """
        wanted = {
            filter_: True
            for notification, filter_ in LISTEN_FILTERS.items()
            if self._announces(LIST_CAPABILITIES[LIST_CHANGED[notification][0]])
        }
        if not self.handshake.modern or not wanted:
            return
        params: Json = {"notifications": wanted, "_meta": envelope({})}
        await self._link.peer.request(
            "subscriptions/listen",
            params,
            idle_deadline_s=LISTEN_S,
            headers=self._link.headers_for("subscriptions/listen", params),
            request_id="listen-1",
        )

    def _announces(self, capability: str) -> bool:
        declared = self.handshake.capabilities.get(capability)
        return isinstance(declared, dict) and declared.get("listChanged") is True

    # -- from the server (a `Handler` of its peer)

    async def on_request(self, request: Request) -> Json:
        if request.method == "ping":
            return {}
        capability = PUSH_CAPABILITIES.get(request.method)
        if capability is None:
            raise RpcError(
                {"code": METHOD_NOT_FOUND, "message": f"a client has no method {request.method!r}"}
            )
        call = self._owner()
        if call is None:
            raise RpcError(
                {
                    "code": INVALID_REQUEST,
                    "message": f"{request.method} cannot be attributed to one of the {len(self.calls)} callers "
                    "of this server, so it was put to none of them",
                }
            )
        if capability not in call.capabilities or call.ask is None:
            raise RpcError(
                {"code": METHOD_NOT_FOUND, "message": f"the caller did not declare {capability!r}"}
            )
        return await call.ask(request.method, request.params)

    def on_notification(self, method: str, params: Json) -> None:
        stale = LIST_CHANGED.get(method)
        if stale is not None:
            self._on_stale(stale)
        elif method == "notifications/message":
            call = self._owner()
            if call is not None:
                call.notify(method, params)

    def _owner(self) -> Call | None:
        """The call a push belongs to: the transport's word, else the only one there is."""
        call = current_call.get()
        if call in self.calls:
            return call
        return next(iter(self.calls)) if len(self.calls) == 1 else None


def _identified(item: object, method: str) -> bool:
    """Whether an item of a list has what it is called or read by; one without is of no use to anybody."""
    return isinstance(item, dict) and isinstance(item.get(LIST_IDS[method]), str)
