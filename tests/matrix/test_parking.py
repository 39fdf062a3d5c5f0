"""Calls parked for a modern client: bounded in number and time, bound to their caller, answered once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.calls import Call, Caller, Json
from hub.errors import Busy
from hub.parking import Parking
from tests.hub.running import META, Client, Hubs, Refused, journal, stdio, write_servers, write_settings

CAPABILITIES: Json = {"elicitation": {}}
TIMEOUT_S = 1


class Scene:
    """A hub with a legacy stdio server behind it that gives calls little time."""

    def __init__(self, home: Path) -> None:
        self.journal = home / "journal.jsonl"
        self.hubs = Hubs(home)
        write_settings(home)
        entry = stdio("echo.py", "--journal", self.journal, timeout=TIMEOUT_S)
        write_servers(home, {"old": entry})

    def client(self, era: str = "modern") -> Client:
        """A client that can be asked."""
        client = self.hubs.attach(era=era, capabilities=CAPABILITIES)
        client.open()
        client.wait_for_tool("old.ask")
        return client

    def calls(self) -> int:
        """How many calls the server has received."""
        return sum(event.get("method") == "tools/call" for event in journal(self.journal))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("parking") / "home")
    try:
        yield scene
    finally:
        scene.hubs.end()


def park(client: Client, message: str = "who?") -> Json:
    """Have a call parked; gives the `input_required`."""
    result = client.call("old.ask", message=message)
    assert result["resultType"] == "input_required"
    assert [asked["params"]["message"] for asked in result["inputRequests"].values()] == [message]
    return result


def retry(client: Client, parked: Json, answer: str = "me", **more: Any) -> Json:
    """Come back to a parked call with answers."""
    accepted = {"action": "accept", "content": {"answer": answer}}
    params = {
        "name": "old.ask",
        "arguments": {"message": "who?"},
        "requestState": parked["requestState"],
        "inputResponses": dict.fromkeys(parked["inputRequests"], accepted),
    }
    return client.request("tools/call", {**params, **more})


def test_a_parked_call_goes_on_with_its_clients_answer(scene: Scene) -> None:
    client = scene.client()
    result = retry(client, park(client), "me")
    assert result["structuredContent"]["answer"]["content"] == {"answer": "me"}
    assert result["resultType"] == "complete"


def test_a_parked_call_belongs_to_its_caller(scene: Scene) -> None:
    client, other = scene.client(), scene.client()
    parked = park(client)
    with pytest.raises(Refused) as refused:
        retry(other, parked, _meta={f"{META}clientInfo": {"name": "somebody else", "version": "1"}})
    assert "another call" in refused.value.error["message"]
    assert retry(client, parked, "me")["structuredContent"]["answer"]["content"] == {"answer": "me"}


def test_an_answer_counts_once_and_a_call_is_never_made_twice(scene: Scene) -> None:
    client = scene.client()
    calls = scene.calls()
    parked = park(client)
    retry(client, parked)
    with pytest.raises(Refused) as refused:
        retry(client, parked)
    assert refused.value.error["code"] == -32602
    assert "begin the call again" in refused.value.error["message"]
    with pytest.raises(Refused):
        retry(client, parked, requestState="made up")
    assert scene.calls() == calls + 1


def test_a_retry_that_leaves_a_question_open_may_be_made_again(scene: Scene) -> None:
    client = scene.client()
    parked = park(client)
    with pytest.raises(Refused) as refused:
        retry(client, parked, inputResponses={})
    assert refused.value.error["code"] == -32602
    assert retry(client, parked)["structuredContent"]["answer"]["content"] == {"answer": "me"}


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_person_who_thinks_is_no_silence_of_the_server(scene: Scene, era: str) -> None:
    client = scene.client(era=era)
    accepted = {"action": "accept", "content": {"answer": "late"}}
    if era == "modern":
        parked = park(client)
        time.sleep(TIMEOUT_S * 1.5)  # a person thinks
        result = retry(client, parked, "late")
    else:
        request_id = client.send("tools/call", {"name": "old.ask", "arguments": {"message": "who?"}})
        question = client.wait_for(
            lambda message: message.get("method") == "elicitation/create", "a question"
        )
        time.sleep(TIMEOUT_S * 1.5)  # a person thinks
        client.write(
            json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": accepted}).encode() + b"\n"
        )
        result = client.result(request_id)
    assert result["structuredContent"]["answer"]["content"] == {"answer": "late"}


# -- bounds, without the wait for them


def call(name: str = "test") -> Call:
    return Call(Caller(name), "tools/call", {}, modern=True, capabilities=CAPABILITIES)


async def asks(call: Call) -> Json:
    assert call.ask is not None
    return await call.ask("elicitation/create", {"message": "who?"})


def test_a_parked_call_expires_and_its_server_is_told_to_stop() -> None:
    async def run() -> None:
        parking, stopped = Parking(parked_s=0.01), asyncio.Event()

        async def work(call: Call) -> Json:
            try:
                return await asks(call)
            except asyncio.CancelledError:
                stopped.set()
                raise

        parked = await parking.run(call(), work)
        again = call()
        again.params = {"requestState": parked["requestState"], "inputResponses": {}}
        assert parking.holds(again)
        async with asyncio.timeout(5):
            await stopped.wait()
        assert not parking.holds(again)

    asyncio.run(run())


def test_no_more_calls_are_parked_than_there_is_room_for() -> None:
    async def run() -> None:
        parking = Parking(parked_max=1)
        await parking.run(call(), asks)
        with pytest.raises(Busy):
            await parking.run(call(), asks)
        parking.close()

    asyncio.run(run())
