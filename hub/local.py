"""The local socket: how attachments and the command line reach a running hub.

`listen` opens the socket of a home, reads the hello of whoever connects, and hands
the connection to the protocol that is meant for it. `connect` is the other end, for
the command line; the attachment has its own, without asyncio.

The socket is a Unix socket in a folder that nobody else can enter, or, where there
are none, a loopback port whose secret stands in a private file.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import secrets
import socket
import stat
import threading
from typing import TYPE_CHECKING, TypeVar, cast

from hub import __version__
from hub.errors import ConfigError, HubError
from hub.rendezvous import (
    HAS_UNIX_SOCKETS,
    HELLO_BYTES_MAX,
    HELLO_DEADLINE_S,
    Connection,
    Hello,
    HelloError,
    is_newer,
    write_address,
)
from hub.starting import READY_DEADLINE_S, hub_command, reach

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hub.calls import Json
    from hub.home import Home

log = logging.getLogger(__name__)

BACKLOG = 128
"""How many connections may wait to be accepted, and how many more for their hello to be read."""

P = TypeVar("P", bound=asyncio.Protocol)


class Listener:
    """The open socket of a home, until `close`."""

    def __init__(
        self,
        home: Home,
        accept: Callable[[Hello], asyncio.Protocol],
        greet: Callable[[], Json],
        retire: Callable[[], None],
    ) -> None:
        self._home = home
        self._accept = accept
        self._greet = greet
        self._retire = retire
        self._secret: str | None = None
        self._path: Path | None = None
        self._server: asyncio.Server | None = None
        self._greeting: set[_Greeting] = set()
        self._stopping = False

    async def open(self, *, unix: bool) -> None:
        """Listen, and write the address file. Only the owner of the home's lock may.

        Raises:
            ConfigError: There is no place for the socket, or the home cannot be written.
        """
        loop = asyncio.get_running_loop()
        try:
            if unix:
                bound, self._path = _bind(self._home)
                self._server = await loop.create_unix_server(self._greeter, sock=bound, backlog=BACKLOG)
                address: Json = {"socket": str(self._path)}
            else:
                self._secret = secrets.token_urlsafe(32)
                self._server = await loop.create_server(self._greeter, "127.0.0.1", 0, backlog=BACKLOG)
                port = self._server.sockets[0].getsockname()[1]
                address = {"port": port, "secret": self._secret}
            write_address(self._home, address)
        except OSError as error:
            await self.close()
            raise ConfigError(f"the local socket of {self._home.root} cannot be opened: {error}") from None

    def stop_accepting(self) -> None:
        """Turn further connections away, with the word that another hub may take over soon."""
        self._stopping = True

    async def close(self) -> None:
        """Stop listening and remove what was left in the file system. Open connections stay."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
            self._server = None
        for greeting in list(self._greeting):
            greeting.abandon()
        self._home.address_file.unlink(missing_ok=True)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _greeter(self) -> _Greeting:
        return _Greeting(self)

    def _answer(self, line: bytes) -> tuple[Json, asyncio.Protocol | None]:
        """What to say to a hello, and who carries on; None when it was refused."""
        try:
            hello, secret = Hello.from_line(line)
        except HelloError as error:
            return self._refusal(str(error)), None
        if self._secret is not None and not hmac.compare_digest(secret or "", self._secret):
            return self._refusal("the secret is wrong"), None
        if self._stopping:
            return self._refusal("it is ending") | {"stopping": True}, None
        # What is said of the hub is said as it was before this one came.
        facts = self._greet()
        if hello.replaces and not facts["clients"] and is_newer(hello.version, __version__):
            log.info("ending for a newer version", extra={"version": hello.version})
            self._stopping = True
            self._retire()
            return self._refusal("it ends for a newer version") | {"stopping": True}, None
        greeting = {"ok": True, "version": __version__, "pid": os.getpid(), **facts}
        try:
            return greeting, self._accept(hello)
        except HubError as error:
            return self._refusal(error.message), None

    @staticmethod
    def _refusal(reason: str) -> Json:
        return {"ok": False, "version": __version__, "error": reason}


class _Greeting(asyncio.Protocol):
    """A connection until its hello has been read; bounded in time and bytes."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods but are not of its classes.
        self._transport = cast("asyncio.Transport", transport)
        if len(self._listener._greeting) >= BACKLOG:
            self._transport.abort()
        self._listener._greeting.add(self)
        self._timer = asyncio.get_running_loop().call_later(HELLO_DEADLINE_S, self._refuse, "no hello came")

    def data_received(self, data: bytes) -> None:
        self._received += data
        line, newline, rest = self._received.partition(b"\n")
        if not newline:
            if len(line) > HELLO_BYTES_MAX:
                self._refuse("the hello is too long")
            return
        answer, protocol = self._listener._answer(line)
        self._say(answer)
        self._done()
        if protocol is None:
            self._transport.close()
            return
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if rest:
            protocol.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()

    def abandon(self) -> None:
        """End a connection that has not said its hello when the hub stops listening."""
        self._done()
        self._transport.abort()

    def _refuse(self, reason: str) -> None:
        log.info("a local connection was refused", extra={"reason": reason})
        self._say(Listener._refusal(reason))
        self._done()
        self._transport.close()

    def _say(self, members: Json) -> None:
        self._transport.write(json.dumps({"hub": members}).encode() + b"\n")

    def _done(self) -> None:
        self._timer.cancel()
        self._listener._greeting.discard(self)


async def listen(
    home: Home,
    accept: Callable[[Hello], asyncio.Protocol],
    greet: Callable[[], Json],
    retire: Callable[[], None],
    *,
    unix: bool = HAS_UNIX_SOCKETS,
) -> Listener:
    """Open the local socket of a home that this process has locked.

    Args:
        home: The home.
        accept: Called with each hello; returns the protocol that carries the
            connection on, or raises `HubError` to refuse it. That protocol gets
            `connection_made` once the greeting has been written, and whatever the
            client sent behind its hello.
        greet: What to add to a greeting: `clients` (how many are attached now),
            `servers_file`, `message_bytes_max`.
        retire: Called when the hub should end, because an attachment of a newer version
            has come and `clients` is 0; no further connection is accepted.
        unix: Whether to use a Unix socket; else loopback TCP with a secret.

    Raises:
        ConfigError: There is no place for the socket, or the home cannot be written.
    """
    listener = Listener(home, accept, greet, retire)
    await listener.open(unix=unix)
    return listener


async def connect(
    home: Home,
    hello: Hello,
    protocol: Callable[[], P],
    *,
    start: bool = True,
    servers_file: Path | None = None,
    deadline_s: float = READY_DEADLINE_S,
) -> tuple[P, Json]:
    """Connect to the hub of a home, and start one if none runs.

    Args:
        home: The home.
        hello: Who connects, and as what.
        protocol: Makes the protocol that carries the connection.
        start: Whether to start a hub when none runs.
        servers_file: What a hub that is started serves; None for the home's own file.
        deadline_s: How long a start may take.

    Returns:
        The protocol, connected, and the hub's greeting.

    Raises:
        HubUnreachable: None runs and none could be started, or it refused
            (`NotRunning` when none runs and `start` is false).
        ConfigError: The home cannot be used.
    """
    given_up = threading.Event()

    def connected() -> Connection:
        command = hub_command(home, servers_file) if start else None
        connection = reach(home, hello, command, deadline_s=deadline_s, given_up=given_up)
        if given_up.is_set():
            connection.close()
        return connection

    try:
        connection = await asyncio.to_thread(connected)
    except asyncio.CancelledError:
        given_up.set()
        raise
    loop = asyncio.get_running_loop()
    channel: socket.socket = connection.socket
    channel.setblocking(False)
    if HAS_UNIX_SOCKETS and channel.family == socket.AF_UNIX:
        _, carrier = await loop.create_unix_connection(protocol, sock=channel)
    else:
        _, carrier = await loop.create_connection(protocol, sock=channel)
    if connection.rest:
        carrier.data_received(connection.rest)
    return carrier, connection.greeting


def _bind(home: Home) -> tuple[socket.socket, Path]:
    """Bind the first place that can hold the socket; the lock makes leftovers ours to remove."""
    problems: list[str] = []
    for path in home.socket_paths:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _make_private(path.parent, followed=path.parent == home.root)
            path.unlink(missing_ok=True)
            bound.bind(os.fspath(path))
            path.chmod(0o600)
        except OSError as error:
            bound.close()
            problems.append(f"{path}: {error.strerror or error}")
            continue
        return bound, path
    raise OSError("; ".join(problems))


def _make_private(folder: Path, *, followed: bool) -> None:
    """Make sure that a folder exists, is ours, and shuts everybody else out.

    Args:
        folder: The folder.
        followed: Whether it may be a link; not where others could have put one.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat() if followed else folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)
