"""What must be remembered of a client's conversation so that another hub can carry it on.

The *opening* is what the client told the hub about itself and about this
connection: `initialize`, the log level, subscriptions. A new hub is told it again,
under ids of the relay's own, whose answers the client never sees.

Requests *in flight* when a hub dies are answered with an error, because they may
have run; those that only ask, like lists, are asked again. What a hub asked the
client dies with that hub: the client is told so, and its late answer is dropped, or
it could answer another question that has the same id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from hub.attach import envelope
from hub.attach.envelope import RequestId
from hub.errors import INTERNAL_ERROR, SERVER_ERROR

REPLAY_PREFIX = "omni-hub-replay-"
LINE_BYTES_MAX = 65_536
"""The longest line that is kept; longer ones are not replayed."""
OPENING_MAX = 1024
IN_FLIGHT_MAX = 10_000
ASKED_MAX = 1024
"""How many lines of the opening, requests of the client and requests of the hub are remembered."""
REPEATS_MAX = 2
"""How often one request is asked again; it may be what ended the hub."""

INITIALIZED = "notifications/initialized"
LISTEN = "subscriptions/listen"
SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"

_OPENING = frozenset({"initialize", "logging/setLevel", "resources/subscribe"})
_REPEATABLE = _OPENING | {
    "ping",
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/unsubscribe",
    LISTEN,
}
"""What only asks, or sets what is already so: asking it twice is the same as once."""

_LISTS = {"tools": "toolsListChanged", "prompts": "promptsListChanged", "resources": "resourcesListChanged"}

Outcome = Literal["pass", "drop", "opened"]

Key = tuple[str, str]


@dataclass(slots=True)
class _InFlight:
    """A request that the hub has not answered."""

    method: str
    line: bytes | None
    """The request itself, where it may be asked again."""
    repeats: int = 0


@dataclass(slots=True)
class _Told:
    """A line of the opening; a notification has no id."""

    line: bytes
    id: RequestId | None


class Conversation:
    """One client's conversation, as far as a new hub must know it. Does no I/O; not thread-safe."""

    def __init__(self) -> None:
        self._opening: dict[Key, _Told] = {}
        self._in_flight: dict[RequestId, _InFlight] = {}
        self._asked: dict[RequestId, None] = {}
        self._stale: dict[RequestId, None] = {}
        self._replays = 0
        self._initialize_replay: str | None = None
        self._capabilities: dict[str, Any] = {}

    # -- while a hub is there

    def client_sent(self, line: bytes) -> bool:
        """Take note of a line from the client; returns whether the hub should get it."""
        kind, request_id, method = envelope.read(line)
        if kind == "request":
            assert request_id is not None
            kept = line if len(line) <= LINE_BYTES_MAX and method in _REPEATABLE else None
            self._in_flight[request_id] = _InFlight(method, kept)
            _bound(self._in_flight, IN_FLIGHT_MAX)
            if kept is not None and (method in _OPENING or method == "resources/unsubscribe"):
                self._tell(method, line, request_id)
        elif kind == "answer" and request_id is not None:
            if request_id in self._stale:
                del self._stale[request_id]
                return False
            self._asked.pop(request_id, None)
        elif method == INITIALIZED:
            self._opening[INITIALIZED, ""] = _Told(line, None)
        elif method == "notifications/cancelled":
            cancelled = _params(line).get("requestId")
            if isinstance(cancelled, str | int | float):
                self._in_flight.pop(cancelled, None)
        return True

    def hub_sent(self, line: bytes) -> Outcome:
        """Take note of a line from the hub.

        Returns:
            `pass` for what the client should get, `drop` for an answer to a replay,
            `opened` for the one that says the replayed `initialize` has been taken.
        """
        is_request, request_id = envelope.read_answer_id(line)
        if request_id is None:
            return "pass"
        if is_request:
            self._asked[request_id] = None
            _bound(self._asked, ASKED_MAX)
            return "pass"
        if isinstance(request_id, str) and request_id.startswith(REPLAY_PREFIX):
            if request_id != self._initialize_replay:
                return "drop"
            self._initialize_replay = None
            self._capabilities = _capabilities(line)
            return "opened"
        self._in_flight.pop(request_id, None)
        return "pass"

    def awaited(self) -> bool:
        """Whether the hub owes the client an answer; a subscription's only comes at its end."""
        return any(request.method != LISTEN for request in self._in_flight.values())

    # -- when a hub has gone

    def hub_lost(self) -> list[bytes]:
        """What the client must be told because the hub has gone."""
        lines = []
        for request_id, request in list(self._in_flight.items()):
            request.repeats += 1
            if request.line is None or request.repeats > REPEATS_MAX:
                del self._in_flight[request_id]
                lines.append(
                    error_line(
                        request_id,
                        f"the hub ended while it worked on this {request.method}, which may or may not "
                        "have run; another hub follows: check what it did before you ask again",
                        error="HubRestarted",
                    )
                )
        for request_id in self._asked:
            params = {"requestId": request_id, "reason": "the hub that asked has ended"}
            lines.append(_line({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))
        self._stale |= self._asked
        _bound(self._stale, ASKED_MAX)
        self._asked.clear()
        return lines

    def give_up(self, reason: str) -> list[bytes]:
        """Answer everything in flight with an error, because there is no hub for now."""
        lines = [error_line(request_id, reason) for request_id in self._in_flight]
        self._in_flight.clear()
        return lines

    # -- when another is there

    def first_replay(self) -> bytes:
        """What a new hub must answer before it is told anything else; empty when there is nothing."""
        told = self._opening.get(("initialize", ""))
        if told is None or told.id in self._in_flight:
            return b""
        line = self._under_own_id(told)
        self._initialize_replay = f"{REPLAY_PREFIX}{self._replays}"
        return line

    def replay(self) -> bytes:
        """The rest of the opening, and the requests that are asked again."""
        lines = [
            told.line if told.id is None else self._under_own_id(told)
            for key, told in self._opening.items()
            if key != ("initialize", "") and told.id not in self._in_flight
        ]
        lines += [request.line for request in self._in_flight.values() if request.line is not None]
        return b"".join(lines)

    def changed_lists(self) -> list[bytes]:
        """Notifications that any list may be another one with the new hub."""
        lines = []
        if (INITIALIZED, "") in self._opening:
            lines += [
                _line({"jsonrpc": "2.0", "method": f"notifications/{name}/list_changed"})
                for name in _LISTS
                if isinstance(offered := self._capabilities.get(name), dict) and offered.get("listChanged")
            ]
        for request_id, request in self._in_flight.items():
            if request.method != LISTEN or request.line is None:
                continue
            wanted = _params(request.line).get("notifications")
            params = {"_meta": {SUBSCRIPTION_KEY: request_id}}
            lines += [
                _line({"jsonrpc": "2.0", "method": f"notifications/{name}/list_changed", "params": params})
                for name, member in _LISTS.items()
                if isinstance(wanted, dict) and wanted.get(member)
            ]
        return lines

    def _tell(self, method: str, line: bytes, request_id: RequestId) -> None:
        if method == "initialize":
            self._opening.clear()  # what was said before it no longer holds
        uri = str(_params(line).get("uri", "")) if method.startswith("resources/") else ""
        if method == "resources/unsubscribe":
            self._opening.pop(("resources/subscribe", uri), None)
        elif len(self._opening) < OPENING_MAX:
            self._opening[method, uri] = _Told(line, request_id)

    def _under_own_id(self, told: _Told) -> bytes:
        self._replays += 1
        message = json.loads(told.line)
        message["id"] = f"{REPLAY_PREFIX}{self._replays}"
        return _line(message)


def error_line(
    request_id: RequestId | None, message: str, *, code: int = SERVER_ERROR, error: str = ""
) -> bytes:
    """A JSON-RPC error as one line.

    Args:
        request_id: The request it answers; None when that is not known.
        message: For whoever reads it.
        code: The JSON-RPC code.
        error: The kind of error, for programs.
    """
    body: dict[str, Any] = {"code": code, "message": message}
    if error:
        body["data"] = {"error": error}
    return _line({"jsonrpc": "2.0", "id": request_id, "error": body})


def refusal(line: bytes, reason: str) -> bytes:
    """The error that answers a line which no hub will see; empty when it asked for no answer."""
    kind, request_id, _ = envelope.read(line)
    if kind == "request":
        return error_line(request_id, reason, error="HubUnreachable")
    return error_line(None, reason, code=INTERNAL_ERROR) if kind == "other" else b""


def _bound(remembered: dict[Any, Any], most: int) -> None:
    """Forget the oldest beyond the bound."""
    while len(remembered) > most:
        del remembered[next(iter(remembered))]


def _params(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_BYTES_MAX:
        return {}
    try:
        params = json.loads(line).get("params")
    except (ValueError, RecursionError, AttributeError):
        return {}
    return params if isinstance(params, dict) else {}


def _capabilities(line: bytes) -> dict[str, Any]:
    result = json.loads(line).get("result")
    capabilities = result.get("capabilities") if isinstance(result, dict) else None
    return capabilities if isinstance(capabilities, dict) else {}


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
