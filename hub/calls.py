"""Who calls, and how an answer finds its way back.

A `Caller` is the same for every request of one attachment. A `Call` is one request
on its way from a caller to a server, and the return address for whatever that
server sends before its answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Json = dict[str, Any]
"""A JSON object as it came off the wire: never re-modelled on its way through."""

Face = Literal["mcp", "http", "cli", "repl", "agent"]
"""Where a caller came in."""

LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)
"""MCP's log levels (those of RFC 5424), least severe first."""

HOPS_META_KEY = "omni-hub/hops"
"""The `_meta` key that counts how many agents a call has passed through."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: The client's own name and version, for example `codex 0.169.0`.
        face: Where it came in.
        project: The folder the client works in, absolute; None when it has none.
        hops: How many agents this caller's request has passed through; 0 for a client.
        run_id: The run a tool call belongs to when the hub's agent makes it.
        profile: The profile that says what it may see and call; None for everything.
    """

    name: str = "unknown"
    face: Face = "mcp"
    project: str | None = None
    hops: int = 0
    run_id: str | None = None
    profile: str | None = None


def _drop(method: str, params: Json) -> None:
    """A caller that does not listen."""


@dataclass(slots=True, eq=False)
class Call:
    """One request from a caller, and the return address for what its server pushes.

    Attributes:
        caller: Who asks.
        method: The MCP method, for example `tools/call`.
        params: The params as received, `_meta` included.
        modern: Whether the caller speaks 2026-07-28 or later.
        capabilities: What the caller declared; empty when it declared nothing.
        notify: Sends a notification that belongs to this call back to the caller.
        log_level: The least severe log messages the caller wants of this call; None for none.
        ask: Sends a request that belongs to this call to the caller and returns its
            result; None when the caller cannot be asked on its connection.
    """

    caller: Caller
    method: str
    params: Json
    modern: bool = False
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    notify: Callable[[str, Json], None] = _drop
    log_level: LogLevel | None = None
    ask: Callable[[str, Json], Awaitable[Json]] | None = None

    @property
    def meta(self) -> Mapping[str, Any]:
        """The request's `_meta`, empty when it has none."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def progress_token(self) -> str | int | None:
        """The token under which the caller wants progress; None when it does not."""
        token = self.meta.get("progressToken")
        return token if isinstance(token, str | int) and not isinstance(token, bool) else None

    def log(self, params: Json) -> None:
        """Pass on a log message, if the caller wants messages of its level.

        Args:
            params: Of the `notifications/message`, as sent.
        """
        if self.log_level is None:
            return
        level = params.get("level")
        if level not in LOG_LEVELS or LOG_LEVELS.index(level) >= LOG_LEVELS.index(self.log_level):
            self.notify("notifications/message", params)

    def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Report progress to the caller, if it asked for it.

        Args:
            progress: How far, growing with every report.
            total: How far it will go, when that is known.
            message: A line for a person.
        """
        token = self.progress_token
        if token is None:
            return
        params: Json = {"progressToken": token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        self.notify("notifications/progress", params)
