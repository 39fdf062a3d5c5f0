"""Sessions: what was said, turn by turn, and exactly what the agent did about it.

A turn is written once, when it ends, and never changed. While it runs, each step it
has completed is kept aside, so that a hub that dies leaves an honest record: the next
hub closes such turns as `interrupted`, with everything up to the last step. A session
keeps its latest turns, as many as its window holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hub.calls import Json
from hub.clock import Clock
from hub.errors import InvalidArguments, UnknownName
from hub.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SESSION_ID_CHARS_MAX = 128
_TITLE_CHARS_MAX = 80


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stood around the conversation in a turn's requests to the model.

    Attributes:
        system: The system prompt.
        tools: The definitions of the tools offered, as MCP has them.
    """

    system: str
    tools: Sequence[Json]

    @property
    def digest(self) -> str:
        """The SHA-256 under which equal prompts are kept once."""
        return hashlib.sha256(json.dumps([self.system, list(self.tools)]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, as it is kept.

    Attributes:
        run_id: Its name.
        session_id: The session it belongs to.
        seq: Its place in the session, from 1; 0 before it is committed.
        started_at: Seconds since the epoch.
        ended_at: Seconds since the epoch.
        status: How it ended: `completed`, `failed`, and so on.
        caller: Who asked: name, face, project, hops.
        input: The user's message.
        output: The answer; None when there is none.
        messages: Everything said in it, the user's message first, in OpenAI's chat form
            with tools under public names, and without what memory put beside it.
        tool_calls: What was called: name, arguments, ok, duration_s.
        usage: Tokens and cost.
        model: The model that answered last.
        recall_id: The recall whose episodes it saw.
        prompt: The digest of its system prompt and tools.
        context: What else the model saw: recalled episodes, earlier turns, summary.
        timings: Seconds spent waiting for memory, model and tools, and in all.
        error: Why it failed.
    """

    run_id: str
    session_id: str
    started_at: float
    ended_at: float
    status: str
    caller: Json
    input: str
    output: str | None
    messages: list[Json]
    tool_calls: list[Json] = field(default_factory=list)
    usage: Json = field(default_factory=dict)
    model: str | None = None
    recall_id: str | None = None
    prompt: str | None = None
    context: Json = field(default_factory=dict)
    timings: Json = field(default_factory=dict)
    error: str | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """One line of the list of sessions."""

    session_id: str
    title: str | None
    created_at: float
    updated_at: float
    turns: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a prompt says instead of a session's turns up to `seq`."""

    seq: int
    text: str


class Sessions:
    """The sessions of one store.

    Args:
        store: An open store.
        clock: Tells when.
        window_turns: How many turns of a session are kept.
    """

    def __init__(self, store: Store, clock: Clock, window_turns: int = 2048) -> None:
        self._store = store
        self._clock = clock
        self._window_turns = window_turns

    async def window(self, session_id: str, count: int) -> tuple[Summary | None, list[Turn]]:
        """What the next prompt of a session is made of.

        Args:
            session_id: The session; one that does not exist has nothing.
            count: How many turns at most.

        Returns:
            The latest summary, and the latest turns after it, oldest first.
        """

        def work(connection: Connection) -> tuple[Summary | None, list[Turn]]:
            summary = _summary(connection, session_id)
            return summary, _latest(connection, session_id, count, summary.seq if summary else 0)

        return await self._store.read(work)

    async def keep_step(self, turn: Turn, n: int) -> None:
        """Keep what a running turn has completed.

        Args:
            turn: The turn so far; of its messages only those from the last step on.
            n: The step, from 0.
        """

        def work(connection: Connection) -> None:
            from hub.tables import steps

            connection.execute(
                steps.insert(),
                {
                    "run_id": turn.run_id,
                    "n": n,
                    "session_id": turn.session_id,
                    "at": self._clock.now(),
                    "caller": turn.caller,
                    "messages": turn.messages,
                },
            )

        await self._store.write(work)

    async def commit(self, turn: Turn, prompt: Prompt | None = None) -> int:
        """Write a turn that ended, forget its steps, and drop what the window no longer holds.

        Args:
            turn: The turn.
            prompt: What `turn.prompt` is the digest of.

        Returns:
            Its place in the session.
        """
        now = self._clock.now()

        def work(connection: Connection) -> int:
            from hub.tables import prompts

            if prompt is not None and not _exists(connection, prompts.c.digest, turn.prompt):
                connection.execute(
                    prompts.insert(),
                    {"digest": turn.prompt, "system": prompt.system, "tools": list(prompt.tools)},
                )
            return self._insert(connection, turn, now)

        return await self._store.write(work)

    async def close_interrupted(self) -> list[Turn]:
        """Close the turns that a hub left running when it ended, as `interrupted`; returns them."""
        now = self._clock.now()

        def work(connection: Connection) -> list[Turn]:
            from sqlalchemy import select

            from hub.tables import steps

            left: dict[str, list[Any]] = {}
            for row in connection.execute(select(steps).order_by(steps.c.run_id, steps.c.n)).mappings():
                left.setdefault(row["run_id"], []).append(row)
            closed = []
            for run_id, rows in left.items():
                messages = [message for row in rows for message in row["messages"]]
                turn = Turn(
                    run_id=run_id,
                    session_id=rows[0]["session_id"],
                    started_at=rows[0]["at"],
                    ended_at=rows[-1]["at"],
                    status="interrupted",
                    caller=rows[0]["caller"],
                    input=str(messages[0].get("content", "")) if messages else "",
                    output=None,
                    messages=messages,
                    error="the hub ended while the turn was running",
                )
                closed.append(replace(turn, seq=self._insert(connection, turn, now)))
            return closed

        return await self._store.write(work)

    async def entries(self, limit: int = 100) -> list[SessionEntry]:
        """The sessions, the latest used first."""

        def work(connection: Connection) -> list[SessionEntry]:
            from sqlalchemy import func, select

            from hub.tables import sessions, turns

            query = (
                select(sessions, func.count(turns.c.run_id).label("turns"))
                .join(turns, turns.c.session_id == sessions.c.session_id, isouter=True)
                .group_by(sessions.c.session_id)
                .order_by(sessions.c.updated_at.desc())
                .limit(limit)
            )
            return [
                SessionEntry(
                    row["session_id"],
                    row["title"],
                    row["created_at"],
                    row["updated_at"],
                    row["turns"],
                )
                for row in connection.execute(query).mappings()
            ]

        return await self._store.read(work)

    async def show(self, session_id: str) -> list[Turn]:
        """Every kept turn of a session, oldest first.

        Raises:
            UnknownName: There is no such session.
        """
        found = await self._store.read(lambda c: _latest(c, session_id, self._window_turns, 0))
        if not found:
            raise UnknownName(f"there is no session {session_id!r}. `hub sessions list` names them")
        return found

    async def turn(self, run_id: str) -> Turn:
        """One turn.

        Raises:
            UnknownName: There is no such run.
        """

        def work(connection: Connection) -> Turn | None:
            from sqlalchemy import select

            from hub.tables import turns

            row = connection.execute(select(turns).where(turns.c.run_id == run_id)).mappings().first()
            return _turn(row) if row else None

        found = await self._store.read(work)
        if found is None:
            raise UnknownName(f"there is no run {run_id!r}")
        return found

    async def prompt(self, digest: str) -> Prompt:
        """The system prompt and tools that a turn's `prompt` names.

        Raises:
            UnknownName: There is no such prompt.
        """

        def work(connection: Connection) -> Prompt | None:
            from sqlalchemy import select

            from hub.tables import prompts

            row = connection.execute(select(prompts).where(prompts.c.digest == digest)).first()
            return Prompt(row.system, row.tools) if row else None

        found = await self._store.read(work)
        if found is None:
            raise UnknownName(f"there is no prompt {digest!r}")
        return found

    async def delete(self, session_id: str) -> None:
        """Delete a session with its turns and summaries.

        Raises:
            UnknownName: There is no such session.
        """

        def work(connection: Connection) -> bool:
            from sqlalchemy import delete, select

            from hub.tables import prompts, sessions, turns

            gone = connection.execute(delete(sessions).where(sessions.c.session_id == session_id))
            used = select(turns.c.prompt).where(turns.c.prompt.is_not(None))
            connection.execute(delete(prompts).where(prompts.c.digest.not_in(used)))
            return gone.rowcount > 0

        if not await self._store.write(work):
            raise UnknownName(f"there is no session {session_id!r}. `hub sessions list` names them")
        # What a person deletes must not linger in the write-ahead log.
        await self._store.checkpoint()

    async def cost_usd(self, *, session_id: str | None = None, since: float = 0.0) -> float:
        """What turns have cost, as far as prices are known.

        Args:
            session_id: Only this session's; all when None.
            since: Only turns that started at or after this moment.
        """

        def work(connection: Connection) -> float:
            from sqlalchemy import func, select

            from hub.tables import turns

            query = select(func.sum(turns.c.usage["cost_usd"].as_float())).where(turns.c.started_at >= since)
            if session_id is not None:
                query = query.where(turns.c.session_id == session_id)
            return float(connection.execute(query).scalar() or 0.0)

        return await self._store.read(work)

    async def summarise(self, session_id: str, summary: Summary) -> None:
        """Keep what later prompts say instead of the turns up to `summary.seq`; the turns stay."""
        now = self._clock.now()

        def work(connection: Connection) -> None:
            from sqlalchemy import delete

            from hub.tables import summaries

            connection.execute(
                delete(summaries).where(summaries.c.session_id == session_id, summaries.c.seq == summary.seq)
            )
            connection.execute(
                summaries.insert(),
                {"session_id": session_id, "seq": summary.seq, "at": now, "text": summary.text},
            )

        await self._store.write(work)

    def _insert(self, connection: Connection, turn: Turn, now: float) -> int:
        from sqlalchemy import delete, func, select, update

        from hub.tables import sessions, steps, turns

        session_id = turn.session_id
        if _exists(connection, sessions.c.session_id, session_id):
            connection.execute(
                update(sessions).where(sessions.c.session_id == session_id).values(updated_at=now)
            )
        else:
            title = " ".join(turn.input.split())[:_TITLE_CHARS_MAX] or None
            connection.execute(
                sessions.insert(),
                {"session_id": session_id, "title": title, "created_at": now, "updated_at": now},
            )
        last = connection.execute(
            select(func.max(turns.c.seq)).where(turns.c.session_id == session_id)
        ).scalar()
        seq = (last or 0) + 1
        columns = {column.name: getattr(turn, column.name) for column in turns.columns}
        connection.execute(turns.insert(), {**columns, "seq": seq})
        connection.execute(delete(steps).where(steps.c.run_id == turn.run_id))
        connection.execute(
            delete(turns).where(turns.c.session_id == session_id, turns.c.seq <= seq - self._window_turns)
        )
        return seq


def checked_session_id(session_id: str) -> str:
    """A session id that can be kept and printed.

    Raises:
        InvalidArguments: It is blank, too long, or holds control characters.
    """
    if not session_id.strip():
        raise InvalidArguments("session_id is blank. Name the session, for example 'default'")
    if len(session_id) > _SESSION_ID_CHARS_MAX:
        raise InvalidArguments(f"session_id is longer than {_SESSION_ID_CHARS_MAX} characters")
    if not session_id.isprintable():
        raise InvalidArguments("session_id holds characters that cannot be printed")
    return session_id


def _exists(connection: Connection, column: Any, value: object) -> bool:
    from sqlalchemy import select

    return connection.execute(select(column).where(column == value).limit(1)).first() is not None


def _latest(connection: Connection, session_id: str, count: int, after_seq: int) -> list[Turn]:
    """The latest turns of a session after a place in it, oldest first."""
    from sqlalchemy import select

    from hub.tables import turns

    query = (
        select(turns)
        .where(turns.c.session_id == session_id, turns.c.seq > after_seq)
        .order_by(turns.c.seq.desc())
        .limit(count)
    )
    return [_turn(row) for row in connection.execute(query).mappings()][::-1]


def _summary(connection: Connection, session_id: str) -> Summary | None:
    """The latest summary of a session."""
    from sqlalchemy import select

    from hub.tables import summaries

    query = (
        select(summaries.c.seq, summaries.c.text)
        .where(summaries.c.session_id == session_id)
        .order_by(summaries.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return Summary(row.seq, row.text) if row else None


def _turn(row: Any) -> Turn:
    return Turn(**row)
