"""Housekeeping: what has shown its use is promoted, what never did is set aside.

Nothing is deleted here. What is set aside is neither recalled nor listed, can be brought
back for some weeks, and is forgotten for good after that. Pinned episodes and facts are
never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, func, select, update

from hub.memory import episodes as rows
from hub.memory import fulltext, hygiene
from hub.memory.episode import Episode, Scope
from hub.memory.telling import rendered
from hub.tables import episodes, recall_hits

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

USELESS_VISITS = 3
"""After so many judgements an episode has had its chance."""
USELESS_VALUE = 0.3
"""At this value and below it is of no use."""
UNSEEN_DAYS = 90.0
"""After so many days in which no recall returned it, an episode that was never judged is not needed."""
PROMOTED_SUCCESSES = 2
"""An episode of a session that helped so often is worth more than the session."""
BATCH = 500
"""How many episodes one tidying touches at most."""

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Tidied:
    """What a tidying did, or would do.

    Attributes:
        set_aside: Ids with the reason for each.
        promoted: Ids with the scope that each went to.
    """

    set_aside: dict[str, str]
    promoted: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, by key."""

    set_aside: dict[int, str]
    promoted: dict[int, Scope]


def plan(connection: Connection, now: float) -> Plan:
    """What housekeeping would do now."""
    unseen = now - UNSEEN_DAYS * DAY_S
    useless = and_(episodes.c.visits >= USELESS_VISITS, episodes.c.q_value <= USELESS_VALUE)
    unneeded = and_(
        episodes.c.visits == 0,
        episodes.c.seen == 1,
        episodes.c.updated_at < unseen,
        ~exists().where(recall_hits.c.id == episodes.c.id),
    )
    aside = {}
    for condition, reason in (
        (useless, f"judged {USELESS_VISITS} times or more, and of no use"),
        (unneeded, f"in {UNSEEN_DAYS:g} days neither recalled nor judged nor stored again"),
    ):
        found = connection.execute(select(episodes.c.id).where(_may_go(), condition).limit(BATCH))
        aside.update(dict.fromkeys(found.scalars(), reason))
    helpful = connection.execute(
        select(episodes.c.id, episodes.c.project)
        .where(
            episodes.c.scope_kind == "session",
            episodes.c.deleted_at.is_(None),
            episodes.c.successes >= PROMOTED_SUCCESSES,
            episodes.c.successes > episodes.c.failures,
        )
        .limit(BATCH)
    )
    promoted = {key: Scope("project", project) for key, project in helpful if project}
    return Plan(aside, promoted)


def least_worth(connection: Connection, count: int) -> list[int]:
    """The episodes that would be missed least, for when there are too many: bad ones, then old ones."""
    found = connection.execute(
        select(episodes.c.id)
        .where(_may_go())
        .order_by(episodes.c.q_value, episodes.c.updated_at)
        .limit(count)
    )
    return list(found.scalars())


def set_aside(connection: Connection, keys: Sequence[int], at: float) -> None:
    """Take episodes out of every search."""
    connection.execute(update(episodes).where(episodes.c.id.in_(keys)).values(deleted_at=at))
    fulltext.delete(connection, keys)


def bring_back(connection: Connection, episode_ids: Iterable[str]) -> list[rows.Kept]:
    """Put episodes that were set aside back into every search; returns them."""
    known = rows.keys_of(connection, episode_ids)
    away = connection.execute(
        select(episodes.c.id).where(episodes.c.id.in_(known.values()), episodes.c.deleted_at.is_not(None))
    )
    keys = list(away.scalars())
    connection.execute(update(episodes).where(episodes.c.id.in_(keys)).values(deleted_at=None))
    back = list(rows.by_keys(connection, keys).values())
    for kept in back:
        fulltext.put(connection, kept.key, kept.episode.scope, rendered(kept.episode), "")
    return back


def overdue(connection: Connection, before: float) -> list[int]:
    """What was set aside so long ago that it is to be forgotten."""
    return list(
        connection.execute(select(episodes.c.id).where(episodes.c.deleted_at < before).limit(BATCH)).scalars()
    )


def promote(connection: Connection, key: int, scope: Scope, at: float) -> Episode | None:
    """Move an episode to another scope; returns it as it is there, None when the same is there already."""
    (kept,) = rows.by_keys(connection, [key]).values()
    same = connection.execute(
        select(episodes.c.id).where(
            episodes.c.scope_kind == scope.kind,
            episodes.c.scope_key == scope.key,
            episodes.c.gist == hygiene.gist(rendered(kept.episode)),
            episodes.c.deleted_at.is_(None),
        )
    ).first()
    if same is not None:
        return None
    connection.execute(
        update(episodes)
        .where(episodes.c.id == key)
        .values(scope_kind=scope.kind, scope_key=scope.key, thread=None, position=None, updated_at=at)
    )
    fulltext.delete(connection, [key])
    (moved,) = rows.by_keys(connection, [key]).values()
    fulltext.put(connection, key, scope, rendered(moved.episode), "")
    return moved.episode


def living(connection: Connection) -> int:
    """How many episodes there are, without those that were set aside."""
    counted = select(func.count()).select_from(episodes).where(episodes.c.deleted_at.is_(None))
    return connection.execute(counted).scalar() or 0


def _may_go() -> ColumnElement[bool]:
    return and_(
        episodes.c.deleted_at.is_(None),
        episodes.c.pinned.is_(False),
        episodes.c.kind == "episode",
    )
