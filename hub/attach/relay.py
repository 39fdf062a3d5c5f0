"""Moves lines between one client's standard streams and the hub, and outlives hubs.

Two threads that block: one reads the client, one reads the hub. On both ways a
message is one `read` and one `write`, with no event loop in between, and it works
where a loop cannot wait for pipes. The thread that reads the hub also owns the
connection: it makes it, replays the conversation on it, and makes another when it
ends. The client's lines wait meanwhile, in the pipe they came in.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from hub.attach.conversation import Conversation, error_line, refusal
from hub.attach.envelope import head_id
from hub.errors import INVALID_REQUEST, HubError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub.rendezvous import Connection

READ_BYTES = 65_536
CLIENT_LINE_BYTES_MAX = 32 * 1024 * 1024
"""The longest line taken from the client, until the hub says otherwise."""
HUB_LINE_BYTES_MAX = 256 * 1024 * 1024
"""The longest line taken from the hub, which bounds what it sends well below."""
SEND_DEADLINE_S = 60.0
"""How long the hub may leave a line unread before it counts as hanging."""
REPLAY_DEADLINE_S = 10.0
"""How long a new hub may take to answer the replayed `initialize`."""
DRAIN_DEADLINE_S = 10.0
"""How long answers are waited for after the client has closed its end."""
DRAIN_POLL_S = 0.02
"""How often to look then whether the client still reads."""
PAUSE_FIRST_S = 0.2
PAUSE_MAX_S = 10.0
"""The wait before another try to reach a hub: it doubles with each failure."""
SHORT_LIFE_S = 2.0
"""A connection that ends sooner than this counts as a failure."""
SHORT_LIVES_MAX = 3
"""After so many failures in a row the client is told, and not kept waiting."""


def say(text: str) -> None:
    """A remark for whoever reads the client's log of this server."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"hub: {text}\n")
        sys.stderr.flush()


class ClientGone(Exception):
    """Nobody reads what the relay writes."""


class Client:
    """The client's end: this process's standard input and output.

    Args:
        reading: The file descriptor that the client's lines come from.
        writing: The one that it reads.
    """

    def __init__(self, reading: int = 0, writing: int = 1) -> None:
        self._reading = reading
        self._writing = writing
        self._lock = threading.Lock()
        for fd in (reading, writing):
            if sys.platform == "win32":
                import msvcrt

                msvcrt.setmode(fd, os.O_BINARY)
            else:
                os.set_blocking(fd, True)

    def read(self) -> bytes:
        """The next bytes; empty when the client has closed its end."""
        try:
            return os.read(self._reading, READ_BYTES)
        except OSError:
            return b""

    def write(self, lines: bytes) -> None:
        """Give the client whole lines.

        Raises:
            ClientGone: There is no client any more.
        """
        if not lines:
            return
        try:
            with self._lock:
                rest = memoryview(lines)
                while rest:
                    rest = rest[os.write(self._writing, rest) :]
        except OSError:
            raise ClientGone from None

    def gone(self) -> bool:
        """Whether nobody reads any more; False where that cannot be told."""
        if not hasattr(select, "poll"):
            return False
        poll = select.poll()
        poll.register(self._writing, 0)
        return any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))


class Splitter:
    """Cuts bytes into lines, newline included, in linear time.

    Attributes:
        line_bytes_max: The longest line that is kept; a longer one is dropped.

    Args:
        line_bytes_max: As above.
        on_overlong: Takes the first bytes of each line that was dropped.
    """

    def __init__(self, line_bytes_max: int, on_overlong: Callable[[bytes], None]) -> None:
        self.line_bytes_max = line_bytes_max
        self._on_overlong = on_overlong
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, received: bytes) -> list[bytes]:
        """Take bytes; return the lines they complete."""
        if not self._parts and received.find(b"\n") == len(received) - 1:
            return [received]
        *complete, rest = received.split(b"\n")
        lines = []
        for piece in complete:
            self._keep(piece + b"\n")
            if self._size > self.line_bytes_max:
                self._on_overlong(self._parts[0])
            else:
                lines.append(b"".join(self._parts))
            self._parts, self._size = [], 0
        if rest:
            self._keep(rest)
        return lines

    def rest(self) -> bytes:
        """What came behind the last newline, as a line; empty when nothing did."""
        rest = b"".join(self._parts)
        return rest + b"\n" if rest.strip() and self._size <= self.line_bytes_max else b""

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self.line_bytes_max:
            del self._parts[1:]  # the first part tells whose line it was
            self._parts = self._parts or [piece[:READ_BYTES]]
        else:
            self._parts.append(piece)


class Relay:
    """One client's attachment.

    Args:
        client: The client's end.
        reach: Connects to the hub, starting one if need be; raises `HubError`.
    """

    def __init__(self, client: Client, reach: Callable[[], Connection]) -> None:
        self._client = client
        self._reach = reach
        self._from_client = Splitter(CLIENT_LINE_BYTES_MAX, self._refuse_overlong)
        # What both threads use, under the condition's lock.
        self._changed = threading.Condition(threading.Lock())
        self._conversation = Conversation()
        self._hub: socket.socket | None = None
        self._trouble: str | None = None
        self._delivering = False

    def run(self) -> None:
        """Relay until the client has closed its end or died."""
        threading.Thread(target=self._keep_hub, daemon=True, name="hub").start()
        with contextlib.suppress(ClientGone):
            while received := self._client.read():
                lines = self._from_client.feed(received)
                if lines:
                    self._to_hub(lines)
            rest = self._from_client.rest()
            if rest:
                self._to_hub([rest])
            self._drain()

    # -- from the client

    def _to_hub(self, lines: list[bytes]) -> None:
        with self._changed:
            # Ends by the deadlines of the other thread, which has a hub or knows why not.
            self._changed.wait_for(lambda: self._hub is not None or self._trouble is not None)
            hub, trouble = self._hub, self._trouble
            if hub is not None:
                passing = b"".join([line for line in lines if self._conversation.client_sent(line)])
        if hub is None:
            self._client.write(b"".join([refusal(line, trouble or "") for line in lines]))
            return
        try:
            hub.sendall(passing)
        except OSError:
            # Dead, or hanging: the other thread sees the end and answers what is in flight.
            with contextlib.suppress(OSError):
                hub.shutdown(socket.SHUT_RDWR)

    def _refuse_overlong(self, head: bytes) -> None:
        limit = self._from_client.line_bytes_max
        problem = (
            f"a message of over {limit:,} bytes was dropped; `message_bytes_max` in hub.toml is the limit"
        )
        self._client.write(error_line(head_id(head), problem, code=INVALID_REQUEST, error="TooLarge"))

    def _drain(self) -> None:
        """Wait for the answers that are still due, while somebody is there to read them."""
        until = time.monotonic() + DRAIN_DEADLINE_S
        with self._changed:
            while self._trouble is None and (self._conversation.awaited() or self._delivering):
                if time.monotonic() > until or self._client.gone():
                    return
                self._changed.wait(DRAIN_POLL_S)

    # -- from the hub

    def _keep_hub(self) -> None:
        """Have a hub for as long as the process lives."""
        failures = 0
        try:
            while True:
                try:
                    connection = self._reach()
                except HubError as error:
                    failures += 1
                    self._despair(error.message)
                else:
                    since = time.monotonic()
                    with contextlib.closing(connection):
                        self._converse(connection)
                    self._lose_hub()
                    failures = 0 if time.monotonic() - since > SHORT_LIFE_S else failures + 1
                    if failures >= SHORT_LIVES_MAX:
                        self._despair(
                            f"the hub ended {failures} times soon after this client attached; see its log"
                        )
                if failures:
                    time.sleep(min(PAUSE_FIRST_S * 2 ** (failures - 1), PAUSE_MAX_S))
        except ClientGone:
            os._exit(0)  # the other thread may be blocked for good
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # the other thread would wait for good

    def _converse(self, connection: Connection) -> None:
        """Carry the conversation on with a hub until that hub ends."""
        hub = connection.socket
        limit = connection.greeting.get("message_bytes_max")
        if isinstance(limit, int):
            self._from_client.line_bytes_max = limit
        splitter = Splitter(HUB_LINE_BYTES_MAX, self._lose_answer)
        try:
            with self._changed:
                opening = self._conversation.first_replay()
            if opening:
                hub.settimeout(REPLAY_DEADLINE_S)
                hub.sendall(opening)
            else:
                self._go_live(hub)
            received = connection.rest or hub.recv(READ_BYTES)
            while received:
                lines = splitter.feed(received)
                if lines:
                    self._to_client(hub, lines)
                received = hub.recv(READ_BYTES)
        except OSError:
            return  # it was killed, or does not answer the opening

    def _to_client(self, hub: socket.socket, lines: list[bytes]) -> None:
        with self._changed:
            outcomes = [self._conversation.hub_sent(line) for line in lines]
            self._delivering = True
        self._client.write(
            b"".join([line for line, sent in zip(lines, outcomes, strict=True) if sent == "pass"])
        )
        self._delivering = False
        if "opened" in outcomes:
            self._go_live(hub)

    def _go_live(self, hub: socket.socket) -> None:
        """Tell a hub the rest of the conversation, then let the client's lines through."""
        hub.settimeout(None)
        _limit_sending(hub)
        with self._changed:
            replay, news = self._conversation.replay(), self._conversation.changed_lists()
        if replay:
            hub.sendall(replay)
        with self._changed:
            self._hub, self._trouble = hub, None
            self._changed.notify_all()
        self._client.write(b"".join(news))

    def _lose_answer(self, head: bytes) -> None:
        with self._changed:
            self._conversation.hub_sent(head)
        problem = f"the answer was longer than {HUB_LINE_BYTES_MAX:,} bytes and was dropped"
        self._client.write(error_line(head_id(head), problem, error="TooLarge"))

    def _lose_hub(self) -> None:
        with self._changed:
            self._hub = None
            lines = self._conversation.hub_lost()
        say("the hub has ended; looking for another")
        self._client.write(b"".join(lines))

    def _despair(self, reason: str) -> None:
        """Answer with errors until there is a hub again."""
        with self._changed:
            known, self._trouble = self._trouble, reason
            lines = self._conversation.give_up(reason)
            self._changed.notify_all()
        if reason != known:
            say(reason)
        self._client.write(b"".join(lines))


def _limit_sending(hub: socket.socket) -> None:
    """Make a send to a hub that reads nothing fail at its deadline; reading has none."""
    if sys.platform == "win32":
        hub.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, int(SEND_DEADLINE_S * 1000))
    else:
        hub.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(SEND_DEADLINE_S), 0))
