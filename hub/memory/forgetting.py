"""Forgetting for good: in the store, its indexes, its log and Chroma's files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hub.errors import InvalidArguments
from hub.memory import episodes, intents, ledger
from hub.memory.episode import GLOBAL, Episode, Scope
from hub.memory.ledger import Ledger
from hub.memory.meaning import Meaning
from hub.memory.recalling import Recalling, Wanted
from hub.store import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection

QUERY_MAX = 50
"""How many episodes one query can have forgotten."""


class Forgetting:
    """Deletes episodes with all that speaks of them."""

    def __init__(self, store: Store, ledger: Ledger, meaning: Meaning, recalling: Recalling) -> None:
        self._store = store
        self._ledger = ledger
        self._meaning = meaning
        self._recalling = recalling

    async def forget(
        self, episode_ids: Sequence[str], scope: Scope | None, query: str | None, dry_run: bool
    ) -> list[str]:
        """See `Memory.forget`."""
        if not episode_ids and scope is None and query is None:
            raise InvalidArguments("forget takes episode ids, a scope or a query")
        found = [] if query is None else await self._found(query, [GLOBAL] if scope is None else [scope])

        def named(connection: Connection) -> list[int]:
            keys = {*found, *episodes.keys_of(connection, episode_ids).values()}
            if scope is not None and query is None:
                keys.update(episodes.keys_in(connection, scope))
            return sorted(keys)

        def write(connection: Connection) -> tuple[list[Episode], list[int]]:
            keys = named(connection)
            ledger.forget(connection, keys)
            learned = intents.forget(connection, keys)
            return episodes.forget(connection, keys), learned

        await self._ledger.flush()
        if dry_run:
            would = await self._store.read(lambda c: episodes.by_keys(c, named(c)))
            return [kept.episode.episode_id for kept in would.values()]
        gone, learned = await self._store.write(write)
        # The write-ahead log still holds what was deleted.
        await self._store.checkpoint()
        await self._meaning.forget({episode.scope for episode in gone}, learned)
        return [episode.episode_id for episode in gone]

    async def _found(self, query: str, scopes: Sequence[Scope]) -> list[int]:
        """What a query finds, by relevance alone, as keys."""
        wanted = Wanted(query, scopes, QUERY_MAX, QUERY_MAX, value_weight=0.0, min_score=0.0)
        return [key for key, _ in (await self._recalling.find(wanted)).hits]
