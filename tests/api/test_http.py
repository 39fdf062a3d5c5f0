"""What HTTP promises: the same key the same answer, problem details, and an end in order."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Scripted, serve
from tests.hub.running import DEADLINE_S, Hubs, Json, Served, until


def post(served: Served, body: Json, key: str | None = None) -> httpx.Response:
    headers = {"idempotency-key": key} if key is not None else {}
    return served.http.post("/message", json=body, headers=headers)


# -- idempotency


def test_the_same_key_gets_the_same_answer_and_runs_nothing_twice(served: Served, scripted: Scripted) -> None:
    body = {"message": "only once", "session_id": "key"}
    first, second = post(served, body, "k-1"), post(served, body, "k-1")
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert scripted.count("only once") == 1


def test_two_at_once_with_one_key_share_the_answer(served: Served, scripted: Scripted) -> None:
    body = {"message": "slow and shared", "session_id": "key"}
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: post(served, body, "k-2").json(), range(2)))
    assert answers[0] == answers[1]
    assert scripted.count("slow and shared") == 1


def test_a_client_that_lost_its_connection_asks_again_for_the_answer(
    served: Served, scripted: Scripted
) -> None:
    body = {"message": "slow but kept", "session_id": "key"}
    headers = {"idempotency-key": "k-3"}
    with pytest.raises(httpx.ReadTimeout):
        served.http.post("/message", json=body, headers=headers, timeout=0.3)
    assert post(served, body, "k-3").json()["output"] == "slowly " * 20
    assert scripted.count("slow but kept") == 1


def test_a_key_with_another_body_is_refused(served: Served) -> None:
    assert post(served, {"message": "one"}, "k-4").status_code == 200
    refused = post(served, {"message": "two"}, "k-4")
    assert (refused.status_code, refused.json()["error"]) == (422, "KeyReused")


def test_a_key_keeps_a_run_that_nobody_waits_for(served: Served) -> None:
    body = {"message": "in the background", "session_id": "key", "wait": False}
    first, second = post(served, body, "k-5"), post(served, body, "k-5")
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert first.headers["location"] == second.headers["location"]


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_what_is_no_key_is_refused(served: Served, key: str) -> None:
    assert post(served, {"message": "one"}, key).status_code == 400


# -- problems


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("POST", "/message", {"json": {}}, 400),
        ("POST", "/message", {"json": {"message": "  "}}, 400),
        ("POST", "/message", {"json": {"message": 5}}, 400),
        ("POST", "/message", {"json": {"message": "hi", "mesage": 1}}, 400),
        ("POST", "/message", {"json": {"message": "hi", "session_id": "a\nb"}}, 400),
        ("POST", "/message", {"json": {"message": "hi", "limits": {"rounds_max": 0}}}, 400),
        ("POST", "/message", {"json": {"message": "hi", "output_schema": {"type": "nonsense"}}}, 400),
        ("POST", "/message", {"content": b'{"message": "\\ud800"}'}, 400),
        ("POST", "/message", {"content": b"{"}, 400),
        ("POST", "/message", {"content": b"\xff"}, 400),
        ("POST", "/message", {"content": b"[" * 90_000}, 400),
        ("POST", "/message", {"json": {"message": "x" * 100_001}}, 413),
        ("POST", "/message", {"data": {"message": "hi"}}, 415),
        ("POST", "/message", {"json": {"message": "fail"}}, 502),
        ("GET", "/message", {}, 405),
        ("PUT", "/runs/run_x", {}, 405),
        ("GET", "/nowhere", {}, 404),
    ],
)
def test_what_cannot_be_answered_is_a_problem(
    served: Served, method: str, path: str, sent: Any, status: int
) -> None:
    answer = served.http.request(method, path, **sent)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["title"]


def test_what_may_be_done_instead_is_named(served: Served) -> None:
    answer = served.http.put("/runs/run_x")
    assert set(answer.headers["allow"].split(", ")) >= {"GET", "DELETE"}


@pytest.mark.parametrize("path", ["/message", "/v1/chat/completions", "/runs", "/openapi.json"])
def test_without_the_key_nothing_is_answered(served: Served, path: str) -> None:
    answer = httpx.get(f"{served.url}{path}", trust_env=False)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_a_turn_that_takes_too_long_is_a_gateway_timeout(served: Served) -> None:
    body = {"message": "hang past the deadline", "session_id": "late", "limits": {"deadline_s": 0.5}}
    answer = post(served, body)
    assert (answer.status_code, answer.json()["error"]) == (504, "ModelTimeout")


def test_more_turns_than_may_run_at_once_are_told_to_come_again(served: Served) -> None:
    begun = []
    try:
        for n in range(6):
            answer = post(served, {"message": "hang, one of many", "session_id": f"many-{n}", "wait": False})
            assert answer.status_code == 202, answer.text
            begun.append(answer.json()["run_id"])
        refused = post(served, {"message": "one more", "session_id": "many"}, "k-busy")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        chat = {"messages": [{"role": "user", "content": "one more"}]}
        assert (
            served.http.post("/v1/chat/completions", json=chat).json()["error"]["type"] == "rate_limit_error"
        )
    finally:
        for run_id in begun:
            served.http.delete(f"/runs/{run_id}")
    until(lambda: not served.http.get("/runs").json()["runs"], "the end of the turns")
    # An answer that says "again later" is not kept under its key.
    assert post(served, {"message": "one more", "session_id": "many"}, "k-busy").status_code == 200


# -- the end


def test_a_hub_that_ends_finishes_what_runs_and_begins_nothing(tmp_path: Path, scripted: Scripted) -> None:
    hub = serve(tmp_path, scripted, "--no-auth")
    try:
        assert post(hub, {"message": "hello"}).status_code == 200
        pool = ThreadPoolExecutor(3)
        slow = pool.submit(post, hub, {"message": "slow to the end", "session_id": "a"})
        cut_off = pool.submit(post, hub, {"message": "hang to the end", "session_id": "b"})
        kept = pool.submit(post, hub, {"message": "hang to the end", "session_id": "c"}, "k-end")
        hanging = post(hub, {"message": "hang to the end", "session_id": "d", "wait": False}).json()
        until(
            lambda: scripted.count("slow to the end") and scripted.count("hang to the end") == 3, "the turns"
        )
        with hub.http.stream("GET", hanging["events"]) as events:
            lines = events.iter_lines()
            next(lines)
            hub.process.send_signal(signal.SIGTERM)
            refused = until(lambda: _refused(hub), "the refusal of what is new")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert any("run.failed" in line for line in lines)
        assert slow.result(DEADLINE_S).json()["output"] == "slowly " * 20
        for waiting in (cut_off, kept):
            assert waiting.result(DEADLINE_S).status_code == 503
            assert "http.drain_s" in waiting.result().json()["detail"]
        assert hub.process.wait(DEADLINE_S) == 0
    finally:
        hub.release()
        Hubs(tmp_path).end()


def _refused(hub: Served) -> httpx.Response | None:
    answer = post(hub, {"message": "   "})
    return answer if answer.status_code == 503 else None
