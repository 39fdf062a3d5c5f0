"""Old turns of a session become one episode, which says in few words what they were about.

Done by rule, without a model: what was asked, which tools were used and how that went,
and how it ended. The session's marker moves in the same transaction in which the
episode is kept, so that no turn is consolidated twice or forgotten in between. The
turns themselves stay on record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from hub.memory.episode import Provenance, Scope
from hub.memory.storing import Draft
from hub.tables import episodes, sessions, turns

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

LINE_CHARS = 240
"""How much of one question or answer is kept."""
TOOLS_MAX = 6
"""How many tools of one turn are named."""
INTENT_CHARS = 400
"""How much of all the questions stands for the intent."""


def draft(
    connection: Connection, session_id: str, threshold: int, take: int, chars_max: int
) -> tuple[Draft, int] | None:
    """The episode that a session's oldest open turns make, and the turn up to which it reaches.

    Args:
        threshold: With fewer open turns there is nothing to do.
        take: How many turns become one episode.
        chars_max: How long the episode may be.

    Returns:
        None when there is nothing to do.
    """
    marker = connection.execute(
        select(sessions.c.consolidated_seq).where(sessions.c.session_id == session_id)
    ).scalar()
    if marker is None:
        return None
    of_it = (turns.c.session_id == session_id, turns.c.seq > marker)
    count = connection.execute(select(func.count()).select_from(turns).where(*of_it)).scalar() or 0
    if count < threshold:
        return None
    rows = connection.execute(select(turns).where(*of_it).order_by(turns.c.seq).limit(take)).all()
    return _draft(connection, session_id, rows, chars_max), rows[-1].seq


def mark(connection: Connection, session_id: str, reached: int) -> bool:
    """Move a session's marker; false when somebody has moved it as far already."""
    moved = connection.execute(
        update(sessions)
        .where(sessions.c.session_id == session_id, sessions.c.consolidated_seq < reached)
        .values(consolidated_seq=reached)
    )
    return moved.rowcount == 1


def _draft(connection: Connection, session_id: str, rows: Sequence[Row[Any]], chars_max: int) -> Draft:
    questions = list(dict.fromkeys(_line(row.input) for row in rows))
    intent = "; ".join(questions)
    said = "\n".join(_turn(row) for row in rows)
    parents = connection.execute(
        select(episodes.c.episode_id).where(
            episodes.c.run_id.in_([row.run_id for row in rows]), episodes.c.deleted_at.is_(None)
        )
    )
    last = rows[-1]
    project = last.caller.get("project") if isinstance(last.caller, dict) else None
    outcome = _line(last.output or last.status)
    room = chars_max - INTENT_CHARS - len(outcome)
    return Draft(
        experience=said if len(said) <= room else said[:room].rsplit("\n", 1)[0],
        intent=intent if len(intent) <= INTENT_CHARS else intent[:INTENT_CHARS].rsplit(" ", 1)[0],
        outcome=outcome,
        scope=None if project else Scope("session", session_id),
        provenance=Provenance(project=project, source="consolidated"),
        happened_at=last.ended_at or last.started_at,
        parent_ids=tuple(parents.scalars()),
    )


def _turn(row: Row[Any]) -> str:
    """What one turn was about."""
    parts = [f"Asked: {_line(row.input)}"]
    calls = [call for call in row.tool_calls if isinstance(call, dict) and "name" in call]
    if calls:
        named = [f"{call['name']}{'' if call.get('ok', True) else ' (failed)'}" for call in calls]
        shown = list(dict.fromkeys(named))[:TOOLS_MAX]
        parts.append(f"Used: {', '.join(shown)}")
    parts.append(f"Answered: {_line(row.output)}" if row.output else f"Ended: {row.status}")
    return " | ".join(parts)


def _line(text: str) -> str:
    """A text as one short line."""
    line = " ".join(text.split())
    return line if len(line) <= LINE_CHARS else line[:LINE_CHARS].rsplit(" ", 1)[0] + " …"
