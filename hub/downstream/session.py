"""One open conversation with a downstream server.

A session begins when the handshake is done and ends with its connection. It
forwards calls as raw JSON, and gives whatever the server sends meanwhile back to
the caller it belongs to, or refuses it: nobody gets another's messages.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from hub.calls import Call, Json
from hub.downstream.handshake import Era, Handshake, envelope, shake_hands
from hub.downstream.links import Link
from hub.downstream.questions import QUESTIONS, undeclared
from hub.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Busy, DownstreamError, RpcError
from hub.jsonrpc import Request
from hub.protocol import (
    CONNECTION_META_KEYS,
    LIST_CAPABILITIES,
    LIST_CHANGED,
    LIST_IDS,
    LIST_KEYS,
    LISTEN_FILTERS,
    LOG_LEVEL_META_KEY,
    SUBSCRIPTION_ID_META_KEY,
)
from hub.settings import DownstreamSettings

log = logging.getLogger(__name__)

LIST_PAGES_MAX = 1000
"""A server that pages on for longer is taken to be broken."""

ROUNDS_MAX = 32
"""A server that asks for input more often in one call is taken to be broken."""

LISTEN_S = 10 * 365 * 86_400.0
"""A `subscriptions/listen` request is answered when the conversation ends; its wait is never the limit."""

MISSING_CAPABILITY = -32021
URL_ELICITATION_REQUIRED = -32042

ELICITATIONS_MAX = 256
"""How many url elicitations are remembered, to tell their callers when they are complete."""

_ROUND_PARAMS = frozenset({"inputResponses", "requestState"})
"""What the retry of a modern request brings with it."""

current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
"""The call that an incoming message belongs to, where the transport knows."""


class Session:
    """A conversation with a server whose handshake is done.

    Args:
        name: The server's name, for messages.
        settings: Deadlines and bounds.
        call_idle_deadline_s: How long a call may stay silent.
        on_stale: Takes the methods of lists that the server says have changed.
        on_updated: Takes the URI of a subscribed resource that has changed.

    Attributes:
        handshake: What the server said about itself.
        calls: The calls in flight.
        served: How many calls were forwarded.
    """

    handshake: Handshake
    _link: Link

    def __init__(
        self,
        name: str,
        settings: DownstreamSettings,
        call_idle_deadline_s: Callable[[], float],
        on_stale: Callable[[tuple[str, ...]], None],
        on_updated: Callable[[str], None],
    ) -> None:
        self._name = name
        self._settings = settings
        self._call_idle_deadline_s = call_idle_deadline_s
        self._on_stale = on_stale
        self._on_updated = on_updated
        self._listens = 0
        self.calls: set[Call] = set()
        self.served = 0
        self._asking: Counter[Call] = Counter()
        self._elicitations: OrderedDict[str, Call] = OrderedDict()

    async def open(self, link: Link, era: Era | None) -> None:
        """Shake hands on a link whose handler this session is; afterwards `handshake` is set.

        Raises:
            RpcError, PeerTimeout, PeerClosed, NoCommonVersion: As `shake_hands` does.
        """
        self._link = link
        self.handshake = await shake_hands(link.peer, era, deadline_s=self._settings.connect_deadline_s)
        link.use_version(self.handshake.version)

    @property
    def closed(self) -> bool:
        """Whether the conversation has ended."""
        return self._link.peer.closed

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
                f"server {self._name!r}: {self._settings.calls_max} calls are in flight, the most that "
                "downstream.calls_max allows; wait for one to finish"
            )
        meta = {key: value for key, value in call.meta.items() if key not in CONNECTION_META_KEYS}
        if not self.handshake.modern and not _ROUND_PARAMS.isdisjoint(params):
            # Only the hub parks calls to a legacy server, and this one is not parked, or no more.
            raise _refusal(
                INVALID_PARAMS, "this requestState is not known, or its time is over; begin the call again"
            )
        if self.handshake.modern:
            meta |= envelope(dict(call.capabilities))
            if call.log_level is not None:
                meta[LOG_LEVEL_META_KEY] = call.log_level
        else:
            meta.pop(LOG_LEVEL_META_KEY, None)
        if meta:
            params = {**params, "_meta": meta}
        elif "_meta" in params:
            params = {key: value for key, value in params.items() if key != "_meta"}
        self.calls.add(call)
        self.served += 1
        call_token = current_call.set(call)
        try:
            result = await self._send(call, method, params)
            if self.handshake.modern and not call.modern and result.get("resultType") == "input_required":
                return await self._drive_rounds(call, method, params, result)
            return result
        except RpcError as error:
            if error.code == URL_ELICITATION_REQUIRED and isinstance(data := error.error.get("data"), dict):
                for elicitation in data.get("elicitations") or ():
                    self._note_elicitation(call, elicitation)
            raise
        finally:
            current_call.reset(call_token)
            self.calls.discard(call)

    async def _send(self, call: Call, method: str, params: Json) -> Json:
        def on_progress(report: Json) -> None:
            # A parked call goes on under the token of its client's latest request.
            call.notify("notifications/progress", {**report, "progressToken": call.progress_token})

        return await self._link.peer.request(
            method,
            params,
            idle_deadline_s=self._call_idle_deadline_s(),
            total_deadline_s=self._settings.call_total_deadline_s,
            on_progress=None if call.progress_token is None else on_progress,
            held_up=lambda: self._asking[call] > 0,
            headers=self._link.headers_for(method, params),
        )

    async def _drive_rounds(self, call: Call, method: str, params: Json, result: Json) -> Json:
        """Put a modern server's questions to a legacy caller, round by round, until it has its result.

        Raises:
            RpcError: The caller cannot be asked, or the server asks without end.
        """
        for _ in range(ROUNDS_MAX):
            questions = result.get("inputRequests")
            answers: Json = {}
            for key, question in (questions if isinstance(questions, dict) else {}).items():
                method_, asked = str(question.get("method")), question.get("params") or {}
                if (missing := undeclared(call, method_, asked)) is not None:
                    raise RpcError(
                        {
                            "code": MISSING_CAPABILITY,
                            "message": f"the server asks for {method_}, which this client did not declare",
                            "data": {"requiredCapabilities": missing},
                        }
                    )
                answers[key] = await self._ask(call, method_, asked)
            params = {**params, "inputResponses": answers}
            params.pop("requestState", None)
            if result.get("requestState") is not None:
                params["requestState"] = result["requestState"]
            result = await self._send(call, method, params)
            if result.get("resultType") != "input_required":
                return result
        raise _refusal(INVALID_REQUEST, f"the server asked for input {ROUNDS_MAX} times in one call")

    async def _ask(self, call: Call, method: str, params: Json) -> Json:
        """Put a server's question to the caller it belongs to.

        Raises:
            RpcError: The caller did not declare that it can answer, or its answer was an error.
        """
        if method not in QUESTIONS:
            raise _refusal(METHOD_NOT_FOUND, f"a client has no method {method!r}")
        if undeclared(call, method, params) is not None or call.ask is None:
            raise _refusal(METHOD_NOT_FOUND, f"the caller did not declare that it answers {method}")
        if not call.modern and params.get("mode") == "url":
            # Legacy clients tell url elicitations apart by an id that the modern era has no use for.
            params = {"elicitationId": secrets.token_hex(8), **params}
            self._note_elicitation(call, params)
        self._asking[call] += 1
        try:
            return await call.ask(method, params)
        finally:
            self._asking[call] -= 1
            if not self._asking[call]:
                del self._asking[call]

    def _note_elicitation(self, call: Call, params: object) -> None:
        """Remember whom to tell that a url elicitation is complete."""
        elicitation_id = params.get("elicitationId") if isinstance(params, dict) else None
        if isinstance(elicitation_id, str):
            self._elicitations[elicitation_id] = call
            if len(self._elicitations) > ELICITATIONS_MAX:
                self._elicitations.popitem(last=False)

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

    async def listen(self, uris: Sequence[str]) -> bool:
        """Ask a modern server for its changes, until it ends the stream or this is cancelled.

        Args:
            uris: The resources whose updates are wanted.

        Returns:
            Whether there was anything to ask for.

        Raises:
            RpcError: The server has no such stream; its lists are then taken as they were.
            PeerClosed: The stream broke, or the conversation ended.
        """
        wanted: Json = {
            filter_: True
            for notification, filter_ in LISTEN_FILTERS.items()
            if self._announces(LIST_CAPABILITIES[LIST_CHANGED[notification][0]])
        }
        if uris:
            wanted["resourceSubscriptions"] = list(uris)
        if not wanted:
            return False
        self._listens += 1
        params: Json = {"notifications": wanted, "_meta": envelope({})}
        await self._link.peer.request(
            "subscriptions/listen",
            params,
            idle_deadline_s=LISTEN_S,
            headers=self._link.headers_for("subscriptions/listen", params),
            request_id=f"listen-{self._listens}",
        )
        return True

    async def tell(self, method: str, params: Json) -> None:
        """Send a legacy server a request of the hub's own, such as `resources/subscribe`.

        Raises:
            RpcError, PeerTimeout, PeerClosed: It failed.
        """
        await self._link.peer.request(method, params, idle_deadline_s=self._settings.list_deadline_s)

    def notify(self, method: str, params: Json | None = None) -> None:
        """Send the server a notification."""
        self._link.peer.notify(method, params)

    def _announces(self, capability: str) -> bool:
        declared = self.handshake.capabilities.get(capability)
        return isinstance(declared, dict) and declared.get("listChanged") is True

    # -- from the server (a `Handler` of its peer)

    async def on_request(self, request: Request) -> Json:
        if request.method == "ping":
            return {}
        if request.method not in QUESTIONS:
            raise _refusal(METHOD_NOT_FOUND, f"a client has no method {request.method!r}")
        call = self._owner()
        if call is None:
            callers = len(self.calls)
            raise _refusal(
                INVALID_REQUEST,
                f"{request.method} cannot be attributed to one of the {callers} callers of this server, "
                "so it was put to none of them",
            )
        return await self._ask(call, request.method, request.params)

    def on_notification(self, method: str, params: Json) -> None:
        stale = LIST_CHANGED.get(method)
        if stale is not None:
            self._on_stale(stale)
        elif method == "notifications/resources/updated":
            if isinstance(uri := params.get("uri"), str):
                self._on_updated(uri)
        elif method == "notifications/elicitation/complete":
            # It may come long after its call has ended.
            asked = self._elicitations.pop(str(params.get("elicitationId")), None)
            if asked is not None and not asked.modern:
                asked.notify(method, params)
        elif SUBSCRIPTION_ID_META_KEY in (params.get("_meta") or ()):
            return  # it belongs to the hub's own stream of changes
        elif (call := self._owner()) is None:
            return  # it belongs to nobody, or to one of several: nobody gets another's messages
        elif method == "notifications/message":
            call.log(params)
        else:
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


def _refusal(code: int, message: str) -> RpcError:
    return RpcError({"code": code, "message": message})
