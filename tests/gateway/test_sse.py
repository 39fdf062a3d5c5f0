"""HTTP with SSE, for older clients: one stream that carries every answer, POSTs for the rest."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.requests import Modern, call, request
from tests.hub.running import INITIALIZE, Json, Served, journal, until


class Stream:
    """An open stream and the endpoint that it named."""

    def __init__(self, served: Served, lines: Iterator[str]) -> None:
        self.served = served
        self._lines = lines
        self.endpoint = self._event()[1]
        self.request("initialize", INITIALIZE)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _event(self) -> tuple[str, str]:
        type_ = ""
        for line in self._lines:
            if line.startswith("event: "):
                type_ = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return type_, line.removeprefix("data: ")
        raise EOFError

    def send(self, message: Json) -> None:
        assert self.served.http.post(self.endpoint, json=message).status_code == 202

    def receive(self) -> Json:
        type_, data = self._event()
        assert type_ == "message"
        message: Json = json.loads(data)
        return message

    def request(self, method: str, params: Json | None = None) -> Json:
        message = request(method, params)
        self.send(message)
        answer = self.receive()
        assert answer["id"] == message["id"]
        return answer


@contextlib.contextmanager
def connect(served: Served) -> Iterator[Stream]:
    with served.http.stream("GET", "/sse") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(served, response.iter_lines())


def test_a_client_lists_and_calls(served: Served) -> None:
    with connect(served) as stream:
        assert stream.endpoint.startswith("/messages/?session_id=")
        names = {tool["name"] for tool in stream.request("tools/list")["result"]["tools"]}
        assert {"old.echo", "new.echo"} <= names
        for server in ("old", "new"):
            answer = stream.request("tools/call", {"name": f"{server}.echo", "arguments": {"text": "€"}})
            assert answer["result"]["structuredContent"] == {"text": "€"}


def test_progress_and_changes_come_on_the_stream(served: Served) -> None:
    with connect(served) as stream:
        message = call("old.slow", seconds=0.1, steps=3)
        message["params"]["_meta"] = {"progressToken": "t"}
        stream.send(message)
        received = [stream.receive() for _ in range(4)]
        assert [each["params"]["progress"] for each in received[:3]] == [1, 2, 3]
        assert received[3]["id"] == message["id"]
        stream.send(call("old.grow", name="grown_on_sse"))
        assert "notifications/tools/list_changed" in {stream.receive().get("method") for _ in range(2)}


def test_two_clients_have_streams_of_their_own(served: Served) -> None:
    with connect(served) as one, connect(served) as two:
        assert one.endpoint != two.endpoint
        first = call("old.echo", text="one")
        one.send(first)
        assert two.request("tools/call", {"name": "old.echo", "arguments": {"text": "two"}})["result"][
            "structuredContent"
        ] == {"text": "two"}
        assert one.receive()["result"]["structuredContent"] == {"text": "one"}


def test_a_client_that_leaves_has_its_calls_cancelled(served: Served, modern: Modern) -> None:
    def cancelled() -> int:
        return sum(event["event"] == "cancelled" for event in journal(served.home / "old.jsonl"))

    already = cancelled()
    with connect(served) as stream:
        stream.send(call("old.slow", seconds=60))
        until(lambda: modern.server("old")["in_flight"] == 1, "the call")
    until(lambda: cancelled() == already + 1, "the cancellation")


@pytest.mark.parametrize("content", [b"{", b"\xff"])
def test_what_is_not_json_is_a_bad_request(served: Served, content: bytes) -> None:
    with connect(served) as stream:
        assert served.http.post(stream.endpoint, content=content).status_code == 400
        assert stream.request("ping")["result"] == {}


def test_a_stream_nobody_opened_is_not_found(served: Served) -> None:
    for path in ("/messages/", "/messages/?session_id=", "/messages/?session_id=wrong"):
        assert served.http.post(path, json=request("ping")).status_code == 404


def test_wrong_methods_are_refused(served: Served) -> None:
    answers: list[Any] = [served.http.post("/sse"), served.http.get("/messages/?session_id=x")]
    assert [answer.status_code for answer in answers] == [405, 405]


def test_a_body_over_the_bound_is_refused_and_the_stream_goes_on(served: Served) -> None:
    with connect(served) as stream:
        message = call("old.echo", text="x" * 100_000)
        assert served.http.post(stream.endpoint, json=message).status_code == 413
        assert stream.request("ping")["result"] == {}
