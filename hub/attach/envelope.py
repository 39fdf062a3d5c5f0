"""What the relay must know of a JSON-RPC message: request, notification or answer, its id, its method.

A small message is parsed. A large one is mostly payload, so its envelope is read
from its first or its last bytes, where the usual libraries write it, and parsed only
when it stands in neither.
"""

from __future__ import annotations

import json
import re
from typing import Literal, NamedTuple

Kind = Literal["request", "notification", "answer", "other"]
RequestId = str | int | float

PARSED_BYTES_MAX = 8192
"""Up to this size parsing takes less time than moving the message."""

_ID = rb'("(?:[^"\\]|\\.){0,200}"|-?\d{1,20}(?:\.\d{1,20})?)'
_HEAD = re.compile(
    rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*' + _ID + rb'\s*,\s*"(method|result|error)"\s*:'
)
"""`jsonrpc`, `id`, then what it is: most libraries, and the hub itself."""
_METHOD_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"(method|result|error)"\s*:')
_TAIL = re.compile(rb',\s*"id"\s*:\s*' + _ID + rb"\s*\}\s*\Z")
"""`id` last. What closes the line closes the message, so this `id` is the message's own."""
_METHOD = re.compile(rb'\s*"([^"\\]{1,200})"')
_NOTIFICATION = re.compile(
    rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"method"\s*:\s*"(notifications/[^"\\]{1,200})"'
)


class Envelope(NamedTuple):
    """What a message is, apart from its payload.

    Attributes:
        kind: `other` for what is no single JSON-RPC message.
        id: The id of a request or an answer; None where there is none.
        method: The method of a request or a notification, empty otherwise.
    """

    kind: Kind
    id: RequestId | None = None
    method: str = ""


OTHER = Envelope("other")


def read(line: bytes) -> Envelope:
    """Read the envelope of one line."""
    if len(line) > PARSED_BYTES_MAX:
        envelope = _glimpse(line)
        if envelope is not None:
            return envelope
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return OTHER
    if not isinstance(message, dict):
        return OTHER
    request_id, method = message.get("id"), message.get("method")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | float):
        request_id = None
    if isinstance(method, str):
        if "id" not in message:
            return Envelope("notification", None, method)
        return Envelope("request", request_id, method) if request_id is not None else OTHER
    return Envelope("answer", request_id) if "result" in message or "error" in message else OTHER


def head_id(head: bytes) -> RequestId | None:
    """The id of a message of which only the beginning is there; None when it does not stand there."""
    found = _HEAD.match(head)
    return _id(found[1]) if found is not None else None


def read_answer_id(line: bytes) -> tuple[bool, RequestId | None]:
    """Whether a line of the hub's is a request rather than an answer, and its id.

    The hub writes `jsonrpc`, `id` first, so this costs the same for any size. The id
    is None for a notification.
    """
    head = _HEAD.match(line)
    if head is not None:
        return head[2] == b"method", _id(head[1])
    if _NOTIFICATION.match(line) is not None:
        return False, None
    envelope = read(line)
    return envelope.kind == "request", envelope.id


def _glimpse(line: bytes) -> Envelope | None:
    """The envelope from the ends of a line; None when it does not stand there."""
    head = _HEAD.match(line)
    if head is not None:
        return _made(line, head[2], head.end(), _id(head[1]))
    notification = _NOTIFICATION.match(line)
    if notification is not None:
        return Envelope("notification", None, notification[1].decode(errors="replace"))
    first = _METHOD_FIRST.match(line)
    tail = _TAIL.search(line, max(0, len(line) - 300))
    if first is not None and tail is not None:
        return _made(line, first[1], first.end(), _id(tail[1]))
    return None


def _made(line: bytes, member: bytes, value_at: int, request_id: RequestId | None) -> Envelope | None:
    if request_id is None:
        return None
    if member != b"method":
        return Envelope("answer", request_id)
    method = _METHOD.match(line, value_at)
    return Envelope("request", request_id, method[1].decode(errors="replace")) if method is not None else None


def _id(token: bytes) -> RequestId | None:
    try:
        value: RequestId = json.loads(token)
    except ValueError:
        return None
    return value
