"""The ways a hub runs.

Detached, started by an attachment or a command; in the foreground with its HTTP
faces; and embedded in the process of one client. Each holds the lock of its home.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.app import Hub
from hub.calls import Caller, Json
from hub.channels import LineChannel, open_stdio
from hub.environment import DEPTH_VARIABLE
from hub.errors import ConfigError, HomeInUse, HubError
from hub.home import Home
from hub.jsonrpc import Peer
from hub.settings import Settings, load

if TYPE_CHECKING:
    from hub.local import Listener
    from hub.lock import HomeLock
    from hub.place import Place
    from hub.rendezvous import Hello


def run_detached(
    home: Home, servers_file: Path | None, *, lock: HomeLock, on_ready: Callable[[], None]
) -> None:
    """Run a hub that an attachment or a command started, until it is stopped or idle.

    Args:
        home: The home.
        servers_file: What to serve; the home's own file when None.
        lock: The home's lock, held.
        on_ready: Called once clients can attach.

    Raises:
        ConfigError: A setting or the home is wrong.
    """
    hub_settings = _prepare(home, foreground=False)

    async def main() -> None:
        hub = Hub(home, servers_file, hub_settings, environ=dict(os.environ))
        async with hub.running(), contextlib.AsyncExitStack() as stack:
            listener = await _listen(hub)
            stack.push_async_callback(listener.close)
            if hub_settings.http.enabled:
                await stack.enter_async_context(
                    hub.open_http(hub_settings.http.host, hub_settings.http.port, hub_settings.http.auth)
                )
            on_ready()
            hub.end_when_idle()
            await _until_stopped(hub)
            listener.stop_accepting()

    _run(main())


def run_embedded(place: Place, *, profile: str | None, tool_names: str | None) -> int:
    """Run a hub inside the process of one client, on its standard streams; returns the exit code."""
    from hub.lock import HomeLock

    async def main(hub_settings: Settings) -> None:
        hub = Hub(place.home, place.servers_file, hub_settings, environ=dict(os.environ))
        async with hub.running():
            channel = LineChannel(hub_settings.message_bytes_max)
            view = hub.view("mcp", profile=profile, project=_folder(), tool_names=tool_names)
            peer = hub.connect(channel, view)
            channel.receiver = _Draining(peer, hub_settings.http.drain_s)
            await open_stdio(channel)
            await asyncio.wait(
                [asyncio.ensure_future(peer.wait_closed()), asyncio.ensure_future(_until_stopped(hub))],
                return_when=asyncio.FIRST_COMPLETED,
            )

    try:
        with HomeLock(place.home, listens=False):
            _run(main(_prepare(place.home, foreground=False)))
    except HubError as error:
        sys.stderr.write(f"hub mcp: {error.message}\n")
        return 1
    return 0


def run_serve(
    place: Place, *, host: str | None, port: int | None, auth: bool, tell: Callable[[Json], None]
) -> None:
    """Serve MCP and HTTP in the foreground until stopped, in this process or beside a running hub.

    Args:
        place: Which home, and what to serve.
        host: The address to listen on; the setting's when None.
        port: The port; the setting's when None, a free one when 0.
        auth: Whether the key is asked for.
        tell: Told where the faces are, as the gateway says it, once they are open.

    Raises:
        ConfigError: A setting, the address or the home is wrong.
        HubError: The running hub did not open its faces, or ended.
    """
    from hub.lock import HomeLock
    from hub.serving import serve_beside

    async def main(hub_settings: Settings) -> None:
        hub = Hub(place.home, place.servers_file, hub_settings, environ=dict(os.environ))
        async with hub.running(), contextlib.AsyncExitStack() as stack:
            listener = await _listen(hub)
            stack.push_async_callback(listener.close)
            tell(await stack.enter_async_context(hub.open_http(host, port, auth)))
            await _until_stopped(hub)
            listener.stop_accepting()

    try:
        with HomeLock(place.home):
            _run(main(_prepare(place.home, foreground=True)))
    except HomeInUse as error:
        if not error.details.get("listens"):
            raise
        _run(serve_beside(place, host=host, port=port, auth=auth, tell=tell))


class _Draining:
    """Lets requests finish when the client has closed its end, as a pipe of requests does."""

    def __init__(self, peer: Peer, grace_s: float) -> None:
        self._peer = peer
        self._grace_s = grace_s
        self._ending: asyncio.Task[None] | None = None
        self.receive = peer.receive
        self.receive_garbage = peer.receive_garbage
        self.receive_cut = peer.receive_cut

    def close(self, reason: str) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._finish(reason))

    async def _finish(self, reason: str) -> None:
        await self._peer.settle(self._grace_s)
        self._peer.close(reason)


def _prepare(home: Home, *, foreground: bool) -> Settings:
    """Read the settings and open the log.

    Raises:
        ConfigError: A setting is wrong, or this would be a hub inside a hub.
    """
    from hub import telemetry

    if os.environ.get(DEPTH_VARIABLE, "0") != "0":
        raise ConfigError(
            "a hub started this as one of its servers and would call itself; remove it from mcp.json"
        )
    hub_settings = load(home)
    telemetry.configure(home, hub_settings.log, foreground=foreground)
    return hub_settings


async def _listen(hub: Hub) -> Listener:
    from hub import control, local

    def accept(hello: Hello) -> asyncio.Protocol:
        if hello.role == "control":
            caller = Caller(name="hub command line", face="cli", project=hello.cwd)
            return control.open_channel(hub, caller, hub.settings.message_bytes_max)
        view = hub.view("mcp", profile=hello.profile, project=hello.cwd, tool_names=hello.tool_names)
        channel = LineChannel(hub.settings.message_bytes_max)
        hub.connect(channel, view)
        return channel

    def greet() -> Json:
        return {
            "clients": hub.clients,
            "servers_file": str(hub.servers()["file"]),
            "message_bytes_max": hub.settings.message_bytes_max,
        }

    return await local.listen(hub.home, accept, greet, hub.stop)


async def _until_stopped(hub: Hub) -> None:
    """Wait until the hub is to end, by its own decision or by a signal."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, hub.stop)
    try:
        await hub.wait_stopped()
    finally:
        for number in signals:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end on the fastest event loop there is."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main)


def _folder() -> str | None:
    with contextlib.suppress(OSError):
        return os.getcwd()
    return None
