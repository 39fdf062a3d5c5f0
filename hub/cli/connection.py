"""The command line's end of a control connection: one request at a time, answers as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from hub import local
from hub.calls import Json
from hub.channels import LineChannel
from hub.errors import METHOD_NOT_FOUND, RpcError
from hub.jsonrpc import Peer, PeerClosed, PeerTimeout, Request
from hub.place import Place
from hub.rendezvous import Hello, HubUnreachable

REQUEST_DEADLINE_S = 60.0
"""How long a request that says nothing else may take. A first recall loads the embedder."""
MESSAGE_BYTES_MAX = 256 * 1024 * 1024
"""The longest answer the command line takes; the hub bounds what it sends well below."""

Report = Callable[[Json], None]


class HubConnection:
    """A conversation with the hub of a place, opened again when the hub was restarted in between.

    Args:
        place: Which home, and what a hub that is started serves.
        start: Whether to start a hub when none runs.

    Attributes:
        greeting: What the hub said of itself: `version`, `pid`, `clients`.
    """

    def __init__(self, place: Place, *, start: bool) -> None:
        self.greeting: Json = {}
        self._place = place
        self._start = start
        self._on_event: Report | None = None
        self._peer: Peer

    async def open(self) -> None:
        """Reach the hub.

        Raises:
            HubUnreachable: None runs, and none was or could be started.
            ConfigError: The home cannot be used.
        """
        channel = LineChannel(MESSAGE_BYTES_MAX)
        channel.receiver = self._peer = Peer(channel, self)
        _, self.greeting = await local.connect(
            self._place.home,
            Hello("control", cwd=str(Path.cwd())),
            lambda: channel,
            start=self._start,
            servers_file=self._place.servers_file,
        )

    async def request(
        self,
        method: str,
        params: Json,
        *,
        deadline_s: float = REQUEST_DEADLINE_S,
        on_event: Report | None = None,
        on_progress: Report | None = None,
    ) -> Json:
        """Ask the hub one thing; a caller that is cancelled cancels it there too.

        Args:
            method: One of `hub.control`'s methods.
            params: Its params; members that are None are left out.
            deadline_s: How long it may take in all.
            on_event: Takes the steps of a turn as they happen.
            on_progress: Takes progress reports of a tool call.

        Raises:
            RpcError: The hub answered with an error.
            HubUnreachable: The hub went away, or took longer than the deadline.
        """
        if self._peer.closed and self._start:
            await self.open()
        self._on_event = on_event
        try:
            return await self._peer.request(
                method,
                {key: value for key, value in params.items() if value is not None},
                idle_deadline_s=deadline_s,
                on_progress=on_progress,
            )
        except PeerTimeout as error:
            raise HubUnreachable(f"the hub: {error}; `hub doctor` looks for the reason") from None
        except PeerClosed as error:
            raise HubUnreachable(f"the hub went away before it answered: {error}") from None
        finally:
            self._on_event = None

    async def wait_closed(self) -> str:
        """Wait until the hub ends the conversation; returns why."""
        return await self._peer.wait_closed()

    def close(self) -> None:
        """End the conversation."""
        self._peer.close("the command is done")

    async def on_request(self, request: Request) -> Json:
        """The hub asks nothing of the command line."""
        raise RpcError({"code": METHOD_NOT_FOUND, "message": f"the command line has no {request.method}"})

    def on_notification(self, method: str, params: Json) -> None:
        """Hand a step of the running turn to whoever listens."""
        if method == "hub/event" and self._on_event is not None:
            self._on_event(params)


@asynccontextmanager
async def connect(place: Place, *, start: bool) -> AsyncIterator[HubConnection]:
    """A conversation with the hub of a place.

    Args:
        place: Which home, and what a hub that is started serves.
        start: Whether to start a hub when none runs.

    Raises:
        HubUnreachable: None runs, and none was or could be started.
        ConfigError: The home cannot be used.
    """
    conversation = HubConnection(place, start=start)
    await conversation.open()
    try:
        yield conversation
    finally:
        conversation.close()
