"""The memory as the rest of the hub sees it: store, recall, feedback, forget, list, stats."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from hub.clock import Clock
from hub.errors import InvalidArguments, TooLarge
from hub.home import Home
from hub.memory import episodes, hygiene, intents, ledger, value
from hub.memory.episode import GLOBAL, Episode, Provenance, Recall, Scope
from hub.memory.learning import Feedback, Learning
from hub.memory.ledger import Ledger, RecallRecord
from hub.memory.meaning import Meaning
from hub.memory.ranking import Weights
from hub.memory.recalling import Recalling, Wanted
from hub.settings import MemorySettings
from hub.store import Store
from hub.tables import episodes as episodes_table
from hub.tables import feedback as feedback_table

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger(__name__)

QUERY_CHARS_MAX = 8_000
"""How much of a query is read."""
FORGET_MAX = 50
"""How many episodes one query can have forgotten."""
TWINS_MAX = 3
"""How many of the nearest episodes a new one is compared with."""
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


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


class Memory:
    """Episodic memory over one store. Made by `open`."""

    def __init__(
        self,
        home: Home,
        settings: MemorySettings,
        clock: Clock,
        rng: random.Random,
        store: Store,
        owns_store: bool,
        weights: Weights,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._store = store
        self._owns_store = owns_store
        self._ledger = Ledger(store)
        self._meaning = Meaning(store, home.index_folder, settings.embedder_path)
        self._recalling = Recalling(store, self._meaning, settings, clock, rng, weights)
        self._learning = Learning(store, self._ledger, self._meaning, settings, clock)
        self._owner: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        home: Home,
        settings: MemorySettings,
        clock: Clock,
        rng: random.Random,
        store: Store | None = None,
        weights: Weights | None = None,
    ) -> Memory:
        """Open the memory of a home. The sentence model and the index follow in the background.

        Args:
            store: An open store to share, which stays open; the home's own when None.
            weights: What each signal of relevance counts, for measuring; as measured best when None.

        Raises:
            ConfigError: The home cannot be used.
            StorageError: The store cannot be opened.
        """
        shared = store
        if store is None:
            store = Store(home.store_file)
            await store.open()
        memory = cls(
            home, settings, clock, rng, store, owns_store=shared is None, weights=weights or Weights()
        )
        memory._owner = asyncio.create_task(memory._run(), name="memory")
        return memory

    async def close(self) -> None:
        """Write down what is pending and let go of everything. Closing twice is harmless."""
        owner, self._owner = self._owner, None
        if owner is None:
            return
        owner.cancel()
        await asyncio.wait([owner])
        await self._meaning.close()
        await self._ledger.flush()
        if self._owns_store:
            await self._store.close()

    async def ready(self) -> None:
        """Wait until the sentence model is loaded and the index holds everything, or has failed."""
        await self._meaning.settle()

    async def store(
        self,
        experience: str,
        *,
        intent: str | None = None,
        outcome: str | None = None,
        scope: Scope | None = None,
        provenance: Provenance | None = None,
        actor: str | None = None,
        thread: str | None = None,
        happened_at: float | None = None,
        parent_ids: Sequence[str] = (),
        pinned: bool = False,
    ) -> Episode:
        """Keep an episode; it is on disk when this returns.

        What looks like a secret is replaced by `***` first. A text that says what an episode of
        the same scope says already replaces that one's wording and is counted, not kept twice.

        Args:
            experience: What happened or was learned.
            intent: What was wanted; the first line of the experience when None.
            outcome: How it ended.
            scope: Whom it is for; the provenance's project when None, else everyone.
            provenance: Where it comes from.
            actor: Who said or did it.
            thread: The conversation it belongs to.
            happened_at: When, seconds since the epoch; now when None.
            parent_ids: The episodes that helped to make it.
            pinned: Whether it is kept whatever becomes of it.

        Raises:
            InvalidArguments: There is no text.
            TooLarge: The text is longer than `episode_chars_max`.
            StorageError: It could not be kept.
        """
        episode = self._made(
            experience,
            intent,
            outcome,
            scope,
            provenance or Provenance(),
            actor,
            thread,
            happened_at,
            parent_ids,
            pinned,
        )
        vector = await self._meaning.embed(episodes.rendered(episode))
        sense = self._meaning.sense
        near: list[int] = []
        if sense is not None and vector is not None and actor is None and self._settings.merge_similarity < 1:
            nearest = await sense.vectors.search(vector, [episode.scope], TWINS_MAX)
            near = [key for key, cosine in nearest if cosine >= self._settings.merge_similarity]

        def write(connection: Connection) -> tuple[int, Episode, episodes.Kept | None]:
            twin = episodes.twin(connection, episode) or _restated(connection, near, episode)
            if twin is None:
                key, kept = episodes.add(connection, episode), episode
            else:
                key, kept = twin.key, episodes.say_again(connection, twin, episode)
            if sense is not None and vector is not None:
                episodes.put_vector(connection, key, sense.embedder.id, vector)
            return key, kept, twin

        key, kept, twin = await self._store.write(write)
        if sense is not None and vector is not None:
            before = None if twin is None else twin.episode
            if before is None or episodes.digest(before) != episodes.digest(kept):
                sense.vectors.added(key, kept, vector, replaces=before)
        return kept

    async def recall(
        self,
        query: str,
        *,
        scopes: Sequence[Scope] | None = None,
        project: str | None = None,
        k1: int | None = None,
        k2: int | None = None,
        value_weight: float | None = None,
        min_score: float | None = None,
        client: str | None = None,
        run_id: str | None = None,
    ) -> Recall:
        """Find what is relevant to a query and has helped before, best first; nothing when nothing is.

        Args:
            query: What is wanted, in words.
            scopes: Where to look; the project and the global scope when None.
            project: The caller's folder.
            k1: How many candidates relevance hands on to value.
            k2: How many episodes are returned at most.
            value_weight: 0 ranks by relevance alone, 1 by learned value alone.
            min_score: Hits that score less are left out.
            client: Who asks, for the record.
            run_id: The run it belongs to, so that feedback on the run reaches the episodes.

        Raises:
            InvalidArguments: The query is empty or a number is out of its range.
            StorageError: The store could not be read.
        """
        query = query.strip()[:QUERY_CHARS_MAX]
        if not query:
            raise InvalidArguments("a recall needs a query")
        if scopes is None:
            scopes = [GLOBAL] if project is None else [Scope("project", project), GLOBAL]
        vector = await self._meaning.embed(query)
        wanted = Wanted(
            query=query,
            vector=vector,
            scopes=list(dict.fromkeys(scopes)),
            k1=self._settings.k1 if k1 is None else k1,
            k2=self._settings.k2 if k2 is None else k2,
            value_weight=self._settings.value_weight if value_weight is None else value_weight,
            min_score=self._settings.min_score if min_score is None else min_score,
        )
        if wanted.k1 < 1 or wanted.k2 < 1 or not 0 <= wanted.value_weight <= 1:
            raise InvalidArguments("k1 and k2 are at least 1, value_weight lies between 0 and 1")
        hits = await self._recalling.find(wanted)
        recall = Recall(self._new_id("rc"), tuple(hit for _, hit in hits), self._meaning.degraded)
        sense = self._meaning.sense
        self._ledger.add(
            RecallRecord(
                recall.recall_id,
                self._clock.now(),
                client,
                run_id,
                # A query that found nothing teaches nothing.
                query if hits else "",
                None if sense is None else sense.embedder.id,
                vector,
                tuple((key, hit.score) for key, hit in hits),
            )
        )
        return recall

    async def feedback(
        self,
        reward: float,
        *,
        recall_id: str | None = None,
        run_id: str | None = None,
        episode_id: str | None = None,
        used_ids: Sequence[str] | None = None,
        source: str = "user",
    ) -> Feedback:
        """Say how much what was recalled has helped; later recalls rank accordingly.

        Judging a recall again replaces what the same source said about it before.

        Args:
            reward: 0 did harm or was no use, 1 helped.
            recall_id: The recall it is about.
            run_id: The run whose recalls it is about.
            episode_id: The one episode it is about.
            used_ids: The recalled episodes that were used, when that is known. It is worth a lot.
            source: Who judges.

        Raises:
            InvalidArguments: Not exactly one of the ids is given, or the reward is out of range.
            UnknownName: There is no such recall, run or episode.
            Busy: This source has judged too often within a minute.
            StorageError: It could not be kept.
        """
        return await self._learning.judge(reward, recall_id, run_id, episode_id, used_ids, source)

    async def forget(
        self,
        *,
        episode_ids: Sequence[str] = (),
        scope: Scope | None = None,
        query: str | None = None,
        dry_run: bool = False,
    ) -> list[str]:
        """Delete episodes for good, with their words and vectors, what was learned about them and what
        was asked for them.

        They are gone from the store when this returns. Chroma's files are rewritten without them
        right after; a hub that is killed in between does it when it starts again.

        Args:
            episode_ids: Which; unknown ones are ignored.
            scope: Everything in this scope; with a query, what the query finds there.
            query: Everything that a recall with this query would find, up to `FORGET_MAX`.
            dry_run: Only say what would be deleted.

        Returns:
            The ids of what was deleted, or would be.

        Raises:
            InvalidArguments: Nothing was named.
            StorageError: It could not be deleted.
        """
        if not episode_ids and scope is None and query is None:
            raise InvalidArguments("forget takes episode ids, a scope or a query")
        found: list[int] = []
        if query is not None:
            found = await self._found(query, [GLOBAL] if scope is None else [scope])

        def name(connection: Connection) -> list[int]:
            keys = {*found, *episodes.keys_of(connection, episode_ids).values()}
            if scope is not None and query is None:
                keys.update(episodes.keys_in(connection, scope))
            return sorted(keys)

        def write(connection: Connection) -> tuple[list[Episode], list[int]]:
            keys = name(connection)
            ledger.forget(connection, keys)
            learned = intents.forget(connection, keys)
            return episodes.forget(connection, keys), learned

        await self._ledger.flush()
        if dry_run:
            would = await self._store.read(lambda c: episodes.by_keys(c, name(c)))
            return [kept.episode.episode_id for kept in would.values()]
        gone, learned = await self._store.write(write)
        await self._store.checkpoint()
        await self._meaning.forget({episode.scope for episode in gone}, learned)
        return [episode.episode_id for episode in gone]

    async def _found(self, query: str, scopes: Sequence[Scope]) -> list[int]:
        """What a query finds, by relevance alone, as keys."""
        vector = await self._meaning.embed(query)
        wanted = Wanted(query, vector, scopes, FORGET_MAX, FORGET_MAX, value_weight=0.0, min_score=0.0)
        return [key for key, _ in await self._recalling.find(wanted)]

    async def list(
        self, *, scopes: Sequence[Scope] | None = None, limit: int = 50, offset: int = 0
    ) -> list[Episode]:
        """Episodes, the newest first.

        Args:
            scopes: Where from; everywhere when None.
            limit: How many at most.
            offset: How many to skip.
        """
        return await self._store.read(lambda c: episodes.listed(c, scopes, limit, offset))

    async def stats(self) -> Stats:
        """How much is remembered, how it is searched, and what was learned."""
        sense = self._meaning.sense

        def read(connection: Connection) -> Stats:
            table, said = episodes_table, feedback_table
            counts = connection.execute(
                select(table.c.scope_kind, table.c.scope_key, func.count())
                .where(table.c.deleted_at.is_(None))
                .group_by(table.c.scope_kind, table.c.scope_key)
            )
            judged, mean = connection.execute(
                select(func.count(), func.avg(table.c.q_value)).where(table.c.visits > 0)
            ).one()
            best = connection.execute(
                select(table.c.episode_id, table.c.q_value)
                .where(table.c.visits > 0, table.c.q_value > value.Q_UNKNOWN)
                .order_by(table.c.q_value.desc())
                .limit(5)
            )
            sources = connection.execute(
                select(said.c.source, func.count()).where(said.c.void.is_(False)).group_by(said.c.source)
            )
            return Stats(
                episodes={str(Scope(kind, key)): count for kind, key, count in counts},
                index="off" if sense is None else sense.vectors.index_state,
                embedder=None if sense is None else sense.embedder.id,
                degraded=self._meaning.degraded,
                judgements={row[0]: row[1] for row in sources},
                judged=judged,
                value_mean=mean,
                most_helpful=[(row[0], row[1]) for row in best],
            )

        return await self._store.read(read)

    async def _run(self) -> None:
        """Own what goes on in the background: the model, the index, the record of recalls."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ledger.run(), name="memory-ledger")
                tasks.create_task(self._meaning.run(), name="memory-meaning")
        except* Exception:
            # What was stored is safe, and store and recall go on without what failed here.
            log.exception("memory's background work failed")

    def _made(
        self,
        experience: str,
        intent: str | None,
        outcome: str | None,
        scope: Scope | None,
        provenance: Provenance,
        actor: str | None,
        thread: str | None,
        happened_at: float | None,
        parent_ids: Sequence[str],
        pinned: bool,
    ) -> Episode:
        """A new episode as it may be kept."""
        now = self._clock.now()
        experience = experience.strip()
        intent = (intent or "").strip() or episodes.first_line(experience)
        outcome = (outcome or "").strip()
        if not experience:
            raise InvalidArguments("an episode needs a text")
        size, most = len(experience) + len(intent) + len(outcome), self._settings.episode_chars_max
        if size > most:
            raise TooLarge(
                f"an episode may have {most:,} characters and this one has {size:,} "
                "(memory.episode_chars_max). Store what matters of it"
            )
        if scope is None:
            scope = GLOBAL if provenance.project is None else Scope("project", provenance.project)
        parts = [hygiene.cleaned(part) for part in (experience, intent, outcome)]
        return Episode(
            episode_id=self._new_id("ep"),
            kind="episode",
            scope=scope,
            experience=parts[0].text,
            intent=parts[1].text,
            outcome=parts[2].text or None,
            actor=actor,
            thread=thread,
            happened_at=now if happened_at is None else happened_at,
            created_at=now,
            updated_at=now,
            provenance=provenance,
            pinned=pinned,
            parent_ids=tuple(parent_ids),
            flags=tuple(sorted(set().union(*(part.flags for part in parts)))),
            q_updated_at=now,
        )

    def _new_id(self, prefix: str) -> str:
        bits = self._rng.getrandbits(80)
        return f"{prefix}_" + "".join(_ID_ALPHABET[bits >> shift & 31] for shift in range(75, -5, -5))


def _restated(connection: Connection, near: Sequence[int], episode: Episode) -> episodes.Kept | None:
    """An episode among the nearest that says the same in nearly the same words."""
    for kept in episodes.by_keys(connection, near).values():
        if kept.episode.actor is None and hygiene.says_the_same(
            episodes.rendered(kept.episode), episodes.rendered(episode)
        ):
            return kept
    return None
