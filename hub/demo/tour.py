"""The tour: its steps in order. Each prints what came back, and fails by name."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hub.calls import Json
from hub.demo import story
from hub.demo.page import Page, length
from hub.demo.stage import DemoFailed, Stage, set_up
from hub.errors import HubError

if TYPE_CHECKING:
    from rich.console import Console

TOUR_DEADLINE_S = 180.0
"""How long the tour may take in all, on a slow machine."""
LIST_DEADLINE_S = 30.0
"""How long the example servers may take to start."""
WANTED_TOOLS = ("almanac.world_time", "notes.add", "checklist.release", "memory.recall", "agent.run_turn")
REPEATS = 20

NEXT = (
    ("hub install claude-code", "add the hub to a client (codex, cursor, gemini, vscode, …)"),
    ("hub servers add NAME -- COMMAND", "put a server behind it, for all clients at once"),
    ("hub tools list", "what every client then sees"),
    ('hub run "…"', "a turn of the agent; set HUB_MODEL first"),
    ("hub doctor", "what is missing, and what to do about it"),
)


class TourFailed(HubError):
    """The tour stopped at a step; the message names it."""


class Tour:
    """One tour.

    Args:
        page: Where it is read.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._stage: Stage
        self._episode_ids: dict[str, str] = {}
        self._before: Json = {}
        self._turn: Json = {}
        self.steps: list[Json] = []
        self.current = "Set up"

    async def take(self, folder: Path | None) -> None:
        """Set up, take every step, clear away."""
        self._page.title(
            "The hub at work, offline",
            "Everything below is real and comes back over one MCP connection, as any client would see it. "
            "Only the model is a script behind a real HTTP endpoint.",
        )
        started = time.perf_counter()
        self._begin(
            "A client starts the hub",
            "A client launches `hub mcp`. No hub runs for this home yet, so it starts one, which then serves "
            "every further client too.",
        )
        async with set_up(folder) as stage:
            self._stage = stage
            client = stage.client
            server = client.server_info
            name = f"{server.name} {server.version}" if server is not None else "the hub"
            self._page.line(f"{name} answers, MCP {client.protocol_version}, home {stage.home.root}")
            self._end(started, {"protocol_version": client.protocol_version, "home": str(stage.home.root)})
            await self._step(
                "One list of tools",
                "Two servers from mcp.json, each a process of its own; skills; the hub's memory and agent.",
                self._list_tools,
            )
            await self._step(
                "Call a tool",
                "The call goes client → hub → server, and the answer comes back unchanged.",
                self._call_tools,
            )
            await self._step(
                "Remember",
                "Five things that happened. Each is on disk when the call returns.",
                self._store,
            )
            await self._step(
                "Recall",
                "By meaning, with a sentence model that runs here; nothing has been judged yet, "
                "so every q is 0.50.",
                self._recall_before,
            )
            await self._step(
                "Let the agent work",
                "One turn: it recalls, asks the model, calls tools on two servers, and answers.",
                self._run_turn,
            )
            await self._step(
                "Say what helped",
                "The turn went well because of one memory; the other one misleads.",
                self._give_feedback,
            )
            await self._step(
                "Recall again",
                "The same question. What helped has moved up, for every client.",
                self._recall_after,
            )
            closing = time.perf_counter()
            self._begin("Clear away", "The hub stops, and its servers with it.")
        kept = "the folder stays" if folder is not None else "the folder is gone"
        self._page.line(f"no process is left, {kept}")
        self._end(closing, {})

    # -- the steps

    async def _list_tools(self) -> Json:
        client = self._stage.client
        async with asyncio.timeout(LIST_DEADLINE_S):
            while True:
                listed = await client.list_tools(cache_mode="refresh")
                names = [tool.name for tool in listed.tools]
                missing = [name for name in WANTED_TOOLS if name not in names]
                if not missing:
                    break
                # A list never waits for a server that still starts; it comes in a moment.
                await asyncio.sleep(0.1)
        groups: dict[str, list[str]] = {}
        for name in names:
            server, _, own = name.partition(".")
            groups.setdefault(server, []).append(own)
        origin = {
            "almanac": "mcp.json",
            "notes": "mcp.json",
            "checklist": "skill, yours",
            "fs": "skill, shipped",
            "web": "skill, shipped",
        }
        self._page.table(
            (("server", "cyan"), ("from", "dim"), ("tools", "")),
            [(server, origin.get(server, "the hub"), ", ".join(own)) for server, own in groups.items()],
        )
        return {"tools": names}

    async def _call_tools(self) -> Json:
        arguments: Json = {
            "moment": story.RELEASE_MOMENT,
            "to_zones": ["Europe/Berlin", "Asia/Tokyo", "America/Sao_Paulo"],
        }
        answer = await self._stage.call("almanac.world_time", arguments)
        self._page.line(f"almanac.world_time  {story.RELEASE_MOMENT} UTC", "cyan")
        for one in answer["times"]:
            self._page.line(f"  {one['zone']:<20} {one['weekday']} {one['time']}")
        durations = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            await self._stage.call("almanac.world_time", arguments)
            durations.append(time.perf_counter() - started)
        median_s = statistics.median(durations)
        self._page.line(f"{REPEATS} more calls, the median: {length(median_s)}", "dim")
        steps = await self._stage.call("checklist.release", {"version": "2.0", "day": story.RELEASE_DAY})
        self._page.line("checklist.release   a skill: one Python function in a folder", "cyan")
        for one in steps["steps"]:
            self._page.line(f"  {one['due']}  {one['what']}")
        return {"times": answer["times"], "median_s": median_s, "checklist": steps["steps"]}

    async def _store(self) -> Json:
        for experience in story.EXPERIENCES:
            stored = await self._stage.call(
                "memory.store",
                {"intent": experience.intent, "experience": experience.text, "outcome": experience.outcome},
            )
            self._episode_ids[experience.key] = stored["episode_id"]
            self._page.line(f"• {experience.text}")
            self._page.line(f"  {experience.outcome}", "dim")
        return {"episode_ids": self._episode_ids}

    async def _recall_before(self) -> Json:
        self._before = await self._stage.call("memory.recall", {"query": story.QUERY})
        self._page.quote(story.QUERY)
        self._page.table(
            ((">score", ""), (">q", ""), ("what happened", "")),
            [
                (f"{episode['score']:.2f}", f"{episode['q_value']:.2f}", episode["experience"])
                for episode in self._before["episodes"]
            ],
        )
        return self._before

    async def _run_turn(self) -> Json:
        self._page.quote(story.REQUEST)
        self._turn = await self._stage.call(
            "agent.run_turn",
            {"session_id": "demo", "message": story.REQUEST},
            lambda message: self._page.line(f"→ {message}", "cyan"),
        )
        called = {call["name"] for call in self._turn["tool_calls"] if call["ok"]}
        if not {"almanac.world_time", "notes.add"} <= called:
            raise DemoFailed(
                f"the agent should have called two tools; it called {', '.join(called) or 'none'}"
            )
        for call in self._turn["tool_calls"]:
            self._page.line(f"✓ {call['name']}  {length(call['duration_s'])}")
        self._page.line(self._turn["output"], "bold")
        self._page.line(f"model {self._turn['model']}, through LiteLLM, at {self._stage.model.url}", "dim")
        return self._turn

    async def _give_feedback(self) -> Json:
        good, bad = self._episode_ids["zones"], self._episode_ids["bare"]
        judged = [
            (self._turn["recall_id"], good, 1.0, "helped"),
            (self._turn["recall_id"], bad, 0.0, "misled"),
        ]
        for recall_id, episode_id, reward, word in judged:
            await self._stage.call(
                "memory.feedback", {"recall_id": recall_id, "reward": reward, "used_ids": [episode_id]}
            )
            text = next(e.text for e in story.EXPERIENCES if self._episode_ids[e.key] == episode_id)
            self._page.line(f"{word}, reward {reward:.0f}: {text}")
        return {"rewarded": good, "punished": bad}

    async def _recall_after(self) -> Json:
        after = await self._stage.call("memory.recall", {"query": story.QUERY})
        before = {
            episode["episode_id"]: (rank, episode) for rank, episode in enumerate(self._before["episodes"], 1)
        }
        rows = []
        for rank, episode in enumerate(after["episodes"], 1):
            old_rank, old = before.get(episode["episode_id"], (None, None))
            moved = "" if old_rank is None or old_rank == rank else ("↑" if rank < old_rank else "↓")
            rows.append(
                (
                    f"{old_rank or '–'} → {rank} {moved}".rstrip(),
                    f"{old['q_value'] if old else 0.5:.2f} → {episode['q_value']:.2f}",
                    episode["experience"],
                )
            )
        self._page.table((("rank", "bold"), ("q", ""), ("what happened", "")), rows)
        first = after["episodes"][0]["episode_id"] if after["episodes"] else None
        if first != self._episode_ids["zones"]:
            raise DemoFailed("what helped should stand first now")
        return after

    # -- the frame of a step

    async def _step(self, title: str, why: str, work: Callable[[], Awaitable[Json]]) -> None:
        started = time.perf_counter()
        self._begin(title, why)
        report = await work()
        self._end(started, report)

    def _begin(self, title: str, why: str) -> None:
        self.current = title
        self._page.step(len(self.steps) + 1, title, why)

    def _end(self, started: float, report: Json) -> None:
        seconds = time.perf_counter() - started
        self.steps.append({"step": self.current, "seconds": round(seconds, 4), **report})
        self._page.took(seconds)


async def run(console: Console | None, folder: Path | None) -> Json:
    """Take the tour.

    Args:
        console: Where it is read; None for silence.
        folder: The home to use and keep; None for one that is deleted.

    Returns:
        What each step saw, and the seconds it took.

    Raises:
        TourFailed: A step failed; names it, and where the hub's log is.
    """
    page = Page(console)
    tour = Tour(page)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(TOUR_DEADLINE_S):
            await tour.take(folder)
    except* (DemoFailed, HubError, TimeoutError, OSError) as group:
        reason = _innermost(group)
        page.failed(reason)
        again = "" if folder is not None else "; `hub demo --keep DIR` leaves the hub's log to look at"
        raise TourFailed(
            f"the demo failed at step {len(tour.steps) + 1}, {tour.current!r}: {reason}{again}"
        ) from None
    seconds = time.perf_counter() - started
    page.line("")
    page.line(f"All of it in {length(seconds)}. Yours now:", "bold")
    page.closing(NEXT)
    return {"ok": True, "seconds": round(seconds, 3), "steps": tour.steps}


def _innermost(group: BaseExceptionGroup[BaseException]) -> str:
    """The first error inside nested groups, in words."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
