"""The tour: its steps in order. Each prints what came back, and fails by name."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hub.calls import Json
from hub.demo import story
from hub.demo.page import Page, length
from hub.demo.stage import DemoFailed, Stage, is_running, set_up
from hub.errors import HubError
from hub.skills import discover, shipped_folder

if TYPE_CHECKING:
    from rich.console import Console

TOUR_DEADLINE_S = 180.0
"""How long the tour may take in all, on a slow machine."""
LIST_DEADLINE_S = 30.0
"""How long the example servers may take to start."""
WANTED_TOOLS = (
    "almanac.world_time",
    "notes.add",
    "checklist.release",
    "fs.read",
    "memory.recall",
    "agent.run_turn",
)
GONE_DEADLINE_S = 5.0
"""How long a process may take to vanish once the hub has ended."""
REPEATS = 20
TEXT_CHARS_MAX = 150

NEXT = (
    ("hub install claude-code", "or codex, cursor, gemini-cli, vscode, …"),
    ("hub servers add NAME -- COMMAND", "a server behind it, for all of them"),
    ("hub tools list", "what every client then sees"),
    ("hub doctor", "what is missing: a model, perhaps"),
    ('hub run "…"', "then: a turn of the agent"),
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
                "By meaning, with a sentence model that runs here. Nothing has been judged yet: every q, "
                "the learned value, is 0.50. What comes first is alike, and misleads.",
                self._recall_before,
            )
            await self._step(
                "Let the agent work",
                "One turn of the hub's agent: it recalls, asks the model, calls tools on two servers, and "
                "answers. The first turn also loads LiteLLM, which takes a few seconds.",
                self._run_turn,
            )
            await self._step(
                "Say what helped",
                "One memory made the turn go well. The other stood first in step 5, and is how it once "
                "went wrong.",
                self._give_feedback,
            )
            await self._step(
                "Recall again",
                "The next release, in other words: what helped is ahead of what misled, and the turn above "
                "is remembered too. Every client sees this ranking.",
                self._recall_after,
            )
            status = await stage.call("hub.status", {})
            processes = [status["pid"], *(server["pid"] for server in status["servers"])]
            closing = time.perf_counter()
            self._begin("Clear away", "The hub stops, and its servers with it.")
        await self._check_gone([pid for pid in processes if pid is not None])
        kept = f"{folder} stays" if folder is not None else "the folder is gone"
        self._page.line(f"{len(processes)} processes ended, {kept}")
        self._end(closing, {"processes": len(processes)})

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
        origin = {"almanac": "mcp.json", "notes": "mcp.json", "checklist": "a skill, yours"}
        origin |= {skill.name: "a skill, shipped" for skill in discover([shipped_folder()]).skills}
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
        self._before = await self._stage.call("memory.recall", {"query": story.NEXT_REQUEST})
        self._page.quote(story.NEXT_REQUEST)
        self._page.table(
            (("score", ">"), ("q", ">"), ("what happened", "")),
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
            self._show_progress,
        )
        called = {call["name"] for call in self._turn["tool_calls"] if call["ok"]}
        if not {"almanac.world_time", "notes.add"} <= called:
            raise DemoFailed(
                f"the agent should have called two tools; it called {', '.join(called) or 'none'}"
            )
        self._page.line(self._turn["output"], "bold")
        self._page.line(f"model {self._turn['model']}, through LiteLLM, at {self._stage.model.url}", "dim")
        return self._turn

    def _show_progress(self, message: str) -> None:
        """The steps of the turn that a person wants to see, as the hub reports them."""
        if message.startswith(("recalls", "asks", "calls")):
            self._page.line(f"→ {message}", "cyan")

    async def _give_feedback(self) -> Json:
        good, bad = self._episode_ids[story.HELPFUL], self._episode_ids[story.MISLEADING]
        judgements: list[tuple[str, str, Json]] = [
            (
                good,
                "1, it helped",
                {"recall_id": self._turn["recall_id"], "used_ids": [good], "reward": 1.0},
            ),
            (
                bad,
                "0, it misleads",
                {"recall_id": self._before["recall_id"], "used_ids": [bad], "reward": 0.0},
            ),
        ]
        changed: Json = {}
        rows = []
        for episode_id, words, arguments in judgements:
            answer = await self._stage.call("memory.feedback", arguments)
            value = changed[episode_id] = answer["values"][episode_id]
            text = next(one.text for one in story.EXPERIENCES if self._episode_ids[one.key] == episode_id)
            rows.append((words, f"{value['before']:.2f} → {value['after']:.2f}", text))
        self._page.table((("reward", ""), ("q", "bold"), ("what happened", "")), rows)
        return {"values": changed}

    async def _recall_after(self) -> Json:
        after = await self._stage.call("memory.recall", {"query": story.NEXT_REQUEST})
        self._page.quote(story.NEXT_REQUEST)
        before = {episode["episode_id"]: rank for rank, episode in enumerate(self._before["episodes"], 1)}
        ranks: dict[str, int] = {}
        rows = []
        for rank, episode in enumerate(after["episodes"], 1):
            ranks[episode["episode_id"]] = rank
            old = before.get(episode["episode_id"])
            text = " ".join(str(episode["experience"]).split())
            rows.append(
                (
                    str(rank),
                    "new" if old is None else str(old),
                    f"{episode['score']:.2f}",
                    f"{episode['q_value']:.2f}",
                    text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…",
                )
            )
        headings = (("now", ">bold"), ("before", ">"), ("score", ">"), ("q", ">"), ("what happened", ""))
        self._page.table(headings, rows)
        last = len(ranks) + 1
        if ranks.get(self._episode_ids[story.HELPFUL], last) >= ranks.get(
            self._episode_ids[story.MISLEADING], last
        ):
            raise DemoFailed("what helped should stand ahead of what misled by now")
        return after

    async def _check_gone(self, processes: Sequence[int]) -> None:
        """Make sure that nothing of the demo runs on.

        Raises:
            DemoFailed: Something does.
        """
        until = time.perf_counter() + GONE_DEADLINE_S
        while left := [pid for pid in processes if is_running(pid)]:
            if time.perf_counter() > until:
                raise DemoFailed(f"these processes were left behind: {', '.join(map(str, left))}")
            await asyncio.sleep(0.02)

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
    # In a checkout the command is reached through uv.
    prefix = "" if shutil.which("hub") else "uv run "
    page.closing([(prefix + command, meaning) for command, meaning in NEXT])
    return {"ok": True, "seconds": round(seconds, 3), "steps": tour.steps}


def _innermost(group: BaseExceptionGroup[BaseException]) -> str:
    """The first error inside nested groups, in words."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
