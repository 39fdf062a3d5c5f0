"""What goes through the hub arrives as it was sent, in both protocol eras on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub.running import ENVELOPE, META, MODERN, Client, Hubs, Json, Refused, journal, stdio, until
from tests.hub.running import write_servers as configure

OLD, NEW = "old", "new"


class Scene:
    """One embedded hub with a legacy and a modern server behind it, and its client."""

    def __init__(self, home: Path, era: str) -> None:
        self.home = home
        self.hubs = Hubs(home)
        configure(
            home,
            {
                OLD: stdio("echo.py", "--journal", home / "old.jsonl", "--page", 5),
                NEW: stdio("modern.py", "--journal", home / "new.jsonl"),
            },
        )
        self.client = self.hubs.embed(era=era, capabilities={"elicitation": {}})

    def open(self) -> None:
        self.client.open()
        for server in (OLD, NEW):
            self.client.wait_for_tool(f"{server}.echo")

    def received(self, server: str, method: str) -> list[Json]:
        return [event for event in journal(self.home / f"{server}.jsonl") if event.get("method") == method]

    def cancellations(self, server: str) -> int:
        return sum(event["event"] == "cancelled" for event in journal(self.home / f"{server}.jsonl"))


@pytest.fixture(scope="module", params=["legacy", "modern"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("home"), request.param)
    try:
        scene.open()
        yield scene
    finally:
        scene.hubs.end()


@pytest.fixture
def client(scene: Scene) -> Client:
    return scene.client


servers = pytest.mark.parametrize("server", [OLD, NEW])


@servers
def test_a_call_returns_text_and_structured_content(client: Client, server: str) -> None:
    result = client.call(f"{server}.echo", text="größe \U0001f600")
    assert result["content"] == [{"type": "text", "text": "größe \U0001f600"}]
    assert result["structuredContent"] == {"text": "größe \U0001f600"}


@servers
def test_each_result_wears_the_envelope_of_its_client_and_no_other(client: Client, server: str) -> None:
    result = client.call(f"{server}.echo", text="x")
    if client.era == "modern":
        assert result["resultType"] == "complete"
        assert result["_meta"][f"{META}serverInfo"]["name"] == "omni-hub"
    else:
        assert set(result) == {"content", "structuredContent"}


@servers
def test_what_nobody_knows_yet_passes_unchanged(client: Client, server: str) -> None:
    result = client.call(f"{server}.unknown_content")
    assert result["content"] == [
        {"type": "hologram", "voxels": [1, 2, 3], "nested": {"unknown": True}},
        {"type": "text", "text": "known", "colour": "green", "annotations": {"unknown": 1}},
    ]
    assert result["structuredContent"] == {
        "big": 2**80,
        "negative": -(2**70),
        "float": 1e300,
        "empty": None,
        "ü": "\u2028",
    }
    assert result["unknownField"] == {"kept": ["as", "it", "is"]}
    assert result["_meta"]["example.com/trace"] == "abc"


@servers
def test_arguments_and_meta_arrive_unchanged(client: Client, server: str) -> None:
    arguments: Json = {
        "big": 2**90,
        "small": -(2**70),
        "float": 0.1,
        "null": None,
        "list": [[], {}, [None, True]],
        "lone surrogate": "\ud800",
        "name": "not the tool's",
        "_meta": {"also": "an argument"},
    }
    params = {
        "name": f"{server}.params",
        "arguments": arguments,
        "_meta": {"example.com/trace": {"id": 2**70}},
        "unknownParam": [1, 2, 3],
    }
    received = client.request("tools/call", params)["structuredContent"]["params"]
    assert received["name"] == "params"
    assert received["arguments"] == arguments
    assert received["unknownParam"] == [1, 2, 3]
    assert received["_meta"]["example.com/trace"] == {"id": 2**70}


def test_what_belongs_to_one_connection_does_not_reach_another(client: Client) -> None:
    old = client.request("tools/call", {"name": "old.params", "arguments": {}})["structuredContent"]
    assert not any(key.startswith(META) for key in old["params"].get("_meta", {}))
    new = client.request("tools/call", {"name": "new.params", "arguments": {}})["structuredContent"]
    meta = new["params"]["_meta"]
    assert meta[f"{META}protocolVersion"] == MODERN
    assert meta[f"{META}clientInfo"]["name"] == "omni-hub"
    assert meta[f"{META}clientCapabilities"] == {"elicitation": {}}, "the caller's own, and no others"


@servers
def test_a_tool_that_failed_is_a_result(client: Client, server: str) -> None:
    result = client.call(f"{server}.fail", message="no such file")
    assert result["isError"] is True
    assert result["content"][0]["text"] == "no such file"


@servers
def test_an_error_keeps_its_code_its_data_and_what_nobody_knows(client: Client, server: str) -> None:
    with pytest.raises(Refused) as refused:
        client.call(f"{server}.error")
    assert refused.value.error == {
        "code": -32050,
        "message": "quota used up",
        "data": {"retry_after_s": 7, "deep": [1, {"x": None}]},
        "hint": "unknown",
    }


@servers
def test_arguments_that_do_not_fit_are_for_the_server_to_judge(client: Client, server: str) -> None:
    result = client.call(f"{server}.add", a=1)
    assert result["isError"] is True
    assert result["content"][0]["text"] == "missing arguments: b"


def test_arguments_that_do_not_fit_the_hubs_own_tools_are_explained_to_the_model(client: Client) -> None:
    result = client.call("tools.search", query="", limit=0, colour="green")
    assert result["isError"] is True
    text = result["content"][0]["text"]
    assert all(f"- {name}:" in text for name in ("query", "limit", "colour")), text


def test_an_unknown_tool_is_refused_with_a_hint(client: Client) -> None:
    with pytest.raises(Refused, match=r"Unknown tool: old\.ecko; did you mean old\.echo") as refused:
        client.call("old.ecko")
    assert refused.value.error["code"] == -32602


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": 7},
        {"name": None},
        {"name": ["old.echo"]},
        {"name": "old.echo", "arguments": "text"},
        {"name": "old.echo", "arguments": [1]},
    ],
)
def test_a_call_without_a_name_or_an_object_of_arguments_is_refused(client: Client, params: Json) -> None:
    with pytest.raises(Refused) as refused:
        client.request("tools/call", params)
    assert refused.value.error["code"] == -32602


def test_an_unknown_method_is_refused(client: Client) -> None:
    with pytest.raises(Refused, match="Method not found: tools/dance") as refused:
        client.request("tools/dance")
    assert refused.value.error["code"] == -32601


@servers
def test_progress_comes_in_order_under_the_clients_token_and_before_the_result(
    client: Client, server: str
) -> None:
    began = len(client.log)
    params = {
        "name": f"{server}.slow",
        "arguments": {"seconds": 0.1, "steps": 20},
        "_meta": {"progressToken": f"my token {server}"},
    }
    answer_to = client.send("tools/call", params)
    assert client.result(answer_to)["structuredContent"] == {"slept": 0.1}
    since = client.log[began:]
    reports = [message for message in since if message.get("method") == "notifications/progress"]
    assert [report["params"]["progress"] for report in reports] == list(range(1, 21))
    assert {report["params"]["progressToken"] for report in reports} == {f"my token {server}"}
    assert reports[3]["params"]["message"] == "step 4"
    assert reports[3]["params"]["total"] == 20
    assert since.index(reports[-1]) < next(
        i for i, message in enumerate(since) if message.get("id") == answer_to
    )


@servers
def test_no_progress_is_sent_to_who_did_not_ask_for_it(client: Client, server: str) -> None:
    began = len(client.log)
    client.call(f"{server}.slow", seconds=0.02, steps=3)
    assert client.notified("notifications/progress", since=began) == []


@servers
def test_a_cancelled_call_is_cancelled_at_the_server_and_never_answered(
    scene: Scene, client: Client, server: str
) -> None:
    already, received = scene.cancellations(server), len(scene.received(server, "tools/call"))
    request_id = client.send("tools/call", {"name": f"{server}.slow", "arguments": {"seconds": 60}})
    until(lambda: len(scene.received(server, "tools/call")) > received, "the call's arrival")
    client.cancel(request_id)
    until(lambda: scene.cancellations(server) == already + 1, "the cancellation's arrival")
    until(lambda: client.server(server)["in_flight"] == 0, "the end of the call in the hub")
    assert not any(message.get("id") == request_id for message in client.log)


def test_a_call_that_is_cancelled_in_the_same_breath_leaves_nothing_behind(client: Client) -> None:
    call = client.message("tools/call", {"name": "old.slow", "arguments": {"seconds": 60}})
    cancelled = {"requestId": call["id"], "reason": "changed my mind"}
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled}
    client.write(b"".join(json.dumps(message).encode() + b"\n" for message in (call, notice)))
    client.call("old.echo", text="in between")
    again = client.message("tools/call", {"name": "old.echo", "arguments": {"text": "x"}}) | {
        "id": call["id"]
    }
    client.write(json.dumps(again).encode() + b"\n")
    assert client.result(call["id"])["structuredContent"] == {"text": "x"}, "the id is free again"


def test_calls_overtake_each_other_and_each_gets_its_own_answer(client: Client) -> None:
    slow = [
        client.send("tools/call", {"name": f"{server}.slow", "arguments": {"seconds": 0.5}})
        for server in (OLD, NEW)
    ]
    quick = {
        client.send(
            "tools/call", {"name": f"{server}.echo", "arguments": {"text": f"{server} {n}"}}
        ): f"{server} {n}"
        for n in range(50)
        for server in (OLD, NEW)
    }
    for request_id, text in quick.items():
        assert client.result(request_id)["structuredContent"] == {"text": text}
    for request_id in slow:
        assert client.result(request_id)["structuredContent"] == {"slept": 0.5}
    order = [message.get("id") for message in client.log]
    assert max(map(order.index, quick)) < min(map(order.index, slow))


def test_ids_come_back_as_they_were_sent(client: Client) -> None:
    for request_id in ("a string", "7", 10**15, -3, 0, "ü"):
        message = client.message("tools/call", {"name": "old.echo", "arguments": {"text": "x"}})
        message["id"] = request_id
        client.write(json.dumps(message).encode() + b"\n")
        answer = client.answer(request_id)
        assert answer["id"] == request_id
        assert type(answer["id"]) is type(request_id)


def test_ten_megabytes_pass_both_ways(client: Client) -> None:
    text = "0123456789" * 1_000_000
    assert client.call("old.echo", text=text)["structuredContent"]["text"] == text
    assert len(client.text("new.big", bytes=10_000_000)) == 10_000_000


def test_all_pages_of_a_list_are_listed_once(client: Client) -> None:
    names = [tool["name"] for tool in client.request("tools/list")["tools"]]
    assert len(names) == len(set(names))
    assert {f"old.{name}" for name in ("echo", "add", "slow", "ask", "log", "params")} <= set(names)


def test_a_definition_passes_but_for_its_name(client: Client) -> None:
    tool = client.tools()["old.echo"]
    assert tool["annotations"] == {"readOnlyHint": True, "openWorldHint": False}
    assert tool["inputSchema"]["additionalProperties"] is False
    assert tool["outputSchema"]["required"] == ["text"]


def test_lists_carry_cache_hints_for_modern_clients_alone(client: Client) -> None:
    hints = {"ttlMs", "cacheScope"} & set(client.request("tools/list"))
    assert hints == ({"ttlMs", "cacheScope"} if client.era == "modern" else set())


@servers
def test_a_grown_list_is_announced_and_listed(client: Client, server: str) -> None:
    began = len(client.log)
    if client.era == "modern":
        listening = client.send("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        client.wait_for(
            lambda message: message.get("method") == "notifications/subscriptions/acknowledged",
            "acknowledgement",
            since=began,
        )
    client.call(f"{server}.grow", name="grown")
    notice = client.wait_for(
        lambda message: message.get("method") == "notifications/tools/list_changed", "notice", since=began
    )
    assert f"{server}.grown" in client.tools()
    assert client.text(f"{server}.grown", text="new") == "new"
    if client.era == "modern":
        assert notice["params"]["_meta"][f"{META}subscriptionId"] == listening
        client.cancel(listening)


def test_what_a_modern_listener_did_not_ask_for_is_not_sent(scene: Scene) -> None:
    if scene.client.era != "modern":
        pytest.skip("only the modern era subscribes")
    began = len(scene.client.log)
    listening = scene.client.send("subscriptions/listen", {"notifications": {"promptsListChanged": True}})
    scene.client.wait_for(
        lambda message: message.get("method") == "notifications/subscriptions/acknowledged",
        "ack",
        since=began,
    )
    scene.client.call("old.grow", name="unheard")
    scene.client.wait_for_tool("old.unheard")
    assert scene.client.notified("notifications/tools/list_changed", since=began) == []
    scene.client.cancel(listening)


def test_an_envelope_of_another_revision_is_refused_with_those_there_are(client: Client) -> None:
    params = {"_meta": ENVELOPE | {f"{META}protocolVersion": "2030-01-01"}}
    with pytest.raises(Refused) as refused:
        client.request("tools/list", params)
    assert refused.value.error["code"] == -32022
    assert refused.value.error["data"] == {"supported": [MODERN], "requested": "2030-01-01"}


def test_a_client_may_turn_modern_or_legacy_at_any_time(client: Client) -> None:
    """Claude Code sends `initialize` after `server/discover` when the answer takes long."""
    assert client.request("tools/call", {"name": "old.echo", "arguments": {"text": "a"}, "_meta": ENVELOPE})[
        "resultType"
    ]
    params: Json = {"protocolVersion": "2025-11-25", "capabilities": client.capabilities, "clientInfo": {}}
    message: Any = client.message("initialize", params)
    message["params"].pop("_meta", None)
    client.write(json.dumps(message).encode() + b"\n")
    assert client.result(message["id"])["protocolVersion"] == "2025-11-25"
