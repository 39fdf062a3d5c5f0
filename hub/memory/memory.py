"""The memory as the rest of the hub sees it: store, recall, feedback, forget, list, stats."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hub.clock import Clock
from hub.errors import InvalidArguments
from hub.home import Home
from hub.memory import episodes, exchange, importers, stats
from hub.memory.blocks import Blocks
from hub.memory.episode import GLOBAL, Episode, Provenance, Recall, Scope
from hub.memory.exchange import Exchanged
from hub.memory.forgetting import Forgetting
from hub.memory.housekeeping import Housekeeping
from hub.memory.learning import Feedback, Learning
from hub.memory.ledger import Ledger, RecallRecord
from hub.memory.meaning import Meaning
from hub.memory.ranking import Weights
from hub.memory.recalling import Recalling, Wanted
from hub.memory.stats import Stats
from hub.memory.storing import Draft, Ids, Storing
from hub.memory.tidying import Tidied
from hub.settings import MemorySettings
from hub.store import Store

log = logging.getLogger(__name__)

QUERY_CHARS_MAX = 8_000
"""How much of a query is read."""


class Memory:
    """Episodic memory over one store. Made by `open`.

    Attributes:
        blocks: The core blocks, which every turn's prompt holds.
    """

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
        self._meaning = Meaning(store, home.index_folder, settings.embedder_path, settings.embedder_download)
        self._new_id = Ids(clock, rng)
        self._storing = Storing(store, self._meaning, settings, clock, self._new_id)
        self._housekeeping = Housekeeping(store, self._meaning, self._storing, settings, clock)
        self.blocks = Blocks(store, clock)
        self._recalling = Recalling(store, self._meaning, settings, clock, rng, weights)
        self._forgetting = Forgetting(store, self._ledger, self._meaning, self._recalling)
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
        subject: str | None = None,
        valid_from: float | None = None,
        supersedes: Sequence[str] = (),
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
            subject: What it states a fact about; None for an episode.
            valid_from: From when the fact holds; when None, now if it supersedes another, else always.
            supersedes: The facts that no longer hold because of this one. They are kept, with the
                time at which they ended.

        Raises:
            InvalidArguments: There is no text.
            UnknownName: There is no such fact to supersede.
            TooLarge: The text is longer than `episode_chars_max`.
            StorageError: It could not be kept.
        """
        draft = Draft(
            experience=experience,
            intent=intent,
            outcome=outcome,
            scope=scope,
            provenance=provenance or Provenance(),
            actor=actor,
            thread=thread,
            happened_at=happened_at,
            parent_ids=tuple(parent_ids),
            pinned=pinned,
            subject=subject,
            valid_from=valid_from,
            supersedes=tuple(supersedes),
        )
        kept = await self._storing.keep(draft)
        await self._housekeeping.after_store()
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
        as_of: float | None = None,
        hops: int = 1,
        pressure: float = 0.0,
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
            as_of: The moment at which facts must hold; now when None.
            hops: 2 also finds what is near to the best episodes rather than to the query: worth little
                on the first places and something on the later ones, for three more searches.
            pressure: How full the reader's context is, 0 to 1; fewer episodes are returned the fuller.
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
        wanted = Wanted(
            query=query,
            scopes=list(dict.fromkeys(scopes)),
            k1=self._settings.k1 if k1 is None else k1,
            k2=self._settings.k2 if k2 is None else k2,
            value_weight=self._settings.value_weight if value_weight is None else value_weight,
            min_score=self._settings.min_score if min_score is None else min_score,
            as_of=as_of,
            hops=hops,
        )
        if hops not in (1, 2) or not 0 <= pressure <= 1:
            raise InvalidArguments("hops is 1 or 2, pressure lies between 0 and 1")
        if wanted.k1 < 1 or wanted.k2 < 1 or not 0 <= wanted.value_weight <= 1:
            raise InvalidArguments("k1 and k2 are at least 1, value_weight lies between 0 and 1")
        # One at least: the best episode is worth its place in any context.
        wanted = replace(wanted, k2=max(1, round(wanted.k2 * (1 - pressure))))
        found = await self._recalling.find(wanted)
        recall = Recall(self._new_id("rc"), tuple(hit for _, hit in found.hits), self._meaning.degraded)
        self._ledger.add(
            RecallRecord(
                recall.recall_id,
                self._clock.now(),
                client,
                run_id,
                # A query that found nothing teaches nothing.
                query if found.hits else "",
                found.embedder,
                found.vector,
                tuple((key, hit.score) for key, hit in found.hits),
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
            query: Everything that a recall with this query would find, up to 50.
            dry_run: Only say what would be deleted.

        Returns:
            The ids of what was deleted, or would be.

        Raises:
            InvalidArguments: Nothing was named.
            StorageError: It could not be deleted.
        """
        return await self._forgetting.forget(episode_ids, scope, query, dry_run)

    async def consolidate(self, session_id: str) -> Episode | None:
        """Make one episode of a session's oldest turns, when enough have gathered.

        The session's marker (`consolidated_seq`) moves in the same transaction: turns up to it may
        leave the prompt. The turns themselves stay on record.

        Returns:
            None when there are fewer open turns than `consolidation_threshold_turns`.

        Raises:
            StorageError: It could not be kept.
        """
        return await self._housekeeping.consolidate(session_id)

    async def tidy(self, *, dry_run: bool = True) -> Tidied:
        """Set aside what has shown no use, and promote what has shown much.

        What is set aside is not recalled any more, can be brought back for `set_aside_days`, and is
        forgotten for good by a later tidying. Pinned episodes and facts stay.

        Args:
            dry_run: Only say what would be done.
        """
        return await self._housekeeping.tidy(dry_run)

    async def bring_back(self, episode_ids: Sequence[str]) -> Sequence[str]:
        """Undo the setting aside of episodes; returns the ids of those that are back."""
        return await self._housekeeping.bring_back(episode_ids)

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

    async def facts(self, subject: str, *, scopes: Sequence[Scope] = (GLOBAL,)) -> Sequence[Episode]:
        """Every fact about a subject, oldest first, with those that no longer hold."""
        return await self._store.read(lambda c: episodes.facts_about(c, subject, scopes))

    async def stats(self) -> Stats:
        """How much is remembered, how it is searched, and what was learned."""
        sense = self._meaning.sense
        index = "off" if sense is None else sense.vectors.index_state
        embedder = None if sense is None else sense.embedder.id
        return await self._store.read(
            lambda c: stats.read(c, index=index, embedder=embedder, degraded=self._meaning.degraded)
        )

    async def export(self, target: Path) -> Exchanged:
        """Write everything that is remembered and was learned to a file of JSON Lines.

        Raises:
            StorageError: It cannot be written.
        """
        return await exchange.write(self._store, target)

    async def import_file(self, source: Path, *, scope: Scope | None = None) -> Exchanged:
        """Take up an export of a hub, or notes that another program kept (see `importers`).

        Args:
            scope: Whom another program's notes are for; everyone when None. A hub's own export
                says so itself.

        Raises:
            InvalidArguments: The file cannot be read or understood; names the line.
            StorageError: It could not be kept.
        """
        lines = await asyncio.to_thread(lambda: list(exchange.read_lines(source)))
        if lines and exchange.FORMAT in lines[0]:
            taken = await exchange.read(self._store, lines)
            await self._learning.refresh()
        else:
            drafts = [
                Draft(
                    experience=note.text,
                    intent=note.about,
                    scope=scope or GLOBAL,
                    provenance=Provenance(source="imported"),
                    happened_at=note.at,
                )
                for note in importers.notes("".join(lines), source.name)
            ]
            taken = await self._storing.keep_all(drafts)
        self._meaning.catch_up()
        return taken

    async def reindex(self, on_progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Embed what the sentence model in use has not embedded, and build the index anew.

        What is done stays done when this is cancelled: the next start goes on from there.

        Args:
            on_progress: Told how many episodes are done, and of how many.

        Returns:
            How many episodes were embedded.

        Raises:
            ConfigError: There is no sentence model, or it cannot be used.
        """
        return await self._meaning.reindex(on_progress)

    async def _run(self) -> None:
        """Own what goes on in the background: the model, the index, the record of recalls."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_guarded(self._ledger.run), name="memory-ledger")
            tasks.create_task(_guarded(self._meaning.run), name="memory-meaning")


async def _guarded(work: Callable[[], Awaitable[None]]) -> None:
    """Do background work that must not take the rest of the memory down when it fails."""
    try:
        await work()
    except Exception:
        # What was stored is safe; store and recall go on without what failed here.
        log.exception("memory's background work failed")
