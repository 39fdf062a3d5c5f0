"""What a person reads when a command fails, and the exit code that programs read.

0    it worked
1    it was tried and failed: a tool, a downstream server, the model, the storage
2    the command was wrong: an option, an argument, a name that nothing goes by
3    no hub could be reached or started
4    a file, a key or a folder must be mended first: hub.toml, mcp.json, the home
130  interrupted
"""

from __future__ import annotations

from hub import errors
from hub.calls import Json
from hub.rendezvous import HubUnreachable

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
CONFIG = 4
INTERRUPTED = 130


class Quit(Exception):
    """Ends the command with an exit code after everything has been printed."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def exit_code(error: BaseException) -> int:
    """The exit code for an error that ended a command."""
    kind = _kind(error) if isinstance(error, errors.RpcError) else type(error)
    if issubclass(kind, HubUnreachable):
        return UNREACHABLE
    if issubclass(kind, errors.ConfigError | errors.ModelNotConfigured):
        return CONFIG
    if issubclass(kind, errors.UnknownName | errors.InvalidArguments):
        return USAGE
    return FAILED


def as_json(error: errors.HubError | errors.RpcError) -> Json:
    """What `--json` prints for an error: the JSON-RPC error, under one key."""
    return {"error": error.to_json_rpc()}


def _kind(error: errors.RpcError) -> type[BaseException]:
    """The class of the hub's error that a JSON-RPC error stands for; `RpcError` for a server's own."""
    named = error.error.get("data")
    name = named.get("error") if isinstance(named, dict) else None
    kind = getattr(errors, name, None) if isinstance(name, str) else None
    return kind if isinstance(kind, type) and issubclass(kind, errors.HubError) else errors.RpcError
