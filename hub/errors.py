"""Every error that crosses a boundary of the hub, sorted by who can act on it.

    HubError
    ├── CallerError              the client or model that asked can ask differently
    │   ├── UnknownName          no such tool, prompt, resource, episode, session
    │   ├── InvalidArguments     the arguments do not fit
    │   ├── NotAllowed           policy refused it
    │   ├── TooLarge             a message or body over its limit
    │   ├── Busy                 a bound was reached: ask again later
    │   │   └── Stopping         the hub is about to end
    │   └── TurnCancelled        somebody stopped the turn
    ├── ConfigError              whoever runs the hub can mend a file, a key, a folder
    │   └── HomeInUse            another process owns the home
    ├── DownstreamError          the owner of one downstream server can act
    │   ├── DownstreamUnavailable   it is not connected
    │   ├── DownstreamTimeout       it took too long
    │   └── DownstreamLost          it went away while it was working
    ├── ModelError               the model's provider, or whoever holds the key
    │   ├── ModelNotConfigured
    │   └── ModelTimeout
    └── StorageError             the machine: disk full, file locked, index damaged

Each class carries the JSON-RPC code and the HTTP status it is told with, so no
face needs a table of its own. A tool that failed is not an error here: it is a
result with `isError`, because the model should read it.
"""

from __future__ import annotations

from typing import Any, ClassVar

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
"""JSON-RPC's codes, as the specification names them; the last opens the range for servers."""


class HubError(Exception):
    """An error with a message written for whoever can act on it.

    Attributes:
        message: What was wrong, where, and what to do next. Never holds a secret.
        details: Further facts for programs, sent as the JSON-RPC error's `data`.
    """

    code: ClassVar[int] = INTERNAL_ERROR
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def to_json_rpc(self) -> dict[str, Any]:
        """The `error` member of a JSON-RPC response."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        data = {"error": type(self).__name__, **self.details}
        error["data"] = data
        return error


class CallerError(HubError):
    """What was asked cannot be answered as it was asked."""

    code = INVALID_PARAMS
    http_status = 400


class UnknownName(CallerError):
    """Nothing goes by that name here."""

    http_status = 404


class InvalidArguments(CallerError):
    """The arguments do not fit what was called."""


class NotAllowed(CallerError):
    """A policy refuses this caller."""

    code = SERVER_ERROR - 3
    http_status = 403


class TooLarge(CallerError):
    """A message or body is over its limit."""

    http_status = 413


class Busy(CallerError):
    """A bound was reached; the same request may go through later."""

    code = SERVER_ERROR - 29
    http_status = 429


class Stopping(Busy):
    """The hub is about to end and begins nothing new; the next one may answer."""

    http_status = 503


class TurnCancelled(CallerError):
    """Somebody stopped a turn of the agent while its caller waited for it."""

    code = -32800
    http_status = 409


class ConfigError(HubError):
    """A setting, a file or a folder must be mended by whoever runs the hub."""


class HomeInUse(ConfigError):
    """Another process owns this home."""


class DownstreamError(HubError):
    """One downstream server failed; every other one keeps working."""

    code = SERVER_ERROR
    http_status = 502

    def __init__(self, server: str, message: str, **details: Any) -> None:
        super().__init__(f"server {server!r}: {message}", server=server, **details)
        self.server = server


class DownstreamUnavailable(DownstreamError):
    """The server is not connected."""

    http_status = 503


class DownstreamTimeout(DownstreamError):
    """The server took longer than the call's deadline."""

    code = SERVER_ERROR - 1
    http_status = 504


class DownstreamLost(DownstreamError):
    """The server went away while it was working on the call; the call may have had effects."""


class ModelError(HubError):
    """The model could not answer."""

    code = SERVER_ERROR - 10
    http_status = 502


class ModelNotConfigured(ModelError):
    """No model is set up."""

    http_status = 503


class ModelTimeout(ModelError):
    """The model took longer than its deadline."""

    http_status = 504


class StorageError(HubError):
    """The machine refused to keep or find something: disk full, locked, damaged."""

    http_status = 507


class RpcError(Exception):
    """A JSON-RPC error from the other side, kept exactly as it was sent.

    Attributes:
        error: The `error` member: `code`, `message` and whatever else stood there.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.error = error

    @property
    def code(self) -> int:
        """The error's code; `INTERNAL_ERROR` when the peer sent none."""
        code = self.error.get("code")
        return code if isinstance(code, int) else INTERNAL_ERROR

    def to_json_rpc(self) -> dict[str, Any]:
        """The `error` member as the peer sent it."""
        return self.error
