"""What keeps a memory useful over months: consolidating sessions, tidying, staying within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hub.clock import Clock
from hub.memory import consolidation, episodes, tidying
from hub.memory.episode import Episode
from hub.memory.meaning import Meaning
from hub.memory.storing import Storing
from hub.memory.tidying import DAY_S, Tidied
from hub.settings import MemorySettings
from hub.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from hub.memory.episodes import Kept

ROOM_CHECK_STORES = 500
"""After how many stores the number of episodes is looked at."""


class Housekeeping:
    """Does the house's work."""

    def __init__(
        self, store: Store, meaning: Meaning, storing: Storing, settings: MemorySettings, clock: Clock
    ) -> None:
        self._store = store
        self._meaning = meaning
        self._storing = storing
        self._settings = settings
        self._clock = clock
        self._stores = 0

    async def consolidate(self, session_id: str) -> Episode | None:
        """See `Memory.consolidate`."""
        settings = self._settings
        found = await self._store.read(
            lambda c: consolidation.draft(
                c,
                session_id,
                settings.consolidation_threshold_turns,
                settings.consolidation_take_turns,
                settings.episode_chars_max,
            )
        )
        if found is None:
            return None
        draft, reached = found
        return await self._storing.keep_with(draft, lambda c: consolidation.mark(c, session_id, reached))

    async def tidy(self, dry_run: bool) -> Tidied:
        """See `Memory.tidy`."""
        now = self._clock.now()

        def work(connection: Connection) -> tuple[Tidied, list[Kept], list[int]]:
            plan = tidying.plan(connection, now)
            touched = episodes.by_keys(connection, [*plan.set_aside, *plan.promoted])
            names = {key: kept.episode.episode_id for key, kept in touched.items()}
            moved = []
            if not dry_run:
                tidying.set_aside(connection, list(plan.set_aside), now)
                for key, scope in plan.promoted.items():
                    if tidying.promote(connection, key, scope, now) is not None:
                        moved.append(touched[key])
            told = Tidied(
                {names[key]: reason for key, reason in plan.set_aside.items()},
                {names[key]: str(scope) for key, scope in plan.promoted.items()},
            )
            overdue = tidying.overdue(connection, now - self._settings.set_aside_days * DAY_S)
            return told, moved, overdue

        if dry_run:
            return (await self._store.read(work))[0]
        told, moved, overdue = await self._store.write(work)
        await self._take_up([kept.key for kept in moved])
        if self._meaning.sense is not None:
            self._meaning.sense.vectors.purge({kept.episode.scope for kept in moved})
        if overdue:
            gone = await self._store.write(lambda c: episodes.forget(c, overdue))
            await self._store.checkpoint()
            await self._meaning.forget({episode.scope for episode in gone}, [])
        return told

    async def bring_back(self, episode_ids: Sequence[str]) -> list[str]:
        """See `Memory.bring_back`."""
        back = await self._store.write(lambda c: tidying.bring_back(c, episode_ids))
        await self._take_up([kept.key for kept in back])
        return [kept.episode.episode_id for kept in back]

    async def after_store(self) -> None:
        """Set the episodes worth least aside when there are too many; looks every so many stores."""
        self._stores += 1
        if self._stores % ROOM_CHECK_STORES:
            return
        surplus = await self._store.read(tidying.living) - self._settings.episodes_max
        if surplus > 0:
            # As many again, so that the next store does not find the memory full.
            now = self._clock.now()
            await self._store.write(
                lambda c: tidying.set_aside(c, tidying.least_worth(c, surplus + ROOM_CHECK_STORES), now)
            )

    async def _take_up(self, keys: Sequence[int]) -> None:
        """Have episodes found by their vectors where they are now."""
        sense = self._meaning.sense
        if sense is None or not keys:
            return

        def read(connection: Connection) -> list[tuple[Kept, NDArray[Any]]]:
            vectors = episodes.vectors_of(connection, keys, sense.embedder.id)
            kept = episodes.by_keys(connection, keys)
            return [(kept[key], vectors[key]) for key in kept if key in vectors]

        for kept, vector in await self._store.read(read):
            sense.vectors.added(kept.key, kept.episode, vector)
