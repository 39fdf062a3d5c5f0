"""The agent with the real memory: what one turn learned, another one reads."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from hub.agent import Agent
from hub.calls import Caller, Json
from hub.clock import ManualClock
from hub.home import Home
from hub.llm import LiteLLM
from hub.memory import Memory
from hub.sessions import Sessions
from hub.settings import AgentSettings, MemorySettings
from hub.simulation.scripted_model import Call, Say, Script, ScriptedModel
from hub.store import Store
from tests.agent.parts import CALLER, Tools, text

pytestmark = pytest.mark.anyio


async def _read(arguments: Json) -> Json:
    return text("port = 9417")


async def test_a_turn_learns_what_a_later_one_in_another_session_recalls(tmp_path: Path) -> None:
    script: Script = [
        Call("fs.read", {"path": "site.toml"}),
        Say("The staging site listens on port 9417; it stands in site.toml."),
        Say("On 9417, as I found out before."),
        Say("I do not know."),
    ]
    clock = ManualClock()
    store = Store(tmp_path / "hub.sqlite3")
    await store.open()
    memory = await Memory.open(Home.at(tmp_path), MemorySettings(), clock, random.Random(1), store)
    async with asyncio.timeout(60):
        await memory.ready()
    async with ScriptedModel(script, label="") as model:
        llm = LiteLLM("openai/scripted", model.url, dict)
        tools = Tools().add("fs.read", _read)
        agent = Agent(tools, memory, Sessions(store, clock), llm, AgentSettings(), clock)
        first = await agent.run_turn(CALLER, "a", "Which port does the staging site listen on?")
        clock.advance(60)
        second = await agent.run_turn(CALLER, "b", "What was the port of the staging site again?")
        stranger = Caller(name="tests 1.0", face="cli", project="/home/eve")
        await agent.run_turn(stranger, "c", "What was the port of the staging site again?")
        await llm.close()

        [episode] = [e for e in await memory.list() if "site.toml" in e.experience]
        assert episode.provenance.run_id == first.run_id
        assert episode.thread == "a"
        assert second.recall_id is not None
        assert episode.episode_id in model.requests[2].user
        assert "9417" in model.requests[2].user
        # Another project's episodes are not this one's.
        assert "9417" not in str(model.requests[3].messages)
        # Feedback on the run reaches what it recalled.
        await memory.feedback(1.0, run_id=second.run_id)
        [better] = [e for e in await memory.list() if e.episode_id == episode.episode_id]
        assert better.q_value > episode.q_value
    await memory.close()
    await store.close()
