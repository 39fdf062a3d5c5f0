"""The private methods for recorded turns: listing, showing, searching, exporting them."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, ConfigDict, Field

from hub.calls import Json
from hub.control.params import read
from hub.errors import InvalidArguments
from hub.jsonrpc import Request

if TYPE_CHECKING:
    from hub.sessions import Filter, Sessions, Turn, TurnEntry

Opened = Callable[[], Awaitable["Sessions"]]
"""Gives the sessions, opened when they are first asked for."""

SEARCH_LIMIT_MAX = 100


class _Filtered(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    session_id: str | None = None
    statuses: list[str] = []

    def check(self) -> None:
        """Refuse what no turn ends with.

        Raises:
            InvalidArguments: There is no such status.
        """
        from hub.agent.result import Status

        known = (*get_args(Status), "failed", "cancelled", "interrupted")
        for status in self.statuses:
            if status not in known:
                raise InvalidArguments(f"no turn ends {status!r}; they end {', '.join(known)}")


class TracesList(_Filtered):
    since: float | None = None
    limit: int = Field(default=20, ge=1, le=1000)

    def filter(self) -> Filter:
        from hub.sessions import Filter

        self.check()
        return Filter(self.limit, self.session_id, self.statuses, self.since)


class TracesShow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str = ""


class TracesSearch(TracesList):
    text: str
    limit: int = Field(default=20, ge=1, le=SEARCH_LIMIT_MAX)


class TracesExport(_Filtered):
    format: str = "jsonl"
    reward_min: float | None = None
    after: tuple[float, str] | None = None


def methods(opened: Opened) -> dict[str, Callable[[Request], Awaitable[Json]]]:
    """The methods by their names.

    Args:
        opened: Gives the sessions.
    """
    return {
        "hub/traces.list": functools.partial(_list, opened),
        "hub/traces.show": functools.partial(_show, opened),
        "hub/traces.search": functools.partial(_search, opened),
        "hub/traces.export": functools.partial(_export, opened),
    }


async def _list(opened: Opened, request: Request) -> Json:
    wanted = read(TracesList, request).filter()
    sessions = await opened()
    turns = await sessions.traces(wanted)
    return {"turns": await _judged(sessions, turns)}


async def _show(opened: Opened, request: Request) -> Json:
    asked = read(TracesShow, request)
    sessions = await opened()
    turn = await sessions.turn(await sessions.run_id_of(asked.run_id))
    prompt = None if turn.prompt is None else await sessions.prompt(turn.prompt)
    return {
        **asdict(turn),
        "prompt": None if prompt is None else {"system": prompt.system, "tools": list(prompt.tools)},
        "recalled": await _recalled(sessions, turn),
        "reward": (await sessions.rewards([turn])).get(turn.run_id),
    }


async def _recalled(sessions: Sessions, turn: Turn) -> list[Json]:
    """The episodes that a turn saw; one that was forgotten since has no intent."""
    episode_ids = turn.context.get("recalled") or []
    intents = await sessions.intents(episode_ids)
    return [{"episode_id": episode_id, "intent": intents.get(episode_id)} for episode_id in episode_ids]


async def _search(opened: Opened, request: Request) -> Json:
    asked = read(TracesSearch, request)
    words = asked.text.split()
    if not words:
        raise InvalidArguments("there is nothing to search for; say a word that occurs in the turn")
    wanted = asked.filter()
    sessions = await opened()
    found = await sessions.search(words, wanted)
    turns = await _judged(sessions, [one.turn for one in found])
    return {
        "turns": [
            {**turn, "who": one.who, "excerpt": one.excerpt} for turn, one in zip(turns, found, strict=True)
        ]
    }


async def _export(opened: Opened, request: Request) -> Json:
    from hub.agent.trajectories import BEGINNING, export_page

    asked = read(TracesExport, request)
    asked.check()
    lines, after = await export_page(
        await opened(),
        asked.format,
        asked.after or BEGINNING,
        session_id=asked.session_id,
        statuses=asked.statuses,
        reward_min=asked.reward_min,
    )
    return {"lines": lines, "after": after}


async def _judged(sessions: Sessions, turns: Sequence[TurnEntry]) -> list[Json]:
    rewards = await sessions.rewards(turns)
    return [{**asdict(turn), "reward": rewards.get(turn.run_id)} for turn in turns]
