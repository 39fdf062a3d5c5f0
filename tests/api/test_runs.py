"""Turns over HTTP: waited for, followed, followed again, stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import Scripted
from tests.hub.running import Json, Served, until


def begin(served: Served, message: str, **more: Any) -> str:
    """Begin a turn without waiting for it; returns the run's id."""
    answer = served.http.post("/message", json={"message": message, "wait": False, **more})
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    assert answer.headers["location"] == f"/runs/{run_id}"
    return run_id


def frames(response: httpx.Response) -> Iterator[tuple[str, str, Json]]:
    """The id, type and data of each event of a stream."""
    seen: dict[str, str] = {}
    for line in response.iter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            seen[name] = value
        elif seen:
            yield seen["id"], seen["event"], json.loads(seen["data"])
            seen = {}


def follow(served: Served, run_id: str, **headers: str) -> list[tuple[str, str, Json]]:
    """Every event of a run until it ends."""
    with served.http.stream("GET", f"/runs/{run_id}/events", headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(frames(response))


def shown(served: Served, run_id: str) -> Json:
    answer: Json = served.http.get(f"/runs/{run_id}").json()
    return answer


def ended(served: Served, run_id: str) -> Json:
    """How a run ended, waiting for it."""
    until(lambda: shown(served, run_id)["status"] != "running", f"the end of {run_id}")
    return shown(served, run_id)


def test_a_message_is_answered_with_output_and_session(served: Served) -> None:
    answer = served.http.post("/message", json={"message": "hello there", "session_id": "plain"})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["output"], said["session_id"]) == ("You said: hello there", "plain")
    assert shown(served, said["run_id"])["output"] == "You said: hello there"


def test_a_turn_that_nobody_waits_for_is_followed_by_its_events(served: Served) -> None:
    run_id = begin(served, "echo this", session_id="followed")
    events = follow(served, run_id)
    kinds = [kind for _, kind, _ in events]
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.finished"
    assert {"tool.started", "tool.finished", "model.delta", "reply"} <= set(kinds)
    assert [int(seq) for seq, _, _ in events] == list(range(1, len(events) + 1))
    assert all((int(seq), kind) == (data["seq"], data["type"]) for seq, kind, data in events)
    assert events[-1][2]["result"]["output"] == "The tool said it."
    run = shown(served, run_id)
    assert (run["status"], run["tool_calls"][0]["name"]) == ("completed", "old.echo")


def test_events_come_while_the_turn_is_running(served: Served) -> None:
    run_id = begin(served, "slow, please", session_id="live")
    with served.http.stream("GET", f"/runs/{run_id}/events") as response:
        for _, kind, _ in frames(response):
            if kind == "model.delta":
                assert shown(served, run_id)["status"] == "running"
                break
    assert ended(served, run_id)["status"] == "completed"


@pytest.mark.parametrize("by", ["header", "query"])
def test_a_listener_goes_on_after_the_last_event_it_saw(served: Served, by: str) -> None:
    run_id = begin(served, "echo again", session_id=f"resumed-{by}")
    whole = follow(served, run_id)
    after = whole[2][0]
    path = f"/runs/{run_id}/events"
    headers, params = ({"last-event-id": after}, {}) if by == "header" else ({}, {"after": after})
    with served.http.stream("GET", path, headers=headers, params=params) as response:
        assert list(frames(response)) == whole[3:]


def test_a_listener_that_has_seen_all_is_told_not_to_come_back(served: Served) -> None:
    run_id = begin(served, "hello", session_id="seen")
    last = follow(served, run_id)[-1][0]
    answer = served.http.get(f"/runs/{run_id}/events", headers={"last-event-id": last})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("after", ["-1", "x", "", "1.5", "９", "1" * 30])
def test_what_is_no_sequence_number_is_refused(served: Served, after: str) -> None:
    run_id = served.http.post("/message", json={"message": "hello", "session_id": "numbers"}).json()["run_id"]
    answer = served.http.get(f"/runs/{run_id}/events", params={"after": after})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_turn_of_another_face_is_followed_too(served: Served) -> None:
    message: Json = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    }
    accept = {"accept": "application/json, text/event-stream"}
    hello = served.http.post("/mcp", json=message, headers=accept)
    headers = accept | {"mcp-session-id": hello.headers["mcp-session-id"]}
    call = {"name": "agent.run_turn", "arguments": {"message": "by MCP", "session_id": "mcp"}}
    message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
    answer = served.http.post("/mcp", json=message, headers=headers)
    run_id = answer.json()["result"]["structuredContent"]["run_id"]
    assert follow(served, run_id)[-1][2]["result"]["output"] == "You said: by MCP"


def test_a_run_that_is_cancelled_stops_its_model_and_says_so(served: Served, scripted: Scripted) -> None:
    run_id = begin(served, "hang until cancelled", session_id="stopped")
    until(lambda: scripted.count("hang until cancelled"), "the request to the model")
    abandoned = scripted.model.abandoned
    assert {"run_id": run_id, "session_id": "stopped", "status": "running"} in served.http.get(
        "/runs"
    ).json()["runs"]
    answer = served.http.delete(f"/runs/{run_id}")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    until(lambda: scripted.model.abandoned > abandoned, "the end of the model's request")
    assert ended(served, run_id)["status"] == "cancelled"
    assert follow(served, run_id)[-1][1] == "run.failed"
    assert served.http.delete(f"/runs/{run_id}").status_code == 409


def test_whoever_waits_for_a_cancelled_run_is_told(served: Served, scripted: Scripted) -> None:
    first = begin(served, "hang for the lane", session_id="lane")
    until(lambda: scripted.count("hang for the lane"), "the request to the model")
    waiting = begin(served, "hello after it", session_id="lane")
    refused = served.http.post("/message", json={"message": "too many", "session_id": "lane", "wait": False})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert served.http.delete(f"/runs/{waiting}").status_code == 202
    assert [kind for _, kind, _ in follow(served, waiting)] == ["run.failed"]
    assert shown(served, waiting)["status"] == "cancelled"
    assert served.http.delete(f"/runs/{first}").status_code == 202
    assert ended(served, first)["status"] == "cancelled"


def test_a_client_that_leaves_stops_the_turn_it_waited_for(served: Served, scripted: Scripted) -> None:
    with pytest.raises(httpx.ReadTimeout):
        served.http.post("/message", json={"message": "hang, I leave", "session_id": "left"}, timeout=1.0)
    assert scripted.count("hang, I leave") == 1
    until(
        lambda: all(run["session_id"] != "left" for run in served.http.get("/runs").json()["runs"]),
        "the end of the turn",
    )


def test_a_message_reaches_a_run_in_the_middle(served: Served, scripted: Scripted) -> None:
    run_id = begin(served, "hang for more", session_id="more")
    until(lambda: scripted.count("hang for more"), "the request to the model")
    answer = served.http.post(f"/runs/{run_id}/message", json={"message": "and this"})
    assert answer.status_code == 202
    served.http.delete(f"/runs/{run_id}")
    ended(served, run_id)
    assert served.http.post(f"/runs/{run_id}/message", json={"message": "late"}).status_code == 409


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/runs/run_x"), ("DELETE", "/runs/run_x"), ("GET", "/runs/run_x/events")],
)
def test_an_unknown_run_is_not_found(served: Served, method: str, path: str) -> None:
    answer = served.http.request(method, path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["error"] == "UnknownName"
