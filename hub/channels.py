"""Newline-delimited JSON over pipes and sockets.

`LineChannel` is an asyncio protocol: bytes go straight from the transport into
parsed messages, with no reader task in between. It serves the hub's own standard
streams, the local socket and the pipes of child processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import sys
import threading
from collections.abc import Mapping
from typing import Any, Protocol, cast

from hub.calls import Json
from hub.jsonrpc import decode, encode
from hub.lines import CutLine, LineSplitter

log = logging.getLogger(__name__)

WRITE_BUFFER_BYTES = 1024 * 1024
"""How much may be unsent before senders are asked to wait."""

UNREAD_BYTES_MAX = 32 * 1024 * 1024
"""How much may be unsent before notifications, which nobody waits for, are dropped."""


class Receiver(Protocol):
    """Takes what a channel carries; `Peer` is one."""

    def receive(self, message: Any) -> None:
        """Take a message."""
        ...

    def receive_garbage(self, problem: str) -> None:
        """Take note of something that is no message."""
        ...

    def receive_cut(self, line: CutLine, problem: str) -> None:
        """Take note of a message of which only the ends are known."""
        ...

    def close(self, reason: str) -> None:
        """The other side is gone."""
        ...


class LineChannel(asyncio.Protocol):
    """Messages as lines on an asyncio transport.

    Set `receiver` before the transport reads.

    Args:
        message_bytes_max: The longest message accepted.
    """

    receiver: Receiver

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._splitter = LineSplitter(message_bytes_max)
        self._reader: asyncio.BaseTransport | None = None
        self._writer: asyncio.WriteTransport | None = None
        self._room: asyncio.Future[None] | None = None
        self._ended = False

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a transport that carries both ways, as a socket does."""
        # uvloop's transports have asyncio's methods but are not of its classes.
        self._writer = self._reader = cast("asyncio.Transport", transport)
        self._writer.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def use_writer(self, transport: asyncio.WriteTransport) -> None:
        """Write to a pipe of its own."""
        self._writer = transport
        if not transport.is_closing():
            transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            if isinstance(line, bytes):
                self.line_received(line)
            else:
                problem = f"a message was longer than {self._message_bytes_max:,} bytes and was dropped"
                self.receiver.receive_cut(line, problem)

    def line_received(self, line: bytes) -> None:
        """Take one whole line."""
        if not line or line.isspace():
            return
        try:
            message = decode(line)
        except ValueError as error:
            self.receiver.receive_garbage(f"a line is not JSON: {error}")
            return
        self.receiver.receive(message)

    def eof_received(self) -> bool:
        rest = self._splitter.rest()
        if rest.strip():
            self.receiver.receive_garbage("the last line ended without a newline and was dropped")
        self._end("the other side closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection broke: {exc}" if exc else "the connection was closed")

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        self.resume_writing()
        self.receiver.close(reason)

    # -- the sender's side

    @property
    def full(self) -> bool:
        return self._room is not None

    def send(self, message: Json, headers: Mapping[str, str] | None = None) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            return  # whoever waits for an answer learns it from the end of the conversation
        if self.full and "id" not in message and writer.get_write_buffer_size() > UNREAD_BYTES_MAX:
            return
        writer.write(encode(message) + b"\n")

    async def drain(self) -> None:
        while self._room is not None:
            await asyncio.shield(self._room)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._reader is not None and self._reader is not self._writer:
            self._reader.close()


async def open_stdio(channel: LineChannel) -> None:
    """Put a channel on this process's standard streams.

    Standard output is taken over for good: whatever else writes to it afterwards
    lands on standard error, so that a stray print cannot break the wire.
    """
    loop = asyncio.get_running_loop()
    stdin_fd, stdout_fd = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    stdin, stdout = os.fdopen(stdin_fd, "rb", 0), os.fdopen(stdout_fd, "wb", 0)
    if _is_pollable(stdout_fd):
        writer, _ = await loop.connect_write_pipe(lambda: _PipeWriter(channel), stdout)
        channel.use_writer(writer)
    else:
        channel.use_writer(_FileWriter(stdout))
    if _is_pollable(stdin_fd):
        await loop.connect_read_pipe(lambda: _PipeReader(channel), stdin)
    else:
        threading.Thread(
            target=_feed_from_file, args=(loop, stdin, channel), daemon=True, name="stdin"
        ).start()


def _is_pollable(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return sys.platform != "win32" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd))


def _feed_from_file(loop: asyncio.AbstractEventLoop, file: Any, channel: LineChannel) -> None:
    """Read where the event loop cannot: a regular file, or a console on Windows."""
    with contextlib.suppress(RuntimeError):  # the loop may end while a read blocks
        while data := file.read(65_536):
            loop.call_soon_threadsafe(channel.data_received, data)
        loop.call_soon_threadsafe(channel.eof_received)


class _PipeReader(asyncio.Protocol):
    """Hands what one pipe reads to a channel that writes elsewhere."""

    def __init__(self, channel: LineChannel) -> None:
        self.data_received = channel.data_received  # type: ignore[method-assign]
        self.eof_received = channel.eof_received  # type: ignore[method-assign]
        self.connection_lost = channel.connection_lost  # type: ignore[method-assign]


class _PipeWriter(asyncio.Protocol):
    """Hands one pipe's flow control to a channel that reads elsewhere."""

    def __init__(self, channel: LineChannel) -> None:
        self.pause_writing = channel.pause_writing  # type: ignore[method-assign]
        self.resume_writing = channel.resume_writing  # type: ignore[method-assign]
        self.connection_lost = channel.connection_lost  # type: ignore[method-assign]


class _FileWriter(asyncio.WriteTransport):
    """Standard output where the event loop cannot write to it: a file, or a console on Windows."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._file.write(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def is_closing(self) -> bool:
        return bool(self._file.closed)

    def close(self) -> None:
        self._file.close()
