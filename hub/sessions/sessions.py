"""The sessions of one store: what goes in, what comes out, what is dropped."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select, tuple_, update

from hub.clock import Clock
from hub.errors import UnknownName
from hub.sessions import traces
from hub.sessions.turn import Filter, Found, Prompt, SessionEntry, Summary, Turn, TurnEntry
from hub.store import Store
from hub.tables import feedback, prompts, results, sessions, steps, summaries, turns

_TITLE_CHARS_MAX = 80
_RESULTS_MAX = 50

RESULT_CHARS_MAX = 2_000_000
"""How much of one long tool result is kept."""


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
            left: dict[str, list[Any]] = {}
            for row in connection.execute(select(steps).order_by(steps.c.run_id, steps.c.n)).mappings():
                left.setdefault(row["run_id"], []).append(row)
            closed = []
            for run_id, rows in left.items():
                if _exists(connection, turns.c.run_id, run_id):
                    connection.execute(delete(steps).where(steps.c.run_id == run_id))
                    continue
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
            row = connection.execute(select(turns).where(turns.c.run_id == run_id)).mappings().first()
            return _turn(row) if row else None

        found = await self._store.read(work)
        if found is None:
            raise UnknownName(f"there is no run {run_id!r}")
        return found

    async def traces(self, wanted: Filter) -> list[TurnEntry]:
        """The turns that pass a filter, the newest first, without what was said in them."""
        return await self._store.read(lambda connection: traces.entries(connection, wanted))

    async def search(self, words: Sequence[str], wanted: Filter) -> list[Found]:
        """The turns that pass a filter and hold all of these words, the newest first."""
        return await self._store.read(lambda connection: traces.search(connection, words, wanted))

    async def run_id_of(self, prefix: str) -> str:
        """The run that an id, or the beginning of one, means; the newest of all when it is empty.

        Raises:
            UnknownName: There is none, or there are several.
        """
        return await self._store.read(lambda connection: traces.run_id_of(connection, prefix))

    async def intents(self, episode_ids: Sequence[str]) -> dict[str, str]:
        """What recalled episodes are about, as far as they are still remembered."""
        return await self._store.read(lambda connection: traces.intents(connection, episode_ids))

    async def page(
        self, after: tuple[float, str], limit: int, *, session_id: str | None = None
    ) -> list[Turn]:
        """Turns of all sessions in the order they started, a page at a time.

        Args:
            after: `started_at` and `run_id` of the last turn of the page before; `(0, "")` for the first.
            limit: How many at most; fewer mean that there are no more.
            session_id: Only this session's.
        """

        def work(connection: Connection) -> list[Turn]:
            query = (
                select(turns)
                .where(tuple_(turns.c.started_at, turns.c.run_id) > after)
                .order_by(turns.c.started_at, turns.c.run_id)
                .limit(limit)
            )
            if session_id is not None:
                query = query.where(turns.c.session_id == session_id)
            return [_turn(row) for row in connection.execute(query).mappings()]

        return await self._store.read(work)

    async def rewards(self, judged: Sequence[Turn | TurnEntry]) -> dict[str, float]:
        """What feedback on turns, or on what was recalled for them, came to on average, by run."""
        recalls = {turn.recall_id: turn.run_id for turn in judged if turn.recall_id}

        def work(connection: Connection) -> dict[str, float]:
            found: dict[str, list[float]] = {}
            query = select(feedback.c.run_id, feedback.c.recall_id, feedback.c.reward).where(
                feedback.c.void.is_(False),
                or_(
                    feedback.c.run_id.in_([turn.run_id for turn in judged]),
                    feedback.c.recall_id.in_(recalls),
                ),
            )
            for run_id, recall_id, reward in connection.execute(query):
                found.setdefault(run_id or recalls[recall_id], []).append(reward)
            return {run_id: sum(rewards) / len(rewards) for run_id, rewards in found.items()}

        return await self._store.read(work)

    async def prompt(self, digest: str) -> Prompt:
        """The system prompt and tools that a turn's `prompt` names.

        Raises:
            UnknownName: There is no such prompt.
        """

        def work(connection: Connection) -> Prompt | None:
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
            gone = connection.execute(delete(sessions).where(sessions.c.session_id == session_id))
            connection.execute(delete(results).where(results.c.session_id == session_id))
            used = select(turns.c.prompt).where(turns.c.prompt.is_not(None))
            connection.execute(delete(prompts).where(prompts.c.digest.not_in(used)))
            return gone.rowcount > 0

        if not await self._store.write(work):
            raise UnknownName(f"there is no session {session_id!r}. `hub sessions list` names them")
        # What a person deletes must not linger in the write-ahead log.
        await self._store.checkpoint()

    async def keep_result(self, session_id: str, run_id: str, name: str, text: str) -> str:
        """Keep a tool result that is too long for a model to read whole; a session's oldest make room.

        Args:
            session_id: The session.
            run_id: The turn it belongs to.
            name: The tool it came from.
            text: All of it, as far as `RESULT_CHARS_MAX`.

        Returns:
            The name under which `result` finds it.
        """
        result_id = f"res_{uuid.uuid4().hex[:16]}"
        row = {
            "result_id": result_id,
            "session_id": session_id,
            "run_id": run_id,
            "at": self._clock.now(),
            "name": name,
            "text": text[:RESULT_CHARS_MAX],
        }

        def work(connection: Connection) -> None:
            connection.execute(results.insert(), row)
            latest = (
                select(results.c.result_id)
                .where(results.c.session_id == session_id)
                .order_by(results.c.at.desc())
                .limit(_RESULTS_MAX)
            )
            connection.execute(
                delete(results).where(
                    results.c.session_id == session_id, results.c.result_id.not_in(latest.scalar_subquery())
                )
            )

        await self._store.write(work)
        return result_id

    async def result(self, result_id: str, session_id: str | None = None) -> str:
        """A kept tool result.

        Args:
            result_id: Its name.
            session_id: Only if it is this session's; whatever session it belongs to when None.

        Raises:
            UnknownName: There is no such result, or it had to make room.
        """

        def work(connection: Connection) -> str | None:
            query = select(results.c.text).where(results.c.result_id == result_id)
            if session_id is not None:
                query = query.where(results.c.session_id == session_id)
            return connection.execute(query).scalar()

        text = await self._store.read(work)
        if text is None:
            of = "" if session_id is None else f" in session {session_id!r}"
            raise UnknownName(
                f"there is no result {result_id!r}{of}; a session keeps its latest {_RESULTS_MAX}"
            )
        return text

    async def cost_usd(self, *, session_id: str | None = None, since: float = 0.0) -> float:
        """What turns have cost, as far as prices are known.

        Args:
            session_id: Only this session's; all when None.
            since: Only turns that started at or after this moment.
        """

        def work(connection: Connection) -> float:
            query = select(func.sum(turns.c.usage["cost_usd"].as_float())).where(turns.c.started_at >= since)
            if session_id is not None:
                query = query.where(turns.c.session_id == session_id)
            return float(connection.execute(query).scalar() or 0.0)

        return await self._store.read(work)

    async def summarise(self, session_id: str, summary: Summary) -> None:
        """Keep what later prompts say instead of the turns up to `summary.seq`; the turns stay."""
        now = self._clock.now()

        def work(connection: Connection) -> None:
            connection.execute(
                delete(summaries).where(summaries.c.session_id == session_id, summaries.c.seq == summary.seq)
            )
            connection.execute(
                summaries.insert(),
                {"session_id": session_id, "seq": summary.seq, "at": now, "text": summary.text},
            )

        await self._store.write(work)

    def _insert(self, connection: Connection, turn: Turn, now: float) -> int:
        session_id = turn.session_id
        known = connection.execute(
            update(sessions).where(sessions.c.session_id == session_id).values(updated_at=now)
        )
        if not known.rowcount:
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
        if seq > self._window_turns:
            connection.execute(
                delete(turns).where(turns.c.session_id == session_id, turns.c.seq <= seq - self._window_turns)
            )
        return seq


def _exists(connection: Connection, column: Any, value: object) -> bool:
    return connection.execute(select(column).where(column == value).limit(1)).first() is not None


def _latest(connection: Connection, session_id: str, count: int, after_seq: int) -> list[Turn]:
    """The latest turns of a session after a place in it, oldest first."""
    query = (
        select(turns)
        .where(turns.c.session_id == session_id, turns.c.seq > after_seq)
        .order_by(turns.c.seq.desc())
        .limit(count)
    )
    return [_turn(row) for row in connection.execute(query).mappings()][::-1]


def _summary(connection: Connection, session_id: str) -> Summary | None:
    """The latest summary of a session."""
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
