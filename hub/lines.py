"""Lines in a stream of bytes, with a bound on each, and what can be told of one that was longer."""

from __future__ import annotations

import functools
import json
import re
from typing import NamedTuple

_TEXT = rb'"(?:[^"\\]|\\.)*"'
_ID = rb'"id"\s*:\s*(-?\d+|' + _TEXT + rb")"
_VERSION = rb'(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?'
_ID_FIRST = re.compile(
    rb"^\s*\{\s*" + _VERSION + rb'(?:"method"\s*:\s*' + _TEXT + rb"\s*,\s*)?" + _VERSION + _ID
)
_ID_LAST = re.compile(rb"[,{]\s*" + _ID + rb'\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
_METHOD = re.compile(rb"^\s*\{\s*" + _VERSION + rb"(?:" + _ID + rb'\s*,\s*)?"method"')

CUT_ENDS_BYTES = 256
"""How much is kept of each end of a line that was too long: enough to tell whose it was."""


class CutLine(NamedTuple):
    """What is left of a line that was too long.

    Attributes:
        head: How it began.
        tail: How it ended.
    """

    head: bytes = b""
    tail: bytes = b""

    @property
    def request_id(self) -> str | int | None:
        """The id of the message it was, which mostly stands before or after all that is large; else None."""
        found = _ID_FIRST.search(self.head) or _ID_LAST.search(self.tail)
        if found is None:
            return None
        try:
            request_id: str | int = json.loads(found[1])
        except ValueError:  # it only looked like one
            return None
        return request_id

    @property
    def asks(self) -> bool:
        """Whether it was a request or notification, as far as its head tells."""
        return _METHOD.search(self.head) is not None

    def and_then(self, piece: bytes) -> CutLine:
        """The same line with more of it."""
        head = self.head + piece[: CUT_ENDS_BYTES - len(self.head)]
        return CutLine(head, (self.tail + piece[-CUT_ENDS_BYTES:])[-CUT_ENDS_BYTES:])


class LineSplitter:
    """Cuts a stream of bytes into lines, in linear time, with a bound on each line.

    Args:
        line_bytes_max: The longest line; of a longer one only the ends are kept.
    """

    def __init__(self, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._cut: CutLine | None = None

    def feed(self, data: bytes) -> list[bytes | CutLine]:
        """Take bytes; return the lines they complete, the ends of each that was too long."""
        pieces = data.split(b"\n")
        last = pieces.pop()
        lines: list[bytes | CutLine] = []
        for piece in pieces:
            if self._take(piece):
                lines.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
            else:
                assert self._cut is not None
                lines.append(self._cut)
            self._parts, self._parts_bytes, self._cut = [], 0, None
        if last:
            self._take(last)
        return lines

    def _take(self, piece: bytes) -> bool:
        """Add to the line under way; returns whether it is within the bound."""
        self._parts_bytes += len(piece)
        if self._parts_bytes <= self._line_bytes_max:
            self._parts.append(piece)
            return True
        if self._cut is None:
            self._cut = functools.reduce(CutLine.and_then, self._parts, CutLine())
            self._parts = []
        self._cut = self._cut.and_then(piece)
        return False

    def rest(self) -> bytes:
        """What came after the last newline."""
        return b"".join(self._parts)
