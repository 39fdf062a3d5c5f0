"""Links: open connections to downstream servers, whatever carries them."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Protocol

from hub.calls import Json
from hub.channels import LineChannel
from hub.downstream.process import ChildProcess, Warden
from hub.jsonrpc import Handler, Peer

_EXIT_WAIT_S = 0.5


class Link(Protocol):
    """An open connection with a conversation on it."""

    peer: Peer
    needs_login: bool
    """Whether it ended because a person must log in at the server."""

    def use_version(self, version: str) -> None:
        """Learn the protocol revision, once the handshake has settled it."""
        ...

    def use_tools(self, tools: Sequence[Json]) -> None:
        """Learn the server's tools, as it lists them: some transports mirror their arguments."""
        ...

    def headers_for(self, method: str, params: Json) -> Mapping[str, str] | None:
        """The headers a message needs; None where the transport has none."""
        ...

    async def post_mortem(self) -> str:
        """What is known about why it ended; empty when nothing is."""
        ...

    async def aclose(self) -> None:
        """End the conversation and everything that carried it."""
        ...


class StdioLink:
    """A child process, spoken to over its standard streams."""

    needs_login = False

    def __init__(self, peer: Peer, child: ChildProcess, stop_grace_s: float) -> None:
        self.peer = peer
        self._child = child
        self._stop_grace_s = stop_grace_s

    @classmethod
    async def open(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        handler: Handler,
        warden: Warden,
        *,
        message_bytes_max: int,
        stop_grace_s: float,
    ) -> StdioLink:
        """Start a program and open a conversation with it.

        Args:
            argv: The program and its arguments.
            env: Its whole environment.
            cwd: Where it runs.
            handler: Takes what it asks.
            warden: Ends it if the hub is killed.
            message_bytes_max: The longest message accepted from it.
            stop_grace_s: How long it may take to end, after its input closed and after SIGTERM.

        Raises:
            OSError: It cannot be started.
        """
        channel = LineChannel(message_bytes_max)
        channel.receiver = peer = Peer(channel, handler, answer_garbage=False)
        child = await ChildProcess.start(argv, env, cwd, channel, warden)
        return cls(peer, child, stop_grace_s)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def use_version(self, version: str) -> None:
        """Pipes carry every revision alike."""

    def use_tools(self, tools: Sequence[Json]) -> None:
        """Pipes mirror nothing."""

    def headers_for(self, method: str, params: Json) -> None:
        """Pipes have no headers."""
        return

    async def post_mortem(self) -> str:
        await self._child.wait(_EXIT_WAIT_S)  # its pipes break a moment before its exit code is known
        code = self._child.exit_code
        if code is None:
            words = "it is still running"
        elif code < 0:
            words = f"it was ended by {signal.Signals(-code).name}"
        else:
            words = f"it exited with code {code}"
        # The last line of a traceback or usage message is the one that names the cause.
        last = next((line for line in reversed(self._child.stderr_tail) if line.strip()), "")
        return f"{words}; it last wrote: {last[:300]}" if last else words

    async def aclose(self) -> None:
        self.peer.close("the hub closed the connection")
        await self._child.stop(self._stop_grace_s)
