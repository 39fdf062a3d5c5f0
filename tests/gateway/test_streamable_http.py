"""Streamable HTTP in both eras: sessions, streams, headers, cancellation, and what is wrong said rightly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.gateway.requests import (
    ACCEPT,
    Modern,
    call,
    events,
    messages,
    modern_headers,
    modern_request,
    open_session,
    request,
)
from tests.hub.running import (
    ENVELOPE,
    INITIALIZE,
    META,
    MODERN,
    Json,
    Refused,
    Served,
    journal,
    until,
    write_settings,
)

Headers = dict[str, str]


def post(served: Served, message: Any, headers: Headers) -> httpx.Response:
    return served.http.post("/mcp", json=message, headers=headers)


def cancellations(served: Served, server: str) -> int:
    return sum(event["event"] == "cancelled" for event in journal(served.home / f"{server}.jsonl"))


# -- the legacy era


def test_a_session_lists_and_calls(served: Served, session: Headers) -> None:
    names = {tool["name"] for tool in post(served, request("tools/list"), session).json()["result"]["tools"]}
    assert {"old.echo", "new.echo", "hub.status"} <= names
    for server in ("old", "new"):
        result = post(served, call(f"{server}.echo", text="größe"), session).json()["result"]
        assert result["structuredContent"] == {"text": "größe"}
        assert "resultType" not in result


def test_the_session_is_what_initialize_gave(served: Served) -> None:
    assert post(served, request("tools/list"), ACCEPT).status_code == 400
    stranger = post(served, request("tools/list"), ACCEPT | {"mcp-session-id": "never given"})
    assert stranger.status_code == 404
    assert stranger.json()["error"]["code"] == -32600


def test_a_session_that_its_client_ended_is_gone(served: Served) -> None:
    session = open_session(served)
    assert served.http.delete("/mcp", headers=session).status_code == 204
    assert post(served, request("ping"), session).status_code == 404
    assert served.http.delete("/mcp", headers=session).status_code == 404


def test_notifications_and_answers_are_accepted_without_a_body(served: Served, session: Headers) -> None:
    for message in (
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/nobody_knows"},
        {"jsonrpc": "2.0", "id": "never asked", "result": {}},
    ):
        response = post(served, message, session)
        assert (response.status_code, response.content) == (202, b"")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b'{"id": 1, "method": "ping"}', -32600),
    ],
)
def test_a_body_that_is_no_message_is_a_bad_request(
    served: Served, session: Headers, content: bytes, code: int
) -> None:
    headers = session | {"content-type": "application/json"}
    response = served.http.post("/mcp", content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code


@pytest.mark.parametrize("request_id", [None, True, 1.5, {}])
def test_a_request_with_a_wrong_id_is_answered_at_once(
    served: Served, session: Headers, request_id: Any
) -> None:
    response = post(served, {"jsonrpc": "2.0", "id": request_id, "method": "ping"}, session)
    assert response.status_code == 400
    (answer,) = messages(response)
    assert answer["error"]["code"] == -32600
    assert answer["id"] is None


def test_what_the_client_must_accept_and_send(served: Served, session: Headers) -> None:
    assert post(served, request("ping"), session | {"accept": "text/html"}).status_code == 406
    headers = session | {"content-type": "text/plain"}
    assert served.http.post("/mcp", content=b"{}", headers=headers).status_code == 415
    assert served.http.get("/mcp", headers=session | {"accept": "application/json"}).status_code == 406


def test_other_methods_are_not_allowed(served: Served, session: Headers) -> None:
    for method in ("PUT", "PATCH"):
        response = served.http.request(method, "/mcp", headers=session)
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, POST, DELETE"


def test_a_revision_nobody_knows_is_refused_with_those_there_are(served: Served, session: Headers) -> None:
    response = post(served, request("ping"), session | {"mcp-protocol-version": "1999-01-01"})
    assert response.status_code == 400
    assert response.json()["error"]["data"]["supported"] == [MODERN]


def test_progress_comes_on_the_calls_own_stream_before_its_answer(served: Served, session: Headers) -> None:
    for server in ("old", "new"):
        message = call(f"{server}.slow", seconds=0.1, steps=5)
        message["params"]["_meta"] = {"progressToken": "mine"}
        response = post(served, message, session)
        assert response.headers["content-type"].startswith("text/event-stream")
        *reports, answer = messages(response)
        assert [report["params"]["progress"] for report in reports] == [1, 2, 3, 4, 5]
        assert {report["params"]["progressToken"] for report in reports} == {"mine"}
        assert answer["result"]["structuredContent"] == {"slept": 0.1}
        assert answer["id"] == message["id"]


def test_changes_come_on_the_sessions_standing_stream(served: Served, session: Headers) -> None:
    with served.http.stream("GET", "/mcp", headers=session) as standing:
        assert standing.status_code == 200
        assert served.http.get("/mcp", headers=session).status_code == 409, "there is one already"
        post(served, call("old.grow", name="grown_by_session"), session)
        notice = next(events(standing.iter_lines()))
        assert notice["method"] == "notifications/tools/list_changed"

    def opens_again() -> bool:
        with served.http.stream("GET", "/mcp", headers=session) as again:
            return again.status_code == 200

    until(opens_again, "the hub's notice that the client left")


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    return thread, results


def test_a_cancelled_call_reaches_the_server_and_its_stream_ends(
    served: Served, session: Headers, modern: Modern
) -> None:
    already = cancellations(served, "old")
    message = call("old.slow", seconds=60)
    waiting, responses = in_background(lambda: messages_or_none(post(served, message, session)))
    until(lambda: modern.server("old")["in_flight"] == 1, "the call")
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": message["id"]}}
    assert post(served, cancel, session).status_code == 202
    until(lambda: cancellations(served, "old") == already + 1, "the cancellation's arrival")
    waiting.join(5)
    assert responses == [None], "nobody is kept waiting for an answer that will not come"


def messages_or_none(response: httpx.Response) -> list[Json] | None:
    return messages(response) or None


def test_a_session_that_ends_ends_its_calls(served: Served, modern: Modern) -> None:
    session = open_session(served)
    waiting, responses = in_background(lambda: post(served, call("old.slow", seconds=60), session))
    until(lambda: modern.server("old")["in_flight"] == 1, "the call")
    assert served.http.delete("/mcp", headers=session).status_code == 204
    waiting.join(5)
    assert len(responses) == 1
    until(lambda: modern.server("old")["in_flight"] == 0, "the call's end")


# -- the modern era


def test_a_modern_request_stands_alone(modern: Modern) -> None:
    discovered = modern.request("server/discover")
    assert discovered["supportedVersions"] == [MODERN]
    assert discovered["_meta"][f"{META}serverInfo"]["name"] == "omni-hub"
    for server in ("old", "new"):
        result = modern.call(f"{server}.echo", text="€")
        assert result["structuredContent"] == {"text": "€"}
        assert result["resultType"] == "complete"


def test_a_modern_stream_has_progress_before_the_answer(modern: Modern) -> None:
    message = modern_request(
        "tools/call",
        {"name": "new.slow", "arguments": {"seconds": 0.1, "steps": 3}, "_meta": {"progressToken": 7}},
    )
    *reports, answer = messages(modern.post(message))
    assert [(report["params"]["progress"], report["params"]["progressToken"]) for report in reports] == [
        (1, 7),
        (2, 7),
        (3, 7),
    ]
    assert answer["id"] == message["id"]


@pytest.mark.parametrize("header", ["mcp-method", "mcp-name"])
def test_headers_that_say_something_else_than_the_body_are_refused(modern: Modern, header: str) -> None:
    message = modern_request("tools/call", {"name": "old.echo", "arguments": {"text": "x"}})
    response = modern.post(message, **{header: "old.fail"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32020
    assert header in response.json()["error"]["message"]
    assert response.json()["id"] == message["id"]


@pytest.mark.parametrize("header", ["mcp-method", "mcp-name"])
def test_headers_that_are_missing_or_doubled_are_refused(served: Served, header: str) -> None:
    message = modern_request("tools/call", {"name": "old.echo", "arguments": {"text": "x"}})
    full = modern_headers(message)
    missing = served.http.post("/mcp", json=message, headers={k: v for k, v in full.items() if k != header})
    doubled = served.http.post("/mcp", json=message, headers=[*full.items(), (header, full[header])])
    for response in (missing, doubled):
        assert (response.status_code, response.json()["error"]["code"]) == (400, -32020)


def test_a_name_beyond_ascii_is_compared_in_its_wrapping(modern: Modern) -> None:
    message = modern_request("tools/call", {"name": "größe", "arguments": {}})
    response = modern.served.http.post(
        "/mcp", json=message, headers=modern_headers(message) | {"mcp-name": "=?base64?Z3LDtsOfZQ==?="}
    )
    assert response.json()["error"]["code"] == -32602, "an unknown tool, and no mismatch"


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        ({}, -32602),
        ({f"{META}protocolVersion": MODERN}, -32602),
        (ENVELOPE | {f"{META}clientCapabilities": "all"}, -32602),
        (ENVELOPE | {f"{META}protocolVersion": 7}, -32602),
        (ENVELOPE | {f"{META}protocolVersion": "2030-01-01"}, -32020),
    ],
)
def test_a_modern_envelope_that_is_wrong_is_a_bad_request(served: Served, meta: Json, code: int) -> None:
    message = request("tools/list", {"_meta": meta})
    response = post(served, message, modern_headers(message))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code


def test_a_method_nobody_knows_is_not_found(modern: Modern) -> None:
    response = modern.post(modern_request("tools/dance"))
    assert (response.status_code, response.json()["error"]["code"]) == (404, -32601)
    with pytest.raises(Refused, match="Method not found: ping"):
        modern.request("ping")


def test_a_servers_own_error_arrives_as_it_was_sent(modern: Modern) -> None:
    response = modern.post(modern_request("tools/call", {"name": "new.error", "arguments": {}}))
    assert response.status_code == 200
    assert response.json()["error"] == {
        "code": -32050,
        "message": "quota used up",
        "data": {"retry_after_s": 7, "deep": [1, {"x": None}]},
        "hint": "unknown",
    }


def test_there_is_no_get_and_no_delete_in_the_modern_era(served: Served) -> None:
    for method in ("GET", "DELETE"):
        response = served.http.request(method, "/mcp", headers=ACCEPT | {"mcp-protocol-version": MODERN})
        assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("server", ["old", "new"])
def test_a_modern_client_cancels_by_leaving(served: Served, modern: Modern, server: str) -> None:
    already = cancellations(served, server)
    message = modern_request("tools/call", {"name": f"{server}.slow", "arguments": {"seconds": 60}})
    with pytest.raises(httpx.ReadTimeout):
        served.http.post("/mcp", json=message, headers=modern_headers(message), timeout=0.5)
    until(lambda: cancellations(served, server) == already + 1, "the cancellation's arrival")
    until(lambda: modern.server(server)["in_flight"] == 0, "the call's end")


def test_a_modern_client_cancels_by_leaving_a_stream(served: Served, modern: Modern) -> None:
    already = cancellations(served, "new")
    message = modern_request(
        "tools/call",
        {"name": "new.slow", "arguments": {"seconds": 60, "steps": 600}, "_meta": {"progressToken": 1}},
    )
    with served.http.stream("POST", "/mcp", json=message, headers=modern_headers(message)) as response:
        assert next(events(response.iter_lines()))["method"] == "notifications/progress"
    until(lambda: cancellations(served, "new") == already + 1, "the cancellation's arrival")


def test_changes_come_to_who_listens_for_them(served: Served, modern: Modern) -> None:
    listen = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    with served.http.stream("POST", "/mcp", json=listen, headers=modern_headers(listen)) as response:
        stream = events(response.iter_lines())
        assert next(stream)["method"] == "notifications/subscriptions/acknowledged"
        modern.call("new.grow", name="grown_for_listener")
        notice = next(stream)
        assert notice["method"] == "notifications/tools/list_changed"
        assert notice["params"]["_meta"][f"{META}subscriptionId"] == listen["id"]
    assert "new.grown_for_listener" in modern.names()


# -- the ends


def test_many_clients_at_once_each_get_their_own_answers(served: Served) -> None:
    def work(number: int) -> list[str]:
        session = open_session(served)
        texts = []
        for n in range(10):
            result = post(served, call("old.echo", text=f"{number} {n}"), session).json()["result"]
            texts.append(result["structuredContent"]["text"])
        return texts

    running = [in_background(lambda n=n: work(n)) for n in range(8)]  # type: ignore[misc]
    for number, (thread, results) in enumerate(running):
        thread.join(60)
        assert results == [[f"{number} {n}" for n in range(10)]]


def test_the_idlest_session_makes_room_for_a_new_one(tmp_path: Any) -> None:
    write_settings(tmp_path, "[http]\nsessions_max = 2\n")
    served = Served(tmp_path)
    try:
        first, second = open_session(served), open_session(served)
        assert post(served, request("ping"), first).status_code == 200
        third = open_session(served)
        assert [post(served, request("ping"), each).status_code for each in (first, second, third)] == [
            200,
            404,
            200,
        ]
        assert served.stop() == 0
    finally:
        served.release()


def test_a_hub_that_stops_ends_open_streams_and_lets_calls_finish(tmp_path: Any) -> None:
    from tests.hub.running import Hubs, stdio, write_servers

    write_servers(tmp_path, {"echo": stdio("echo.py")})
    served = Served(tmp_path)
    try:
        modern, session = Modern(served), open_session(served)
        until(lambda: "echo.slow" in modern.names(), "the tools")
        one, first = in_background(lambda: modern.call("echo.slow", seconds=1.0))
        two, second = in_background(lambda: post(served, call("echo.slow", seconds=1.0), session).json())
        listen = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        with (
            served.http.stream("GET", "/mcp", headers=session) as standing,
            served.http.stream("POST", "/mcp", json=listen, headers=modern_headers(listen)) as listening,
        ):
            until(lambda: modern.server("echo")["in_flight"] == 2, "the calls")
            served.process.terminate()
            assert list(events(standing.iter_lines())) == []
            assert len(list(events(listening.iter_lines()))) <= 2
        one.join(20)
        two.join(20)
        assert first[0]["structuredContent"] == {"slept": 1.0}
        assert second[0]["result"]["structuredContent"] == {"slept": 1.0}
        assert served.process.wait(20) == 0
    finally:
        served.release()
        Hubs(tmp_path).end()


def test_initialize_answers_with_a_session_and_a_known_revision(served: Served) -> None:
    hello = request("initialize", INITIALIZE | {"protocolVersion": "2025-11-25"})
    response = post(served, hello, ACCEPT)
    assert response.json()["result"]["protocolVersion"] == "2025-11-25"
    assert len(response.headers["mcp-session-id"]) >= 32
