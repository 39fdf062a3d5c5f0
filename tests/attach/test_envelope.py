"""What one message is, however it was written and however large it is."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from hub.attach import envelope
from hub.attach.envelope import OTHER, PARSED_BYTES_MAX, Envelope

PADDING = {"text": "x" * PARSED_BYTES_MAX, "id": 7, "method": "inner", "deep": {"jsonrpc": "2.0", "id": 8}}
"""Payload that looks like an envelope, and makes the message a large one."""

MESSAGES: list[tuple[dict[str, Any], Envelope]] = [
    ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}, Envelope("request", 1, "tools/call")),
    ({"jsonrpc": "2.0", "id": 'ä"\\', "method": "ping", "params": {}}, Envelope("request", 'ä"\\', "ping")),
    ({"jsonrpc": "2.0", "id": -3, "result": {}}, Envelope("answer", -3)),
    ({"jsonrpc": "2.0", "id": "", "error": {}}, Envelope("answer", "")),
    (
        {"jsonrpc": "2.0", "method": "notifications/initialized", "params": {}},
        Envelope("notification", None, "notifications/initialized"),
    ),
]


@pytest.mark.parametrize("padding", [{}, PADDING], ids=["small", "large"])
@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_the_order_of_the_members_does_not_matter(
    message: dict[str, Any], expected: Envelope, padding: dict[str, Any]
) -> None:
    rng = random.Random(1)
    message = {key: padding if isinstance(value, dict) else value for key, value in message.items()}
    for _ in range(12):
        members = list(message.items())
        rng.shuffle(members)
        for separators in ((",", ":"), (", ", ": ")):
            line = json.dumps(dict(members), separators=separators).encode() + b"\n"
            assert envelope.read(line) == expected, line[:80]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[1, 2]\n",
        b'{"jsonrpc": "2.0", "id": 1\n',
        b'{"jsonrpc": "2.0", "id": null, "method": "x"}\n',
        b'{"jsonrpc": "2.0", "id": true, "method": "x"}\n',
        b'{"jsonrpc": "2.0", "id": [1], "method": "x"}\n',
        b'{"jsonrpc": "2.0"}\n',
        b"[" * 100_000 + b"\n",
        b'{"id": ' + b"9" * 5000 + b', "method": "x"}\n',
    ],
)
def test_what_is_no_message_is_no_message(line: bytes) -> None:
    assert envelope.read(line) == OTHER


def test_a_hubs_answer_is_told_from_its_request() -> None:
    assert envelope.read_answer_id(b'{"jsonrpc":"2.0","id":5,"result":{"method":"x"}}\n') == (False, 5)
    assert envelope.read_answer_id(b'{"jsonrpc":"2.0","id":"5","error":{}}\n') == (False, "5")
    assert envelope.read_answer_id(b'{"jsonrpc":"2.0","id":5,"method":"roots/list"}\n') == (True, 5)
    assert envelope.read_answer_id(b'{"jsonrpc":"2.0","method":"notifications/x","params":{"id":1}}\n') == (
        False,
        None,
    )
    assert envelope.read_answer_id(b'{"result":{},"id":5,"jsonrpc":"2.0"}\n') == (False, 5)
    assert envelope.read_answer_id(b'{"jsonrpc":"2.0","id":null,"error":{}}\n') == (False, None)
