"""Server-sent events, as bytes: reading them from a server and writing them to a client.

The format is WHATWG HTML, section 9.2.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event of a stream.

    Attributes:
        data: Its data, the lines joined with newlines.
        type: Its type, `message` when the server named none.
        id: The last id the stream has given.
        retry_ms: How long to wait before a reconnect, when this event said so.
    """

    data: str
    type: str = "message"
    id: str | None = None
    retry_ms: int | None = None


class SseTooLong(ValueError):
    """An event is longer than its reader accepts."""


class SseReader:
    """Cuts a stream of bytes into events, in linear time.

    Args:
        event_bytes_max: The longest event accepted.
    """

    def __init__(self, event_bytes_max: int) -> None:
        self._event_bytes_max = event_bytes_max
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._data: list[str] = []
        self._data_bytes = 0
        self._type = ""
        self._id: str | None = None
        self._retry_ms: int | None = None
        self._first = True
        self._skip_newline = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take bytes; return the events they complete.

        Raises:
            SseTooLong: An event passed the bound.
        """
        if self._skip_newline and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._skip_newline = chunk.endswith(b"\r")
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        pieces = chunk.split(b"\n")
        last = pieces.pop()
        events = []
        for piece in pieces:
            if self._tail:
                self._tail.append(piece)
                piece = b"".join(self._tail)
                self._tail, self._tail_bytes = [], 0
            event = self._line(piece)
            if event is not None:
                events.append(event)
        if last:
            self._tail.append(last)
            self._tail_bytes += len(last)
        if self._tail_bytes + self._data_bytes > self._event_bytes_max:
            raise SseTooLong(f"an event is longer than {self._event_bytes_max:,} bytes")
        return events

    def _line(self, line: bytes) -> SseEvent | None:
        if self._first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first = False
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value.decode(errors="replace"))
            self._data_bytes += len(value)
        elif name == b"event":
            self._type = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit():
            self._retry_ms = int(value)
        return None

    def _dispatch(self) -> SseEvent | None:
        data, type_, retry_ms = self._data, self._type, self._retry_ms
        self._data, self._data_bytes, self._type, self._retry_ms = [], 0, "", None
        if not data and retry_ms is None:
            return None
        return SseEvent("\n".join(data), type_ or "message", self._id, retry_ms)


def sse_frame(data: bytes, *, type: str | None = None, id: str | None = None) -> bytes:
    """One event as bytes.

    Args:
        data: One line of data.
        type: The event's type; none is written when None.
        id: The event's id; none is written when None.
    """
    parts = []
    if id is not None:
        parts.append(b"id: " + id.encode() + b"\n")
    if type is not None:
        parts.append(b"event: " + type.encode() + b"\n")
    parts.append(b"data: " + data + b"\n\n")
    return b"".join(parts)
