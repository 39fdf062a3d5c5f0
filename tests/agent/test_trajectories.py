"""Recorded turns, for people and for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.agent.trajectories import export
from hub.calls import Json
from hub.errors import InvalidArguments, ModelError, UnknownName
from hub.simulation.scripted_model import Call, Say, Script
from tests.agent.parts import Notebook, Scene, Tools, scene, text

pytestmark = pytest.mark.anyio

SCRIPT: Script = [
    Call("fs.read", {"x": 1}),
    Say("first"),
    Say("second"),
    Say("third"),
]


async def _echo(arguments: Json) -> Json:
    return text(f"echo {arguments.get('x')}")


async def _three_turns(here: Scene) -> None:
    for message, session_id in (("one", "a"), ("two", "b"), ("three", "a")):
        await here.say(message, session_id)
        here.clock.advance(1)


async def _lines(here: Scene, *arguments: str, **options: Any) -> list[Json]:
    return [json.loads(line) async for line in export(here.sessions, *arguments, **options)]


async def _judge(here: Scene, **judgement: Any) -> None:
    from hub.tables import feedback

    row = {"at": 1.0, "source": "user", "void": False, **judgement}
    await here.store.write(lambda connection: [connection.execute(feedback.insert(), row)])


async def test_everything_on_record_can_be_exported(tmp_path: Path) -> None:
    async with scene(tmp_path, SCRIPT, Tools().add("fs.read", _echo)) as here:
        await _three_turns(here)
        lines = await _lines(here)
    assert [line["input"] for line in lines] == ["one", "two", "three"]
    assert lines[0]["prompt"]["tools"][0]["name"] == "fs.read"
    assert lines[0]["tool_calls"][0]["arguments"] == {"x": 1}
    assert lines[0]["reward"] is None


async def test_one_session_can_be_exported_for_fine_tuning(tmp_path: Path) -> None:
    async with scene(tmp_path, SCRIPT, Tools().add("fs.read", _echo)) as here:
        await _three_turns(here)
        first, second = await _lines(here, "openai", session_id="a")
    assert [m["role"] for m in first["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert first["messages"][2]["tool_calls"][0]["function"]["name"] == "fs_read"
    assert first["tools"][0]["function"]["name"] == "fs_read"
    assert second["messages"][1]["content"] == "three"


async def test_feedback_becomes_the_reward_of_its_turn(tmp_path: Path) -> None:
    async with scene(tmp_path, SCRIPT, Tools().add("fs.read", _echo), memory=Notebook()) as here:
        await _three_turns(here)
        [one, three] = await here.sessions.show("a")
        await _judge(here, run_id=one.run_id, reward=1.0)
        await _judge(here, run_id=one.run_id, reward=0.5)
        lines = await _lines(here, "art", session_id="a")
        good = await _lines(here, "art", reward_min=0.7)
    assert [(line["reward"], line["metadata"]["judged"]) for line in lines] == [(0.75, True), (0.0, False)]
    assert [line["metadata"]["run_id"] for line in good] == [one.run_id]
    assert lines[0]["metrics"]["tool_calls"] == 1
    assert three.status == "completed"


async def test_only_turns_that_ended_well_can_be_asked_for(tmp_path: Path) -> None:
    async with scene(tmp_path, [Say("fine"), *[Say("")] * 3]) as here:
        await here.say("one")
        here.clock.advance(1)
        with pytest.raises(ModelError, match="answered nothing"):
            await here.say("two")
        assert [line["status"] for line in await _lines(here)] == ["completed", "failed"]
        assert [line["status"] for line in await _lines(here, statuses=["completed"])] == ["completed"]


async def test_more_turns_than_a_page_come_once_each_and_in_order(tmp_path: Path) -> None:
    async with scene(tmp_path, lambda request: Say("ok")) as here:
        for n in range(60):
            await here.say(str(n), f"session {n % 3}")
        # The clock stands still: all of them started in the same instant.
        lines = await _lines(here)
    assert len({line["run_id"] for line in lines}) == len(lines) == 60


async def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path, []) as here:
        with pytest.raises(InvalidArguments, match="art"):
            await _lines(here, "parquet")


async def test_sessions_are_listed_latest_first_and_can_be_deleted(tmp_path: Path) -> None:
    async with scene(tmp_path, SCRIPT, Tools().add("fs.read", _echo)) as here:
        await _three_turns(here)
        assert [(e.session_id, e.title, e.turns) for e in await here.sessions.entries()] == [
            ("a", "one", 2),
            ("b", "two", 1),
        ]
        await here.sessions.delete("a")
        assert [entry.session_id for entry in await here.sessions.entries()] == ["b"]
        with pytest.raises(UnknownName):
            await here.sessions.show("a")
        with pytest.raises(UnknownName):
            await here.sessions.delete("a")
    assert b"echo 1" not in (tmp_path / "hub.sqlite3").read_bytes()


async def test_a_session_keeps_no_more_turns_than_its_window(tmp_path: Path) -> None:
    from hub.settings import AgentSettings

    settings = AgentSettings(window_turns=5, prompt_turns=2)
    async with scene(tmp_path, lambda request: Say("ok"), settings=settings) as here:
        for n in range(12):
            await here.say(str(n))
        turns = await here.sessions.show("s")
        assert [turn.seq for turn in turns] == [8, 9, 10, 11, 12]
        assert len(here.model.requests[-1].messages) == 2 + 2 * 2
