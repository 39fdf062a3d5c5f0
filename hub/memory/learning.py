"""Learning from feedback: who judged what, how the judgement is shared out, what it changes.

Every judgement is one row of an append-only log, and every share of it another; an
episode's value is a replay of its shares. Nothing is learned from an unknown outcome,
and making an episode is no success.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import delete, func, insert, select, update

from hub.memory import value
from hub.tables import credits, episodes, feedback, intent_values, intents, recall_hits, recalls

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

RECALLS_MAX = 20_000
"""How many recalls are kept, so that feedback can name them."""
INTENTS_MAX = 20_000
"""How many judged intents are kept; the one judged longest ago makes room."""


@dataclass(frozen=True, slots=True)
class RecallRecord:
    """A recall as it is kept: what it returned, and for which query, as a vector."""

    recall_id: str
    at: float
    client: str | None
    run_id: str | None
    embedder: str | None
    vector: NDArray[Any] | None
    hits: tuple[tuple[int, float], ...]
    """Keys and scores, best first."""


@dataclass(frozen=True, slots=True)
class Share:
    """One episode's part of a judgement: the weight is 1 for an episode known to have been used."""

    key: int
    weight: float


def shares(ranked: Sequence[int], used: Sequence[int] | None) -> list[Share]:
    """Share a judgement among what a recall returned.

    Args:
        ranked: The recall's episodes, best first.
        used: Those that were used, when that is known: they get all of it, the others none.
            Otherwise it is shared by rank, 1/1, 1/2, 1/3 …, scaled to sum to 1.
    """
    if used is not None:
        return [Share(key, 1.0) for key in used]
    whole = sum(1 / rank for rank in range(1, len(ranked) + 1))
    return [Share(key, 1 / rank / whole) for rank, key in enumerate(ranked, 1)]


def record(connection: Connection, pending: Sequence[RecallRecord]) -> None:
    """Keep recalls, and let go of the oldest beyond `RECALLS_MAX`."""
    if not pending:
        return
    living = set(
        connection.execute(
            select(episodes.c.id).where(
                episodes.c.id.in_({key for entry in pending for key, _ in entry.hits})
            )
        ).scalars()
    )
    connection.execute(
        insert(recalls),
        [
            {
                "recall_id": entry.recall_id,
                "at": entry.at,
                "client": entry.client,
                "run_id": entry.run_id,
                "embedder": entry.embedder,
                "vector": None if entry.vector is None else entry.vector.astype("<f4").tobytes(),
            }
            for entry in pending
        ],
    )
    hits = [
        {"recall_id": entry.recall_id, "rank": rank, "id": key, "score": score}
        for entry in pending
        for rank, (key, score) in enumerate(entry.hits, 1)
        if key in living
    ]
    if hits:
        connection.execute(insert(recall_hits), hits)
    surplus = (connection.execute(select(func.count()).select_from(recalls)).scalar() or 0) - RECALLS_MAX
    if surplus > 0:
        oldest = select(recalls.c.recall_id).order_by(recalls.c.at).limit(surplus)
        connection.execute(delete(recalls).where(recalls.c.recall_id.in_(oldest)))


def recall_named(connection: Connection, recall_id: str) -> RecallRecord | None:
    """A kept recall."""
    row = connection.execute(select(recalls).where(recalls.c.recall_id == recall_id)).first()
    return None if row is None else _record(connection, row)


def recalls_of_run(connection: Connection, run_id: str) -> list[RecallRecord]:
    """What a run recalled, oldest first."""
    rows = connection.execute(select(recalls).where(recalls.c.run_id == run_id).order_by(recalls.c.at))
    return [_record(connection, row) for row in rows.all()]


def episodes_of_run(connection: Connection, run_id: str) -> list[int]:
    """What a run stored."""
    return list(
        connection.execute(
            select(episodes.c.id).where(episodes.c.run_id == run_id, episodes.c.deleted_at.is_(None))
        ).scalars()
    )


def judgements_since(connection: Connection, source: str, since: float) -> int:
    """How many judgements a source has made since a moment."""
    count = connection.execute(
        select(func.count()).where(feedback.c.source == source, feedback.c.at >= since)
    )
    return count.scalar() or 0


def judge(
    connection: Connection,
    *,
    at: float,
    source: str,
    reward: float,
    recall_id: str | None,
    run_id: str | None,
    intent: int | None,
    shared: Sequence[Share],
    learning_rate: float,
) -> dict[int, tuple[float, float]]:
    """Write one judgement down and move the values it touches; returns them as (before, after) by key."""
    row = connection.execute(
        insert(feedback).values(
            at=at, source=source, reward=reward, recall_id=recall_id, run_id=run_id, intent=intent
        )
    )
    assert row.inserted_primary_key is not None
    judgement: int = row.inserted_primary_key[0]
    before = {
        row.id: row.q_value
        for row in connection.execute(
            select(episodes.c.id, episodes.c.q_value).where(
                episodes.c.id.in_([share.key for share in shared]), episodes.c.deleted_at.is_(None)
            )
        )
    }
    changed = {}
    for share in shared:
        if share.key not in before:
            continue
        after = value.moved(before[share.key], reward, learning_rate, share.weight)
        changed[share.key] = (before[share.key], after)
        connection.execute(
            insert(credits).values(feedback=judgement, id=share.key, reward=reward, weight=share.weight)
        )
        connection.execute(
            update(episodes)
            .where(episodes.c.id == share.key)
            .values(
                q_value=after,
                q_updated_at=at,
                visits=episodes.c.visits + 1,
                successes=episodes.c.successes + int(reward > value.SUCCESS),
                failures=episodes.c.failures + int(reward < value.SUCCESS),
            )
        )
        if intent is not None:
            _visit(connection, intent, share, reward)
    return changed


def put_intent(connection: Connection, embedder: str, vector: NDArray[Any], at: float) -> int:
    """Keep a judged intent; returns its key."""
    row = connection.execute(
        insert(intents).values(
            embedder=embedder, vector=vector.astype("<f4").tobytes(), created_at=at, updated_at=at
        )
    )
    assert row.inserted_primary_key is not None
    key: int = row.inserted_primary_key[0]
    return key


def values_near(
    connection: Connection, near: Sequence[int], keys: Sequence[int]
) -> dict[int, list[tuple[int, float, float]]]:
    """What was learned about episodes at some intents: by episode key, (intent, visits, rewards)."""
    rows = connection.execute(
        select(intent_values).where(intent_values.c.intent.in_(near), intent_values.c.id.in_(keys))
    )
    out: dict[int, list[tuple[int, float, float]]] = {}
    for row in rows:
        out.setdefault(row.id, []).append((row.intent, row.visits, row.rewards))
    return out


def helpful_at(connection: Connection, near: Mapping[int, float], limit: int) -> list[int]:
    """Episodes that helped with some intents, those of the nearest intent first.

    Args:
        near: Cosines of the intents by key.
        limit: How many at most.
    """
    rows = connection.execute(
        select(intent_values).where(
            intent_values.c.intent.in_(list(near)),
            intent_values.c.rewards > value.SUCCESS * intent_values.c.visits,
        )
    ).all()
    ranked = sorted(rows, key=lambda row: -near[row.intent] * row.rewards / row.visits)
    return list(dict.fromkeys(row.id for row in ranked))[:limit]


class Intents:
    """The judged intents of one embedder, in memory, to compare a query with."""

    def __init__(self, dimension: int) -> None:
        self._keys: list[int] = []
        self._matrix = np.empty((0, dimension), dtype=np.float32)

    @staticmethod
    def read(connection: Connection, embedder: str, dimension: int) -> Intents:
        """All intents in the store."""
        rows = connection.execute(
            select(intents.c.id, intents.c.vector)
            .where(intents.c.embedder == embedder)
            .order_by(intents.c.id)
        ).all()
        out = Intents(dimension)
        out._keys = [row.id for row in rows]
        out._matrix = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f4").reshape(-1, dimension)
        return out

    def cosines(self, vector: NDArray[Any], floor: float) -> dict[int, float]:
        """The intents above a cosine, by key."""
        if not self._keys:
            return {}
        cosines = self._matrix @ vector
        return {self._keys[row]: float(cosines[row]) for row in np.flatnonzero(cosines > floor)}

    def add(self, key: int, vector: NDArray[Any]) -> None:
        self._keys.append(key)
        self._matrix = np.concatenate([self._matrix, vector[None, :]])


def _visit(connection: Connection, intent: int, share: Share, reward: float) -> None:
    where = (intent_values.c.intent == intent, intent_values.c.id == share.key)
    moved = connection.execute(
        update(intent_values)
        .where(*where)
        .values(
            visits=intent_values.c.visits + share.weight,
            rewards=intent_values.c.rewards + share.weight * reward,
        )
    )
    if moved.rowcount == 0:
        connection.execute(
            insert(intent_values).values(
                intent=intent, id=share.key, visits=share.weight, rewards=share.weight * reward
            )
        )


def _record(connection: Connection, row: Any) -> RecallRecord:
    hits = connection.execute(
        select(recall_hits.c.id, recall_hits.c.score)
        .where(recall_hits.c.recall_id == row.recall_id)
        .order_by(recall_hits.c.rank)
    ).all()
    vector = None if row.vector is None else np.frombuffer(row.vector, dtype="<f4")
    return RecallRecord(
        row.recall_id,
        row.at,
        row.client,
        row.run_id,
        row.embedder,
        vector,
        tuple((hit.id, hit.score) for hit in hits),
    )
