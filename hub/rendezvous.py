"""How a process finds the hub of a home, and what both say first.

The hub that owns a home writes where it listens into `home.address_file`: a Unix
socket in a folder that belongs to its user alone, or, where there are none, a
loopback port with a secret. The first line each way is a hello; what follows is the
connection's own business.

    client   {"hub": {"role": "mcp", "version": "0.1.0", "cwd": "/home/ada/project", ...}}
    hub      {"hub": {"ok": true, "version": "0.1.0", "pid": 4711, "clients": 2, ...}}
    hub      {"hub": {"ok": false, "error": "...", "stopping": true}}, and the connection ends

A hub that nobody is attached to ends when one of a newer version comes that wants to
replace it; it says `stopping`, and the other starts its own.

Standard library only, because `hub mcp` runs this before anything else.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hub import __version__
from hub.errors import SERVER_ERROR, ConfigError, HubError

if TYPE_CHECKING:
    from hub.home import Home

Role = Literal["mcp", "control"]

HELLO_BYTES_MAX = 65_536
"""The longest hello either side accepts."""
HELLO_DEADLINE_S = 5.0
"""How long either side waits for the other's hello."""

HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX") and sys.platform != "win32"


class HubUnreachable(HubError):
    """No hub answers for this home, and none could be started."""

    code = SERVER_ERROR
    http_status = 503


class NotRunning(HubUnreachable):
    """Nobody listens where the home says."""


class HelloError(ValueError):
    """The first line of a connection is no hello."""


def is_newer(version: str, than: str) -> bool:
    """Whether a version of the hub is newer than another, by their numbers."""

    def numbers(text: str) -> tuple[int, ...]:
        release = re.match(r"\d{1,9}(?:\.\d{1,9}){0,5}", text)
        return tuple(int(number) for number in release.group().split(".")) if release else ()

    return numbers(version) > numbers(than)


@dataclass(frozen=True, slots=True)
class Hello:
    """Who connects, and what it wants.

    Attributes:
        role: `mcp` for a client's attachment, `control` for the command line.
        version: The version of the connecting side.
        cwd: The folder its client works in, absolute; None when it has none.
        profile: The named subset of tools to show; None for all.
        tool_names: How tools are named for this connection; None for the hub's setting.
        replaces: Whether an older hub that nobody is attached to should end for a newer one.
    """

    role: Role
    version: str = __version__
    cwd: str | None = None
    profile: str | None = None
    tool_names: str | None = None
    replaces: bool = False

    def to_line(self, secret: str | None) -> bytes:
        """The hello as it goes over the wire, with the loopback listener's secret if there is one."""
        members: dict[str, Any] = {
            "role": self.role,
            "version": self.version,
            "cwd": self.cwd,
            "profile": self.profile,
            "tool_names": self.tool_names,
            "replaces": self.replaces,
        }
        if secret is not None:
            members["secret"] = secret
        return json.dumps({"hub": members}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> tuple[Hello, str | None]:
        """Read a hello and the secret that came with it.

        Raises:
            HelloError: The line is none.
        """
        members = hub_member(line)
        role = members.get("role")
        if role not in ("mcp", "control"):
            raise HelloError(f"'role' must be 'mcp' or 'control', not {str(role)[:40]!r}")
        texts = {name: members.get(name) for name in ("version", "cwd", "profile", "tool_names", "secret")}
        for name, text in texts.items():
            if text is not None and not isinstance(text, str):
                raise HelloError(f"{name!r} must be a string")
        secret = texts.pop("secret")
        version = texts.pop("version") or "0"
        replaces = members.get("replaces") is True
        return cls(role, version, texts["cwd"], texts["profile"], texts["tool_names"], replaces), secret


@dataclass(slots=True)
class Connection:
    """A connection on which both hellos have been said.

    Attributes:
        socket: Blocking, without a timeout.
        greeting: What the hub said of itself: `version`, `pid`, `clients`, ...
        rest: Bytes that came right behind the greeting.
    """

    socket: socket.socket
    greeting: dict[str, Any] = field(default_factory=dict)
    rest: bytes = b""

    def close(self) -> None:
        self.socket.close()


# -- the address


def write_address(home: Home, address: dict[str, Any]) -> None:
    """Say where the hub listens; replaces what a dead hub left behind.

    Raises:
        OSError: The home cannot be written.
    """
    draft = home.address_file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(address, file)
    draft.replace(home.address_file)


def is_private(folder: Path) -> bool:
    """Whether a folder is this user's, and nobody else may put anything into it."""
    if not hasattr(os, "getuid"):
        return True  # Windows: the profile folder's access list says so
    status = folder.stat()
    return status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o022


def _dial(home: Home, deadline_s: float) -> tuple[socket.socket, str | None]:
    """Open a connection to where the home says its hub listens.

    Returns:
        The connected socket, with a timeout, and the secret to say.

    Raises:
        NotRunning: Nobody listens there.
        ConfigError: Somebody else could be listening there.
    """
    nobody = NotRunning(f"no hub runs for the home {home.root}")
    try:
        address = json.loads(home.address_file.read_bytes())
    except (OSError, ValueError):
        raise nobody from None
    channel: socket.socket | None = None
    try:
        path = address.get("socket")
        if path is None:
            channel = socket.create_connection(("127.0.0.1", address["port"]), deadline_s)
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return channel, address["secret"]
        if not is_private(Path(path).parent):
            raise ConfigError(f"{Path(path).parent} can be written by others; make it private: chmod 700")
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.settimeout(deadline_s)
        channel.connect(path)
    except (OSError, KeyError, AttributeError, TypeError):
        if channel is not None:
            channel.close()
        raise nobody from None
    return channel, None


def connect(home: Home, hello: Hello, deadline_s: float = HELLO_DEADLINE_S) -> Connection:
    """Connect to the hub that runs for a home.

    Raises:
        NotRunning: None does.
        HubUnreachable: One does, and refuses the connection or does not answer.
        ConfigError: Somebody else could be listening there.
    """
    channel, secret = _dial(home, deadline_s)
    try:
        channel.sendall(hello.to_line(secret))
        line, rest = _read_line(channel)
        greeting = hub_member(line)
    except TimeoutError:
        channel.close()
        raise HubUnreachable(
            f"the hub of {home.root} did not answer within {deadline_s:g} s; `hub stop` ends it"
        ) from None
    except OSError:
        channel.close()
        # It ended while we came in.
        raise NotRunning(f"the hub of {home.root} is ending") from None
    except HelloError as error:
        channel.close()
        raise HubUnreachable(f"what listens for {home.root} is no hub: {error}") from None
    if greeting.get("ok") is not True:
        channel.close()
        kind = NotRunning if greeting.get("stopping") else HubUnreachable
        raise kind(f"the hub refused the connection: {greeting.get('error', 'no reason given')}")
    channel.settimeout(None)
    return Connection(channel, greeting, rest)


def _read_line(channel: socket.socket) -> tuple[bytes, bytes]:
    """One line, and what came behind it."""
    received = b""
    while b"\n" not in received:
        if len(received) > HELLO_BYTES_MAX:
            raise HelloError("its first line is too long")
        more = channel.recv(HELLO_BYTES_MAX)
        if not more:
            raise ConnectionResetError
        received += more
    line, _, rest = received.partition(b"\n")
    return line, rest


def hub_member(line: bytes) -> dict[str, Any]:
    """What stands under `hub` in a line of JSON.

    Raises:
        HelloError: The line holds no such thing.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise HelloError("its first line is not JSON") from None
    members = message.get("hub") if isinstance(message, dict) else None
    if not isinstance(members, dict):
        raise HelloError("its first line is no hello")
    return members
