"""Learning from feedback: who judged what, how a judgement is shared out, what it changes.

Every judgement is one row of an append-only log, and every share of it another, so an
episode's value is a replay of its shares. A source that judges the same recall again
takes its first word back. Nothing is learned from an unknown outcome, and making an
episode is no success.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from hub.clock import Clock
from hub.errors import Busy, InvalidArguments, UnknownName
from hub.memory import episodes, intents, ledger, value
from hub.memory.ledger import Ledger, RecallRecord
from hub.memory.meaning import Meaning, Sense
from hub.settings import MemorySettings
from hub.store import Store
from hub.tables import credits, feedback
from hub.tables import episodes as episodes_table

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

RATE_WINDOW_S = 60.0
"""The window of the limit on a source's judgements."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a judgement changed.

    Attributes:
        values: The learned value of each judged episode, before and after, by id.
    """

    values: dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Share:
    """One episode's part of a judgement.

    Attributes:
        reward: What it gets, 0 to 1.
        weight: How much that counts; 1 for an episode known to have been used.
        used: Whether it was used; None when that is not known.
    """

    key: int
    reward: float
    weight: float
    used: bool | None = None


@dataclass(frozen=True, slots=True)
class _Judgement:
    """One thing that is judged: what was recalled for an intent, or one episode without one."""

    shares: Sequence[Share]
    recall: RecallRecord | None = None


class Learning:
    """Takes judgements and moves values.

    Args:
        store: Holds everything.
        ledger: The record of recalls.
        meaning: Tells which intents are the same.
        settings: The `[memory]` table.
        clock: The time of a judgement.
    """

    def __init__(
        self, store: Store, ledger: Ledger, meaning: Meaning, settings: MemorySettings, clock: Clock
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._meaning = meaning
        self._settings = settings
        self._clock = clock
        # One at a time: two judgements of one new intent must not make two intents.
        self._judging = asyncio.Lock()

    async def judge(
        self,
        reward: float,
        recall_id: str | None,
        run_id: str | None,
        episode_id: str | None,
        used_ids: Sequence[str] | None,
        source: str,
    ) -> Feedback:
        """See `Memory.feedback`."""
        if not 0 <= reward <= 1:
            raise InvalidArguments(f"a reward lies between 0 and 1, not at {reward:g}")
        if sum(name is not None for name in (recall_id, run_id, episode_id)) != 1:
            raise InvalidArguments("feedback names exactly one of recall_id, run_id and episode_id")

        def find(connection: Connection) -> list[_Judgement]:
            self._check_rate(connection, source)
            if episode_id is not None:
                kept = episodes.by_id(connection, episode_id)
                if kept is None:
                    raise UnknownName(f"there is no episode {episode_id!r}")
                return [_Judgement([Share(kept.key, reward, 1.0)])]
            if recall_id is not None:
                found = ledger.named(connection, recall_id)
                recalls = [] if found is None else [found]
            else:
                recalls = ledger.of_run(connection, run_id or "")
            if not recalls:
                what = f"recall {recall_id!r}" if recall_id is not None else f"recall of run {run_id!r}"
                raise UnknownName(f"there is no {what}; the latest {ledger.RECALLS_MAX:,} are kept")
            used = None if used_ids is None else set(episodes.keys_of(connection, used_ids).values())
            return [
                _Judgement(shared_out([key for key, _ in recall.hits], reward, used), recall)
                for recall in recalls
            ]

        async with self._judging:
            await self._ledger.flush()
            judgements = await self._store.read(find)
            return await self._commit(judgements, reward, run_id, source)

    async def refresh(self) -> None:
        """Take up intents that came into the store from elsewhere."""
        sense = self._meaning.sense
        if sense is None:
            return
        model = sense.embedder
        async with self._judging:
            sense.intents.become(
                await self._store.read(lambda c: intents.Intents.read(c, model.id, model.dimension))
            )

    async def _commit(
        self, judgements: Sequence[_Judgement], reward: float, run_id: str | None, source: str
    ) -> Feedback:
        now, sense = self._clock.now(), self._meaning.sense
        known = [_known_intent(sense, judgement) for judgement in judgements]
        trust = self._settings.feedback_weights.get(source, 1.0)

        def write(connection: Connection) -> tuple[Feedback, list[Callable[[], None]]]:
            before = _values(connection, [share.key for entry in judgements for share in entry.shares])
            afterwards: list[Callable[[], None]] = []
            for entry, intent in zip(judgements, known, strict=True):
                recall = entry.recall
                if recall is not None:
                    self._take_back(connection, recall.recall_id, source)
                if intent is not None:
                    intents.touch(connection, intent, now)
                elif (
                    entry.shares
                    and sense is not None
                    and recall is not None
                    and (vector := _comparable(sense, recall)) is not None
                ):
                    intent = intents.put(connection, recall.query, sense.embedder.id, vector, now)
                    afterwards.append(partial(sense.intents.add, intent, vector))
                row = connection.execute(
                    insert(feedback).values(
                        at=now,
                        source=source,
                        reward=reward,
                        recall_id=None if recall is None else recall.recall_id,
                        run_id=run_id,
                        intent=intent,
                        void=False,
                    )
                )
                assert row.inserted_primary_key is not None
                for share in entry.shares:
                    if share.key in before:
                        self._credit(connection, row.inserted_primary_key[0], share, trust, intent, now)
            after = _values(connection, list(before))
            names = {
                key: kept.episode.episode_id for key, kept in episodes.by_keys(connection, before).items()
            }
            return Feedback({names[key]: (before[key], after[key]) for key in names}), afterwards

        outcome, afterwards = await self._store.write(write)
        for take_up in afterwards:
            take_up()
        await self._make_room(sense)
        return outcome

    def _credit(
        self,
        connection: Connection,
        judgement: int,
        share: Share,
        trust: float,
        intent: int | None,
        at: float,
    ) -> None:
        """Write one share down and move what it is about."""
        weight = share.weight * trust
        connection.execute(
            insert(credits).values(
                feedback=judgement, id=share.key, reward=share.reward, weight=weight, used=share.used
            )
        )
        if intent is not None:
            intents.visit(connection, intent, share.key, weight, share.reward)
        if share.used is False:
            return
        table = episodes_table
        rate = self._settings.learning_rate * weight
        connection.execute(
            update(table)
            .where(table.c.id == share.key)
            .values(
                q_value=table.c.q_value + rate * (share.reward - table.c.q_value),
                q_updated_at=at,
                visits=table.c.visits + 1,
                successes=table.c.successes + int(share.reward > value.SUCCESS),
                failures=table.c.failures + int(share.reward < value.SUCCESS),
                direct_visits=table.c.direct_visits + (weight if intent is None else 0.0),
                direct_rewards=table.c.direct_rewards + (weight * share.reward if intent is None else 0.0),
            )
        )

    def _take_back(self, connection: Connection, recall_id: str, source: str) -> None:
        """Undo what a source has said about a recall before, and replay the values it touched."""
        said = connection.execute(
            select(feedback).where(
                feedback.c.recall_id == recall_id, feedback.c.source == source, feedback.c.void.is_(False)
            )
        ).all()
        for judgement in said:
            connection.execute(update(feedback).where(feedback.c.id == judgement.id).values(void=True))
            shares = connection.execute(select(credits).where(credits.c.feedback == judgement.id)).all()
            for share in shares:
                if judgement.intent is not None:
                    intents.visit(connection, judgement.intent, share.id, -share.weight, share.reward)
                replay(connection, share.id, self._settings.learning_rate)

    def _check_rate(self, connection: Connection, source: str) -> None:
        limit = self._settings.feedback_per_minute_max
        since = self._clock.now() - RATE_WINDOW_S
        count = connection.execute(
            select(func.count()).where(feedback.c.source == source, feedback.c.at > since)
        ).scalar()
        if (count or 0) >= limit:
            raise Busy(
                f"{source} has judged {count} times within a minute; at most {limit} count "
                "(memory.feedback_per_minute_max). Judge what mattered, later"
            )

    async def _make_room(self, sense: Sense | None) -> None:
        """Let go of the intents judged longest ago, beyond the bound."""
        surplus = sense.intents.surplus() if sense is not None else []
        if surplus and sense is not None:
            await self._store.write(lambda c: intents.remove(c, surplus))
            sense.intents.drop(surplus)


def shared_out(ranked: Sequence[int], reward: float, used: set[int] | None) -> list[Share]:
    """Share a judgement among what a recall returned.

    Args:
        ranked: The recall's episodes, best first.
        reward: The judgement.
        used: Those that were used, when that is known. They get all of it; what was shown beside
            them and not used gets a little nothing, unless what was used is to blame. When it is
            not known, the share falls with the rank: 1, 1/2, 1/3 …
    """
    if used is None:
        return [Share(key, reward, 1 / rank) for rank, key in enumerate(ranked, 1)]
    shares = [Share(key, reward, 1.0, used=True) for key in ranked if key in used]
    if reward > value.SUCCESS or not shares:
        shares += [Share(key, 0.0, value.SHOWN_WEIGHT, used=False) for key in ranked if key not in used]
    return shares


def replay(connection: Connection, key: int, learning_rate: float) -> None:
    """Compute an episode's value and counts anew from the shares that stand."""
    shares = connection.execute(
        select(credits.c.reward, credits.c.weight, feedback.c.intent)
        .join(feedback, feedback.c.id == credits.c.feedback)
        .where(credits.c.id == key, credits.c.used.is_not(False), feedback.c.void.is_(False))
        .order_by(feedback.c.id)
    ).all()
    q_value = value.Q_UNKNOWN
    for share in shares:
        q_value = value.moved(q_value, share.reward, learning_rate, share.weight)
    direct = [share for share in shares if share.intent is None]
    connection.execute(
        update(episodes_table)
        .where(episodes_table.c.id == key)
        .values(
            q_value=q_value,
            visits=len(shares),
            successes=sum(share.reward > value.SUCCESS for share in shares),
            failures=sum(share.reward < value.SUCCESS for share in shares),
            direct_visits=sum(share.weight for share in direct),
            direct_rewards=sum(share.weight * share.reward for share in direct),
        )
    )


def _known_intent(sense: Sense | None, judgement: _Judgement) -> int | None:
    """The intent that a judgement's query is another wording of."""
    if sense is None or (vector := _comparable(sense, judgement.recall)) is None:
        return None
    return sense.intents.nearest(vector, value.MERGE_COSINE)


def _comparable(sense: Sense, recall: RecallRecord | None) -> NDArray[Any] | None:
    """The vector of a recall's query, if the sentence model in use has made it."""
    return None if recall is None or recall.embedder != sense.embedder.id else recall.vector


def _values(connection: Connection, keys: Sequence[int]) -> dict[int, float]:
    table = episodes_table
    rows = connection.execute(
        select(table.c.id, table.c.q_value).where(table.c.id.in_(keys), table.c.deleted_at.is_(None))
    )
    return {row.id: row.q_value for row in rows}
