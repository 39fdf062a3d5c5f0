"""Past queries that were judged: in the store, and in memory to compare a query with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import delete, insert, select, update

from hub.memory import value
from hub.tables import intent_values, intents

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

INTENTS_MAX = 20_000
"""How many judged intents are kept; the ones judged longest ago make room."""


class Intents:
    """The judged intents of one embedder, in memory.

    Args:
        keys: Their keys in the store.
        matrix: Their vectors, shape (n, dimension), float32, unit length.
    """

    def __init__(self, keys: Sequence[int], matrix: NDArray[Any]) -> None:
        self._keys = list(keys)
        self._matrix = matrix

    @classmethod
    def read(cls, connection: Connection, embedder: str, dimension: int) -> Intents:
        """All intents in the store that this embedder made, the latest `INTENTS_MAX` at most."""
        rows = connection.execute(
            select(intents.c.id, intents.c.vector)
            .where(intents.c.embedder == embedder)
            .order_by(intents.c.updated_at.desc())
            .limit(INTENTS_MAX)
        ).all()[::-1]
        matrix = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f4")
        return cls([row.id for row in rows], matrix.reshape(-1, dimension))

    def cosines(self, vector: NDArray[Any], floor: float) -> dict[int, float]:
        """The intents at or above a cosine with a query: cosines by key."""
        if not self._keys:
            return {}
        cosines = self._matrix @ vector
        return {self._keys[row]: float(cosines[row]) for row in np.flatnonzero(cosines >= floor)}

    def nearest(self, vector: NDArray[Any], floor: float) -> int | None:
        """The intent nearest to a query, if one is at or above a cosine."""
        near = self.cosines(vector, floor)
        return max(near, key=near.__getitem__) if near else None

    def add(self, key: int, vector: NDArray[Any]) -> None:
        """Take up an intent that the store has committed."""
        self._keys.append(key)
        self._matrix = np.concatenate([self._matrix, vector[None, :]])

    def become(self, other: Intents) -> None:
        """Hold what another holds."""
        self._keys = other._keys
        self._matrix = other._matrix

    def drop(self, keys: Sequence[int]) -> None:
        """Let go of intents that the store has deleted."""
        gone = set(keys)
        staying = [row for row, key in enumerate(self._keys) if key not in gone]
        self._keys = [self._keys[row] for row in staying]
        self._matrix = self._matrix[staying]

    def surplus(self) -> list[int]:
        """The intents beyond `INTENTS_MAX`: the first taken up, of those in memory."""
        return self._keys[: max(0, len(self._keys) - INTENTS_MAX)]


def put(connection: Connection, text: str, embedder: str, vector: NDArray[Any], at: float) -> int:
    """Keep a judged intent; returns its key."""
    row = connection.execute(
        insert(intents).values(
            text=text,
            embedder=embedder,
            vector=vector.astype("<f4").tobytes(),
            created_at=at,
            updated_at=at,
        )
    )
    assert row.inserted_primary_key is not None
    key: int = row.inserted_primary_key[0]
    return key


def touch(connection: Connection, key: int, at: float) -> None:
    """Note that an intent was judged again."""
    connection.execute(update(intents).where(intents.c.id == key).values(updated_at=at))


def remove(connection: Connection, keys: Sequence[int]) -> None:
    """Delete intents with what was learned about them."""
    connection.execute(delete(intents).where(intents.c.id.in_(keys)))


def forget(connection: Connection, keys: Sequence[int]) -> list[int]:
    """Delete what was learned about episodes, and intents about which nothing is left; returns those."""
    at = connection.execute(select(intent_values.c.intent).where(intent_values.c.id.in_(keys)).distinct())
    touched = list(at.scalars())
    connection.execute(delete(intent_values).where(intent_values.c.id.in_(keys)))
    staying = connection.execute(
        select(intent_values.c.intent).where(intent_values.c.intent.in_(touched)).distinct()
    )
    gone = list(set(touched) - set(staying.scalars()))
    remove(connection, gone)
    return gone


def foreign(connection: Connection, embedder: str, limit: int) -> list[tuple[int, str]]:
    """Intents whose vector another embedder made: keys and texts."""
    rows = connection.execute(
        select(intents.c.id, intents.c.text).where(intents.c.embedder != embedder).limit(limit)
    )
    return [(row.id, row.text) for row in rows]


def put_vector(connection: Connection, key: int, embedder: str, vector: NDArray[Any]) -> None:
    """Replace an intent's vector."""
    connection.execute(
        update(intents)
        .where(intents.c.id == key)
        .values(embedder=embedder, vector=vector.astype("<f4").tobytes())
    )


def visit(connection: Connection, intent: int, key: int, weight: float, reward: float) -> None:
    """Add one share of a judgement to what is known about an episode at an intent."""
    where = (intent_values.c.intent == intent, intent_values.c.id == key)
    moved = connection.execute(
        update(intent_values)
        .where(*where)
        .values(visits=intent_values.c.visits + weight, rewards=intent_values.c.rewards + weight * reward)
    )
    if moved.rowcount == 0:
        connection.execute(
            insert(intent_values).values(intent=intent, id=key, visits=weight, rewards=weight * reward)
        )


def values_near(
    connection: Connection, near: Sequence[int], keys: Sequence[int]
) -> dict[int, list[tuple[int, float, float]]]:
    """What was learned about episodes at some intents: by episode key, (intent, visits, rewards)."""
    out: dict[int, list[tuple[int, float, float]]] = {}
    if near and keys:
        rows = connection.execute(
            select(intent_values).where(intent_values.c.intent.in_(near), intent_values.c.id.in_(keys))
        )
        for row in rows:
            out.setdefault(row.id, []).append((row.intent, row.visits, row.rewards))
    return out


def helpful_at(connection: Connection, near: Mapping[int, float], limit: int) -> list[int]:
    """Episodes that helped with some intents, those of the nearest intent first.

    Args:
        near: Cosines of the intents by key.
        limit: How many at most.
    """
    if not near:
        return []
    rows = connection.execute(
        select(intent_values).where(
            intent_values.c.intent.in_(list(near)),
            intent_values.c.rewards > value.SUCCESS * intent_values.c.visits,
        )
    ).all()
    ranked = sorted(rows, key=lambda row: -near[row.intent] * row.rewards / row.visits)
    return list(dict.fromkeys(row.id for row in ranked))[:limit]
