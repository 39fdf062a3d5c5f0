"""Opening the HTTP faces on an address, and closing them again."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import uvicorn

from hub.calls import Face, Json
from hub.errors import ConfigError
from hub.gateway.api import Api, ApiHub
from hub.gateway.guard import Guard, Refusal, is_loopback, read_key
from hub.gateway.http import Receive, Scope, Send, respond_problem
from hub.gateway.legacy_sse import LegacySse
from hub.gateway.streamable import StreamableHttp
from hub.home import Home
from hub.server import McpServer, View

log = logging.getLogger(__name__)

_LAST_BYTES_S = 1.0
"""How long answers that were given at the last moment may take to be sent."""

Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]


class ServedHub(ApiHub, Protocol):
    """What the HTTP faces need of a running hub."""

    @property
    def home(self) -> Home: ...

    @property
    def server(self) -> McpServer: ...

    @property
    def profiles(self) -> list[str]: ...

    def view(self, face: Face, *, profile: str | None = None) -> View: ...

    def count_client(self, change: int) -> None:
        """Something that counts as a client came (1) or went (-1)."""
        ...


class _Server(uvicorn.Server):
    """Leaves the process's signals to the hub."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Faces:
    """Everything that HTTP clients meet, as one ASGI application.

    Args:
        hub: The running hub.
        guard: Turns away who may not come in.
    """

    def __init__(self, hub: ServedHub, guard: Guard) -> None:
        self._hub = hub
        self._guard = guard
        view = hub.view("http")
        self._streamables = {
            f"/mcp/{profile}": StreamableHttp(
                hub.server, hub.settings.http, hub.view("http", profile=profile)
            )
            for profile in hub.profiles
        }
        self._streamables["/mcp"] = StreamableHttp(hub.server, hub.settings.http, view)
        self._sse = LegacySse(hub.server, hub.settings.http, view)
        self._api = Api(hub)
        self._draining = False
        self._answering = 0
        self._none_left = asyncio.Event()
        self._endpoints: dict[str, Endpoint] = {
            **self._streamables,
            "/mcp/": self._streamables["/mcp"],
            "/sse": self._sse.listen,
            "/messages/": self._sse.post,
            "/messages": self._sse.post,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        try:
            self._guard.check(path, scope["headers"])
        except Refusal as refusal:
            challenge = [(b"www-authenticate", b"Bearer")] if refusal.status == 401 else None
            await respond_problem(send, refusal.status, refusal.reason, headers=challenge)
            return
        if self._draining:
            headers = [(b"retry-after", b"1"), (b"connection", b"close")]
            await respond_problem(send, 503, "the hub is stopping", headers=headers)
            return
        self._hub.count_client(1)
        self._answering += 1
        try:
            await self._endpoints.get(path, self._api)(scope, receive, send)
        finally:
            self._hub.count_client(-1)
            self._answering -= 1
            self._note_left()

    def _note_left(self) -> None:
        if self._draining and not self._answering:
            self._none_left.set()

    async def drain(self, grace_s: float) -> None:
        """Refuse what is new, let calls finish, and end what is open-ended: sessions and streams.

        Args:
            grace_s: How long calls may take at most.
        """
        self._draining = True
        self._note_left()
        ends_at = asyncio.get_running_loop().time() + grace_s
        streamables = self._streamables.values()
        await asyncio.gather(
            self._api.drain(grace_s),
            self._sse.drain(grace_s),
            *(face.drain(grace_s) for face in streamables),
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(max(ends_at, asyncio.get_running_loop().time() + _LAST_BYTES_S)):
                await self._none_left.wait()


@asynccontextmanager
async def open_gateway(hub: ServedHub, host: str | None, port: int | None, auth: bool) -> AsyncIterator[Json]:
    """Open the HTTP faces until the context ends.

    Yields `url`, `mcp`, `sse`, `auth` (whether a key is asked for) and `key_file`.

    Args:
        hub: The running hub.
        host: The address to listen on; the setting's when None.
        port: The port; the setting's when None, a free one when 0.
        auth: Whether the key is asked for.

    Raises:
        ConfigError: The address cannot be used, or must not be used without a key.
    """
    settings = hub.settings.http
    host = settings.host if host is None else host
    port = settings.port if port is None else port
    if not is_loopback(host) and not (auth and settings.auth):
        raise ConfigError(
            f"{host} can be reached from other machines, so it needs the key: "
            "drop --no-auth, and `auth = false` in [http] of hub.toml"
        )
    key = read_key(hub.home.key_file) if auth and settings.auth else None
    guard = Guard(host, settings.allowed_hosts, settings.allowed_origins, key)
    faces = Faces(hub, guard)
    listening = _bind(host, port)
    bound = listening.getsockname()
    config = uvicorn.Config(
        _as_asgi(faces),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]), name="http")
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    url = f"http://{shown}:{bound[1]}"
    log.info("the HTTP faces are open", extra={"url": url, "auth": key is not None})
    try:
        yield {
            "url": url,
            "mcp": f"{url}/mcp",
            "sse": f"{url}/sse",
            "auth": key is not None,
            "key_file": str(hub.home.key_file) if key is not None else None,
        }
    finally:
        try:
            # Whoever is cancelled twice must not cancel the server in the middle of its closing.
            await asyncio.shield(asyncio.ensure_future(_close(faces, server, serving, settings.drain_s)))
        finally:
            listening.close()


async def _close(faces: Faces, server: uvicorn.Server, serving: asyncio.Task[None], grace_s: float) -> None:
    try:
        await faces.drain(grace_s)
    finally:
        server.should_exit = True
        await serving


def _as_asgi(faces: Faces) -> Any:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await faces(scope, receive, send)

    return application


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: The address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
        listening.setblocking(False)
    except OSError as error:
        hint = "; choose another with --port" if error.errno == errno.EADDRINUSE else ""
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}{hint}") from None
    return listening
