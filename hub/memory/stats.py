"""What a memory says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from hub.memory import value
from hub.memory.episode import Scope
from hub.tables import episodes, feedback

if TYPE_CHECKING:
    from sqlalchemy import Connection

BEST = 5
"""How many of the most helpful episodes are named."""


@dataclass(frozen=True, slots=True)
class Stats:
    """How much is remembered, how it is searched, and what was learned.

    Attributes:
        episodes: How many, by scope.
        index: `ready`, `rebuilding`, `opening`, `failed`, or `off` without a sentence model.
        embedder: The sentence model's id, or None.
        degraded: What is missing for a full search, for a person; None when nothing is.
        judgements: How many, by source.
        judged: How many episodes were ever judged.
        value_mean: The mean learned value of those; None when there are none.
        most_helpful: Ids and values of the best.
    """

    episodes: dict[str, int]
    index: str
    embedder: str | None
    degraded: str | None
    judgements: dict[str, int]
    judged: int
    value_mean: float | None
    most_helpful: list[tuple[str, float]] = field(default_factory=list)


def read(connection: Connection, *, index: str, embedder: str | None, degraded: str | None) -> Stats:
    """Count what the store holds."""
    living = episodes.c.deleted_at.is_(None)
    counts = connection.execute(
        select(episodes.c.scope_kind, episodes.c.scope_key, func.count())
        .where(living)
        .group_by(episodes.c.scope_kind, episodes.c.scope_key)
    )
    judged, mean = connection.execute(
        select(func.count(), func.avg(episodes.c.q_value)).where(living, episodes.c.visits > 0)
    ).one()
    best = connection.execute(
        select(episodes.c.episode_id, episodes.c.q_value)
        .where(living, episodes.c.visits > 0, episodes.c.q_value > value.Q_UNKNOWN)
        .order_by(episodes.c.q_value.desc(), episodes.c.id)
        .limit(BEST)
    )
    sources = connection.execute(
        select(feedback.c.source, func.count()).where(feedback.c.void.is_(False)).group_by(feedback.c.source)
    )
    return Stats(
        episodes={str(Scope(kind, key)): count for kind, key, count in counts},
        index=index,
        embedder=embedder,
        degraded=degraded,
        judgements={row[0]: row[1] for row in sources},
        judged=judged,
        value_mean=mean,
        most_helpful=[(row[0], row[1]) for row in best],
    )
