"""What is no message, or a wrong one, is answered as such; the connection and its other calls go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hub.running import INITIALIZE, Client, Hubs, Json, Refused, journal, stdio, until, write_servers

PARSE_ERROR, INVALID_REQUEST = -32700, -32600


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = tmp_path_factory.mktemp("home")
    hubs = Hubs(home)
    write_servers(home, {"echo": stdio("echo.py")})
    try:
        client = hubs.embed()
        client.open()
        client.wait_for_tool("echo.echo")
        yield client
    finally:
        hubs.end()


def error_after(client: Client, content: bytes) -> Json:
    """What the hub says to these bytes; afterwards it answers as ever."""
    began = len(client.log)
    client.write(content)
    message: Json = client.wait_for(lambda message: "error" in message, "error", since=began)
    assert client.text("echo.echo", text="still here") == "still here"
    return message


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1",
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/li',
        b'ping"}',
        b"\xff\xfe\x00",
        b"{'jsonrpc': '2.0'}",
        b"[" * 100_000,
        b'{"jsonrpc":"2.0","id":"deep","method":"tools/call","params":' + b'{"a":' * 100_000,
    ],
    ids=["text", "half a line", "the other half", "not UTF-8", "Python", "deep", "deep objects"],
)
def test_a_line_that_is_not_json_is_a_parse_error(client: Client, line: bytes) -> None:
    message = error_after(client, line + b"\n")
    assert message["id"] is None
    assert message["error"]["code"] == PARSE_ERROR


@pytest.mark.parametrize(
    "line", [b"[]", b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', b"42", b'"text"', b"null"]
)
def test_what_is_no_object_is_an_invalid_request(client: Client, line: bytes) -> None:
    message = error_after(client, line + b"\n")
    assert message["id"] is None
    assert message["error"]["code"] == INVALID_REQUEST


@pytest.mark.parametrize("request_id", [None, True, 1.5, {}, [1]])
def test_an_id_that_is_none_is_an_invalid_request(client: Client, request_id: Any) -> None:
    message = {"jsonrpc": "2.0", "id": request_id, "method": "ping"}
    answer = error_after(client, json.dumps(message).encode() + b"\n")
    assert answer["id"] is None
    assert answer["error"]["code"] == INVALID_REQUEST


@pytest.mark.parametrize(
    ("request_id", "member"),
    [
        ("m", {"method": 7}),
        ("p", {"method": "ping", "params": [1]}),
        ("q", {"method": "ping", "params": "x"}),
    ],
)
def test_a_wrong_member_is_named_under_the_requests_id(client: Client, request_id: str, member: Json) -> None:
    answer = error_after(client, json.dumps({"jsonrpc": "2.0", "id": request_id, **member}).encode() + b"\n")
    assert answer["id"] == request_id
    assert answer["error"]["code"] == INVALID_REQUEST
    assert next(iter(member)) in answer["error"]["message"] or "params" in answer["error"]["message"]


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "id": 99_999, "result": {}},
        {"jsonrpc": "2.0", "id": {}, "result": {}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "what?"}},
        {"jsonrpc": "2.0", "method": "notifications/nobody_knows", "params": {"a": 1}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "never sent"}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": {}}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": [1]},
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": {}}},
    ],
)
def test_a_message_that_wants_no_answer_gets_none(client: Client, message: Json) -> None:
    began = len(client.log)
    client.write(json.dumps(message).encode() + b"\n")
    client.call("echo.echo", text="after it")
    assert [each for each in client.log[began:] if "error" in each] == []


def test_a_message_may_come_in_any_pieces(client: Client) -> None:
    line = json.dumps(
        client.message("tools/call", {"name": "echo.echo", "arguments": {"text": "größe €"}}),
        ensure_ascii=False,
    )
    for byte in line.encode() + b"\r\n\n  \n":
        client.write(bytes([byte]))
    assert client.result(client.message("ping")["id"] - 1)["structuredContent"] == {"text": "größe €"}


def test_many_messages_may_come_in_one_piece(client: Client) -> None:
    messages = [
        client.message("tools/call", {"name": "echo.echo", "arguments": {"text": str(n)}}) for n in range(200)
    ]
    client.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
    for n, message in enumerate(messages):
        assert client.result(message["id"])["structuredContent"] == {"text": str(n)}


def test_a_line_of_64_mb_is_dropped_with_its_limit_named(client: Client) -> None:
    call = client.message("tools/call", {"name": "echo.echo", "arguments": {"text": "x" * 64_000_000}})
    answer = error_after(client, json.dumps(call).encode() + b"\n")
    assert answer["id"] == call["id"], "whoever sent it must not wait for its answer"
    assert answer["error"]["code"] == INVALID_REQUEST
    assert "33,554,432 bytes" in answer["error"]["message"]


def test_a_line_that_is_too_long_and_no_message_is_a_parse_error(client: Client) -> None:
    answer = error_after(client, b"x" * 34_000_000 + b"\n")
    assert answer["id"] is None
    assert answer["error"]["code"] == PARSE_ERROR


def test_what_is_nested_a_few_hundred_deep_passes(client: Client) -> None:
    deep: Any = "bottom"
    for _ in range(400):
        deep = {"a": [deep]}
    result = client.call("echo.params", deep=deep)
    assert result["structuredContent"]["params"]["arguments"] == {"deep": deep}


@pytest.mark.parametrize("depth", [450, 480, 490, 500, 900, 2000])
def test_what_is_nested_very_deep_passes_or_is_refused(client: Client, depth: int) -> None:
    deep = '{"a":[' * depth + "1" + "]}" * depth
    params = '{"name":"echo.params","arguments":{"deep":' + deep + "}}"
    began = len(client.log)
    client.write(f'{{"jsonrpc":"2.0","id":"d{depth}","method":"tools/call","params":{params}}}\n'.encode())
    answer = client.wait_for(lambda message: "id" in message, "answer", since=began)
    assert "result" in answer or answer["error"]["code"] in (PARSE_ERROR, -32603)
    assert client.text("echo.echo", text="still here") == "still here"


def test_an_id_that_is_still_in_use_is_refused(client: Client) -> None:
    slow = client.message("tools/call", {"name": "echo.slow", "arguments": {"seconds": 60}})
    twin = client.message("tools/call", {"name": "echo.echo", "arguments": {"text": "x"}}) | {
        "id": slow["id"]
    }
    client.write(json.dumps(slow).encode() + b"\n" + json.dumps(twin).encode() + b"\n")
    assert "still running" in client.answer(slow["id"])["error"]["message"]
    client.cancel(slow["id"])


def test_more_calls_than_a_server_may_have_are_refused_and_the_others_answered(client: Client) -> None:
    calls = [
        client.send("tools/call", {"name": "echo.slow", "arguments": {"seconds": 1.0, "steps": 1}})
        for _ in range(300)
    ]
    answers = [client.answer(request_id) for request_id in calls]
    busy = [answer["error"] for answer in answers if "error" in answer]
    assert len(busy) == 300 - 256
    assert {error["code"] for error in busy} == {-32029}
    assert "256 calls are in flight" in busy[0]["message"]


def test_nothing_is_answered_before_the_handshake_but_pings(hubs: Hubs) -> None:
    client = hubs.embed()
    assert client.request("ping") == {}
    for method in ("tools/list", "tools/call"):
        with pytest.raises(Refused, match="send initialize before"):
            client.request(method)
    with pytest.raises(Refused, match="protocolVersion"):
        client.request("initialize", {"capabilities": {}})
    with pytest.raises(Refused, match="_meta"):
        client.request("server/discover")
    assert client.open()["protocolVersion"] == "2025-06-18"
    assert client.close() == 0


@pytest.mark.parametrize(
    ("asked", "given"),
    [("2024-11-05", "2024-11-05"), ("2025-11-25", "2025-11-25"), ("1999-01-01", "2025-11-25")],
)
def test_initialize_settles_on_a_revision_both_know(client: Client, asked: str, given: str) -> None:
    assert client.request("initialize", INITIALIZE | {"protocolVersion": asked})["protocolVersion"] == given


def test_a_client_that_closes_its_end_still_gets_what_it_asked_for(hubs: Hubs) -> None:
    write_servers(hubs.home, {"echo": stdio("echo.py", "--journal", hubs.home / "echo.jsonl")})
    client = hubs.embed()
    client.open()
    client.wait_for_tool("echo.slow")
    request_id = client.send("tools/call", {"name": "echo.slow", "arguments": {"seconds": 0.5}})
    client.write(b'{"jsonrpc": "2.0", "id": 77, "method": "ping"')
    assert client.close() == 0
    assert client.result(request_id)["structuredContent"] == {"slept": 0.5}
    assert not any(message.get("id") == 77 for message in client.log)
    until(lambda: journal(hubs.home / "echo.jsonl")[-1]["event"] == "ended", "the server's orderly end")
