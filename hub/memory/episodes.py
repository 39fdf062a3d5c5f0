"""Episodes in the store: every statement that reads or writes their rows.

Functions take an open connection and belong inside `Store.write` or `Store.read`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import and_, delete, exists, func, insert, or_, select, update

from hub.memory import fulltext, hygiene
from hub.memory.episode import Episode, Provenance, Scope
from hub.memory.telling import digest, rendered
from hub.tables import episodes, vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Connection, Row


@dataclass(frozen=True, slots=True)
class Kept:
    """An episode, its key in the store, and its place in its thread."""

    key: int
    episode: Episode
    position: int | None


@dataclass(frozen=True, slots=True)
class Brief:
    """What ranking needs of an episode; read a hundred times for each recall."""

    key: int
    scope: Scope
    intent: str
    experience: str
    outcome: str | None
    actor: str | None
    thread: str | None
    position: int | None
    happened_at: float
    q_updated_at: float
    visits: int
    direct_visits: float
    direct_rewards: float


def add(connection: Connection, episode: Episode, position: int | None = None) -> int:
    """Insert an episode and its words; returns its key.

    Args:
        position: Its place in its thread; behind the last one when None.
    """
    provenance = episode.provenance
    if position is None:
        position = _next_position(connection, episode)
    row = connection.execute(
        insert(episodes).values(
            episode_id=episode.episode_id,
            kind=episode.kind,
            scope_kind=episode.scope.kind,
            scope_key=episode.scope.key,
            intent=episode.intent,
            experience=episode.experience,
            outcome=episode.outcome,
            subject=episode.subject,
            valid_from=episode.valid_from,
            valid_to=episode.valid_to,
            supersedes=list(episode.supersedes),
            actor=episode.actor,
            thread=episode.thread,
            position=position,
            happened_at=episode.happened_at,
            created_at=episode.created_at,
            updated_at=episode.updated_at,
            digest=digest(episode),
            gist=hygiene.gist(rendered(episode)),
            seen=episode.seen,
            pinned=episode.pinned,
            source=provenance.source,
            client=provenance.client,
            run_id=provenance.run_id,
            project=provenance.project,
            parent_ids=list(episode.parent_ids),
            flags=list(episode.flags),
            meta=episode.meta,
            q_value=episode.q_value,
            q_updated_at=episode.q_updated_at,
            visits=episode.visits,
            successes=episode.successes,
            failures=episode.failures,
            direct_visits=episode.direct_visits,
            direct_rewards=episode.direct_rewards,
        )
    )
    assert row.inserted_primary_key is not None
    key: int = row.inserted_primary_key[0]
    context = _surround_last(connection, episode, position)
    fulltext.put(connection, key, episode.scope, rendered(episode), context)
    return key


def _next_position(connection: Connection, episode: Episode) -> int | None:
    """The place after the last one in the episode's thread."""
    if episode.thread is None:
        return None
    last = select(func.max(episodes.c.position)).where(
        episodes.c.thread == episode.thread, _in_scope(episode.scope)
    )
    return (connection.execute(last).scalar() or 0) + 1


def _surround_last(connection: Connection, episode: Episode, position: int | None) -> str:
    """Tell the episode before in the thread what follows it; returns what stands before the new one."""
    if position is None or position == 1:
        return ""
    rows = connection.execute(
        select(episodes.c.id, episodes.c.position, episodes.c.experience).where(
            episodes.c.thread == episode.thread,
            _in_scope(episode.scope),
            episodes.c.position.in_([position - 1, position - 2]),
            episodes.c.deleted_at.is_(None),
        )
    ).all()
    before = {row.position: row for row in rows}
    last, earlier = before.get(position - 1), before.get(position - 2)
    if last is None:
        return ""
    around = [episode.experience] if earlier is None else [earlier.experience, episode.experience]
    fulltext.surround(connection, last.id, "\n".join(around))
    experience: str = last.experience
    return experience


def put_vector(connection: Connection, key: int, embedder: str, vector: NDArray[Any]) -> None:
    """Keep an episode's vector, in place of any other."""
    connection.execute(delete(vectors).where(vectors.c.id == key))
    connection.execute(
        insert(vectors).values(id=key, embedder=embedder, vector=vector.astype("<f4").tobytes())
    )


def twin(connection: Connection, episode: Episode) -> Kept | None:
    """A living episode of the same scope that says the same."""
    row = connection.execute(
        select(episodes).where(
            episodes.c.scope_kind == episode.scope.kind,
            episodes.c.scope_key == episode.scope.key,
            episodes.c.gist == hygiene.gist(rendered(episode)),
            episodes.c.valid_to.is_(None),
            episodes.c.deleted_at.is_(None),
        )
    ).first()
    return None if row is None else _kept(row)


def supersede(connection: Connection, episode_ids: Sequence[str], at: float) -> list[str]:
    """End facts that a newer one takes the place of; returns the ids of those that there are."""
    known = list(keys_of(connection, episode_ids))
    connection.execute(
        update(episodes)
        .where(episodes.c.episode_id.in_(known), episodes.c.valid_to.is_(None))
        .values(valid_to=at, updated_at=at)
    )
    return known


def facts_about(connection: Connection, subject: str, within: Sequence[Scope]) -> list[Episode]:
    """Every fact about a subject, those that no longer hold included, oldest first."""
    rows = connection.execute(
        select(episodes)
        .where(
            func.lower(episodes.c.subject) == subject.lower(),
            or_(*map(_in_scope, within)),
            episodes.c.deleted_at.is_(None),
        )
        .order_by(episodes.c.id)
    )
    return [_kept(row).episode for row in rows]


def say_again(connection: Connection, kept: Kept, episode: Episode) -> Episode:
    """Count that the same was stored once more, in the newer wording; returns the episode as it is now."""
    now = replace(
        kept.episode,
        intent=episode.intent,
        experience=episode.experience,
        outcome=episode.outcome or kept.episode.outcome,
        flags=episode.flags,
        happened_at=episode.happened_at,
        updated_at=episode.updated_at,
        seen=kept.episode.seen + 1,
        pinned=kept.episode.pinned or episode.pinned,
    )
    connection.execute(
        update(episodes)
        .where(episodes.c.id == kept.key)
        .values(
            intent=now.intent,
            experience=now.experience,
            outcome=now.outcome,
            flags=list(now.flags),
            happened_at=now.happened_at,
            updated_at=now.updated_at,
            digest=digest(now),
            seen=now.seen,
            pinned=now.pinned,
        )
    )
    fulltext.reword(connection, kept.key, rendered(now))
    return now


def by_keys(connection: Connection, keys: Iterable[int]) -> dict[int, Kept]:
    """The living episodes with these keys."""
    rows = connection.execute(
        select(episodes).where(episodes.c.id.in_(list(keys)), episodes.c.deleted_at.is_(None))
    )
    return {row.id: _kept(row) for row in rows}


def briefs(connection: Connection, keys: Iterable[int], as_of: float) -> dict[int, Brief]:
    """The living episodes with these keys, as far as ranking needs them.

    Args:
        as_of: Facts that do not hold at this moment are left out.
    """
    table = episodes.c
    holds = and_(
        func.coalesce(table.valid_from, as_of) <= as_of,
        or_(table.valid_to.is_(None), table.valid_to > as_of),
    )
    rows = connection.execute(
        select(
            table.id,
            table.scope_kind,
            table.scope_key,
            table.intent,
            table.experience,
            table.outcome,
            table.actor,
            table.thread,
            table.position,
            table.happened_at,
            table.q_updated_at,
            table.visits,
            table.direct_visits,
            table.direct_rewards,
        ).where(table.id.in_(list(keys)), table.deleted_at.is_(None), holds)
    )
    return {key: Brief(key, Scope(kind, name), *rest) for key, kind, name, *rest in rows}


def by_id(connection: Connection, episode_id: str) -> Kept | None:
    """The living episode of that name."""
    row = connection.execute(
        select(episodes).where(episodes.c.episode_id == episode_id, episodes.c.deleted_at.is_(None))
    ).first()
    return None if row is None else _kept(row)


def vectors_of(connection: Connection, keys: Iterable[int], embedder: str) -> dict[int, NDArray[Any]]:
    """The vectors that one embedder made for these keys."""
    rows = connection.execute(
        select(vectors.c.id, vectors.c.vector).where(
            vectors.c.id.in_(list(keys)), vectors.c.embedder == embedder
        )
    )
    return {row.id: np.frombuffer(row.vector, dtype="<f4") for row in rows}


def vectors_in(connection: Connection, scope: Scope, embedder: str) -> tuple[list[int], NDArray[Any]]:
    """Every vector of a scope: keys and a matrix of shape (n, dimension), float32."""
    rows = connection.execute(
        select(vectors.c.id, vectors.c.vector)
        .join(episodes, episodes.c.id == vectors.c.id)
        .where(_living(scope), vectors.c.embedder == embedder)
        .order_by(vectors.c.id)
    ).all()
    matrix = np.frombuffer(b"".join(row.vector for row in rows), dtype="<f4")
    return [row.id for row in rows], matrix.reshape(len(rows), -1 if rows else 0)


def digests_in(connection: Connection, scope: Scope, embedder: str) -> dict[int, str]:
    """What a scope's episodes with a vector say, as digests by key; those set aside included."""
    rows = connection.execute(
        select(episodes.c.id, episodes.c.digest)
        .join(vectors, episodes.c.id == vectors.c.id)
        .where(_in_scope(scope), vectors.c.embedder == embedder)
    )
    return {row.id: row.digest for row in rows}


def scopes(connection: Connection) -> list[Scope]:
    """Every scope that holds a living episode."""
    rows = connection.execute(
        select(episodes.c.scope_kind, episodes.c.scope_key).where(episodes.c.deleted_at.is_(None)).distinct()
    )
    return [Scope(row.scope_kind, row.scope_key) for row in rows]


def without_vector(connection: Connection, embedder: str, limit: int) -> list[Kept]:
    """Living episodes that this embedder has not embedded, oldest first."""
    rows = connection.execute(
        select(episodes).where(_lacks_vector(embedder)).order_by(episodes.c.id).limit(limit)
    )
    return [_kept(row) for row in rows]


def count_without_vector(connection: Connection, embedder: str) -> int:
    """How many living episodes this embedder has not embedded."""
    return connection.execute(select(func.count()).where(_lacks_vector(embedder))).scalar() or 0


def _lacks_vector(embedder: str) -> ColumnElement[bool]:
    embedded = exists().where(vectors.c.id == episodes.c.id, vectors.c.embedder == embedder)
    return and_(~embedded, episodes.c.deleted_at.is_(None))


def embedders(connection: Connection) -> dict[str, int]:
    """Which embedders the kept vectors come from, and how many from each."""
    rows = connection.execute(select(vectors.c.embedder, func.count()).group_by(vectors.c.embedder))
    return {row[0]: row[1] for row in rows}


def listed(connection: Connection, within: Sequence[Scope] | None, limit: int, offset: int) -> list[Episode]:
    """Living episodes, the newest first."""
    statement = select(episodes).where(episodes.c.deleted_at.is_(None))
    if within is not None:
        statement = statement.where(or_(*map(_in_scope, within)))
    rows = connection.execute(statement.order_by(episodes.c.id.desc()).limit(limit).offset(offset))
    return [_kept(row).episode for row in rows]


def page(connection: Connection, after: int, limit: int) -> list[Kept]:
    """Living episodes with keys beyond one, in order."""
    rows = connection.execute(
        select(episodes)
        .where(episodes.c.id > after, episodes.c.deleted_at.is_(None))
        .order_by(episodes.c.id)
        .limit(limit)
    )
    return [_kept(row) for row in rows]


def keys_in(connection: Connection, scope: Scope) -> list[int]:
    """The keys of everything in a scope."""
    return list(connection.execute(select(episodes.c.id).where(_in_scope(scope))).scalars())


def keys_of(connection: Connection, episode_ids: Iterable[str]) -> dict[str, int]:
    """The keys of the episodes with these names; unknown names are left out."""
    rows = connection.execute(
        select(episodes.c.episode_id, episodes.c.id).where(episodes.c.episode_id.in_(list(episode_ids)))
    )
    return {row[0]: row[1] for row in rows}


def forget(connection: Connection, keys: Sequence[int]) -> list[Episode]:
    """Delete episodes with their words, vectors and what was learned about them; returns what they were."""
    rows = connection.execute(select(episodes).where(episodes.c.id.in_(keys))).all()
    gone = [_kept(row) for row in rows]
    fulltext.delete(connection, [kept.key for kept in gone])
    connection.execute(delete(episodes).where(episodes.c.id.in_(keys)))
    for kept in gone:
        _surround_gap(connection, kept)
    return [kept.episode for kept in gone]


def _surround_gap(connection: Connection, gone: Kept) -> None:
    """Take a deleted episode out of the context of those that stood next to it."""
    if gone.position is None:
        return
    rows = connection.execute(
        select(episodes.c.id, episodes.c.position, episodes.c.experience).where(
            episodes.c.thread == gone.episode.thread,
            _in_scope(gone.episode.scope),
            episodes.c.position.between(gone.position - 2, gone.position + 2),
        )
    ).all()
    texts = {row.position: row.experience for row in rows}
    for row in rows:
        if abs(row.position - gone.position) == 1:
            beside = [texts[place] for place in (row.position - 1, row.position + 1) if place in texts]
            fulltext.surround(connection, row.id, "\n".join(beside))


def _in_scope(scope: Scope) -> ColumnElement[bool]:
    return and_(episodes.c.scope_kind == scope.kind, episodes.c.scope_key == scope.key)


def _living(scope: Scope) -> ColumnElement[bool]:
    return and_(_in_scope(scope), episodes.c.deleted_at.is_(None))


def _kept(row: Row[Any]) -> Kept:
    return Kept(
        row.id,
        Episode(
            episode_id=row.episode_id,
            kind=row.kind,
            scope=Scope(row.scope_kind, row.scope_key),
            intent=row.intent,
            experience=row.experience,
            outcome=row.outcome,
            actor=row.actor,
            thread=row.thread,
            happened_at=row.happened_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
            provenance=Provenance(row.client, row.run_id, row.project, row.source),
            seen=row.seen,
            pinned=row.pinned,
            parent_ids=tuple(row.parent_ids),
            flags=tuple(row.flags),
            meta=row.meta,
            q_value=row.q_value,
            q_updated_at=row.q_updated_at,
            visits=row.visits,
            successes=row.successes,
            failures=row.failures,
            direct_visits=row.direct_visits,
            direct_rewards=row.direct_rewards,
            subject=row.subject,
            valid_from=row.valid_from,
            valid_to=row.valid_to,
            supersedes=tuple(row.supersedes),
        ),
        row.position,
    )
