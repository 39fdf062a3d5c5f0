"""What the agent's tests put together: a real store, a scripted model over HTTP, tools that are functions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.agent import Agent, Event
from hub.agent.ports import ProgressListener
from hub.calls import Caller, Json
from hub.clock import ManualClock
from hub.errors import UnknownName
from hub.llm import LiteLLM
from hub.memory.episode import GLOBAL, Episode, Hit, Provenance, Recall
from hub.sessions import Sessions
from hub.settings import AgentSettings, ToolNames
from hub.simulation.scripted_model import Script, ScriptedModel
from hub.store import Store

CALLER = Caller(name="tests 1.0", face="cli", project="/home/ada/site")


def text(value: str) -> Json:
    return {"content": [{"type": "text", "text": value}]}


Function = Callable[[Json], Awaitable[Json]]


class Tools:
    """A tool surface of plain functions, and a record of what was called and in what order it ended."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}
        self._definitions: dict[str, Json] = {}
        self.called: list[tuple[str, Json]] = []
        self.finished: list[str] = []
        self.cancelled: list[str] = []
        self.callers: list[Caller] = []

    def add(self, name: str, function: Function, **definition: Any) -> Tools:
        self._functions[name] = function
        self._definitions[name] = {"name": name, "inputSchema": {"type": "object"}, **definition}
        return self

    def tools(self, style: ToolNames | None = None, caller: Caller | None = None) -> list[Json]:
        return list(self._definitions.values())

    async def call_tool(
        self,
        caller: Caller,
        name: str,
        arguments: Json,
        *,
        deadline_s: float | None = None,
        on_progress: ProgressListener | None = None,
    ) -> Json:
        self.called.append((name, arguments))
        self.callers.append(caller)
        if name not in self._functions:
            raise UnknownName(f"no tool {name!r}")
        try:
            result = await self._functions[name](arguments)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        self.finished.append(name)
        return result


@dataclass
class Notebook:
    """A memory that returns what it was given, and keeps what it is told."""

    hits: Sequence[str] = ()
    stored: list[tuple[str, str, Provenance]] = field(default_factory=list)
    parents: list[tuple[str, ...]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)

    async def recall(
        self, query: str, *, project: str | None = None, client: str | None = None, run_id: str | None = None
    ) -> Recall:
        self.queries.append(query)
        hits = tuple(
            Hit(self._episode(f"ep_{n}", "earlier", experience), 0.9 - n / 10, 0.9, 0.0, 0.0, 1.0, 0.0, ())
            for n, experience in enumerate(self.hits)
        )
        return Recall("rec_1", hits)

    async def store(
        self,
        experience: str,
        *,
        intent: str | None = None,
        provenance: Provenance | None = None,
        thread: str | None = None,
        parent_ids: Sequence[str] = (),
    ) -> Episode:
        assert intent is not None
        assert provenance is not None
        self.stored.append((intent, experience, provenance))
        self.parents.append(tuple(parent_ids))
        return self._episode("ep_new", intent, experience)

    def _episode(self, episode_id: str, intent: str, experience: str) -> Episode:
        return Episode(
            episode_id,
            "episode",
            GLOBAL,
            intent,
            experience,
            None,
            None,
            None,
            1.8e9,
            1.8e9,
            1.8e9,
            Provenance(),
        )


@dataclass
class Scene:
    """An agent and everything around it."""

    agent: Agent
    model: ScriptedModel
    llm: LiteLLM
    sessions: Sessions
    store: Store
    clock: ManualClock
    events: list[Event] = field(default_factory=list)

    async def say(self, message: str, session_id: str = "s", caller: Caller = CALLER) -> Any:
        return await self.agent.run_turn(caller, session_id, message, on_event=self.events.append)

    def types(self) -> list[str]:
        """The events' types, a run of deltas as one."""
        found: list[str] = []
        for event in self.events:
            if not (found and found[-1] == event.type == "model.delta"):
                found.append(event.type)
        return found


@asynccontextmanager
async def scene(
    folder: Path,
    script: Script,
    tools: Tools | None = None,
    *,
    memory: Any = None,
    settings: AgentSettings | None = None,
    label: str = "",
    kind: type[LiteLLM] = LiteLLM,
) -> AsyncIterator[Scene]:
    settings = settings or AgentSettings()
    clock = ManualClock()
    store = Store(folder / "hub.sqlite3")
    await store.open()
    try:
        async with ScriptedModel(script, label=label) as model:
            llm = kind("openai/scripted", model.url, dict, rng=random.Random(1))
            sessions = Sessions(store, clock, settings.window_turns)
            agent = Agent(tools or Tools(), memory, sessions, llm, settings, clock)
            yield Scene(agent, model, llm, sessions, store, clock)
            await agent.close()
    finally:
        await store.close()
