"""Looking through the turns of all sessions: by what is known of them, or by what was said in them.

Queries for the store's thread, the newest turn first. A list never reads the messages
of a turn; a search reads those of the turns that it found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Text, func, or_, select, type_coerce

from hub.errors import UnknownName
from hub.sessions.turn import Filter, Found, TurnEntry
from hub.tables import episodes, turns

_INPUT_CHARS_MAX = 400
"""How much of a message a list holds."""
_EXCERPT_CHARS = 200
_EXCERPT_BEFORE_CHARS = 60
_NAMED_MAX = 5
"""How many runs are named when a prefix means several."""

_ENTRY = (
    turns.c.run_id,
    turns.c.session_id,
    turns.c.seq,
    turns.c.started_at,
    turns.c.ended_at,
    turns.c.status,
    func.substr(turns.c.input, 1, _INPUT_CHARS_MAX).label("input"),
    turns.c.tool_calls,
    turns.c.usage,
    turns.c.model,
    turns.c.recall_id,
    turns.c.error,
)


def entries(connection: Connection, wanted: Filter) -> list[TurnEntry]:
    """The turns that pass a filter."""
    return [TurnEntry(**row) for row in connection.execute(_newest(wanted, *_ENTRY)).mappings()]


def search(connection: Connection, words: Sequence[str], wanted: Filter) -> list[Found]:
    """The turns that pass a filter and hold all of these words somewhere; case counts for A to Z only."""
    query = _newest(wanted, *_ENTRY, turns.c.messages, turns.c.input.label("said"), turns.c.output)
    for word in words:
        # Messages are kept as ASCII JSON, in which every other letter is escaped.
        escaped = json.dumps(word)[1:-1]
        query = query.where(
            or_(
                turns.c.input.icontains(word, autoescape=True),
                turns.c.output.icontains(word, autoescape=True),
                turns.c.error.icontains(word, autoescape=True),
                type_coerce(turns.c.messages, Text).icontains(escaped, autoescape=True),
            )
        )
    found = []
    for row in connection.execute(query).mappings():
        columns = dict(row)
        messages, said, output = (columns.pop(name) for name in ("messages", "said", "output"))
        texts = list(_texts(messages, said, output, row["error"]))
        found.append(Found(TurnEntry(**columns), *_excerpt(texts, words)))
    return found


def run_id_of(connection: Connection, prefix: str) -> str:
    """The run that an id, or the beginning of one, means; the newest of all when it is empty.

    Raises:
        UnknownName: There is none, or there are several.
    """
    if not prefix:
        newest = connection.execute(_newest(Filter(limit=1), turns.c.run_id)).scalar()
        if newest is None:
            raise UnknownName("no turn is on record yet")
        return str(newest)
    query = select(turns.c.run_id).where(turns.c.run_id.startswith(prefix, autoescape=True))
    found = [str(run_id) for run_id in connection.execute(query.limit(_NAMED_MAX)).scalars()]
    if len(found) == 1 or prefix in found:
        return prefix if prefix in found else found[0]
    if not found:
        raise UnknownName(f"there is no run {prefix!r}. `hub traces list` names them")
    raise UnknownName(f"several runs begin with {prefix!r}: {', '.join(found)}")


def intents(connection: Connection, episode_ids: Sequence[str]) -> dict[str, str]:
    """What these episodes are about, as far as they are still remembered."""
    query = select(episodes.c.episode_id, episodes.c.intent).where(
        episodes.c.episode_id.in_(episode_ids), episodes.c.deleted_at.is_(None)
    )
    return {row.episode_id: row.intent for row in connection.execute(query)}


def _newest(wanted: Filter, *columns: Any) -> Any:
    query = select(*columns).order_by(turns.c.started_at.desc(), turns.c.run_id.desc()).limit(wanted.limit)
    if wanted.session_id is not None:
        query = query.where(turns.c.session_id == wanted.session_id)
    if wanted.statuses:
        query = query.where(turns.c.status.in_(wanted.statuses))
    if wanted.since is not None:
        query = query.where(turns.c.started_at >= wanted.since)
    return query


def _texts(
    messages: Sequence[Any], said: str, output: str | None, error: str | None
) -> Iterator[tuple[str, str]]:
    """Everything said in a turn, each with who said it."""
    yield "user", said
    names: dict[str, str] = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            names[call["id"]] = call["function"]["name"]
            yield call["function"]["name"], call["function"]["arguments"]
        who = names.get(message.get("tool_call_id"), message["role"])
        yield who, str(message.get("content") or "")
    yield "assistant", output or ""
    yield "error", error or ""


def _excerpt(texts: Sequence[tuple[str, str]], words: Sequence[str]) -> tuple[str, str]:
    """Who said the first of the words that can be shown, and what stands around it."""
    for word in words:
        for who, text in texts:
            at = text.lower().find(word.lower())
            if at >= 0:
                start = max(0, at - _EXCERPT_BEFORE_CHARS)
                part = " ".join(text[start : start + _EXCERPT_CHARS].split())
                before, after = "…" if start else "", "…" if start + _EXCERPT_CHARS < len(text) else ""
                return who, f"{before}{part}{after}"
    return "", ""
