"""Search by vector: Chroma for what it holds, exact search for everything else.

A vector is searched exactly from the moment it is stored until Chroma has taken it,
so nothing waits for Chroma and nothing is missed. While Chroma is being opened, tried
or rebuilt, "everything else" is everything: a scope is read from the store when it is
first searched. Session scopes stay that way; they are too many and too small for
collections.

What Chroma holds is compared with the store by name when it opens, so an index that
lost vectors, or belongs to another home, is mended by the difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hub.errors import StorageError
from hub.index import Entry, Index
from hub.memory import episodes
from hub.memory.episode import Episode, Scope
from hub.memory.telling import digest, rendered

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from hub.store import Store

log = logging.getLogger(__name__)

BATCH = 64
"""How many vectors go to Chroma at once: a search waits for at most one batch."""
GATHER_S = 1.0
"""How long what was stored waits for company before it goes to the index."""
REOPEN_WAITS_S = (1.0, 30.0)
"""After a failure, when to open the index again; after the last one it stays closed."""
SAMPLE = 8
"""How many of the newest vectors must be found before an index is trusted."""
SAME_COSINE = 0.999
"""A vector finds itself with no less."""
EXACT_SCOPES_MAX = 64
"""How many scopes are held for exact search at once; the one searched longest ago is dropped."""


class Vectors:
    """Every vector of one embedder.

    Args:
        store: Holds the vectors.
        index: Finds them, once `run` has opened it.
        embedder: The embedder's id.
        dimension: The vectors' length.

    Attributes:
        index_state: `opening`, `rebuilding`, `ready` or `failed`; searches work in each of them.
    """

    def __init__(self, store: Store, index: Index, embedder: str, dimension: int) -> None:
        self._store = store
        self._index = index
        self._embedder = embedder
        self._dimension = dimension
        self._exact: OrderedDict[Scope, _Exact] = OrderedDict()
        self._indexed: set[Scope] = set()
        self._reconciling: Scope | None = None
        self._unindexed: set[Scope] = set()
        self._distrusted: set[Scope] = set()
        self._waiting: dict[Scope, dict[int, _Waiting]] = {}
        self._sizes: dict[Scope, int] = {}
        self._broken = False
        self._running = True
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._settled = asyncio.Event()
        self.index_state = "opening"

    async def search(
        self, vector: NDArray[Any], scopes: Sequence[Scope], limit: int
    ) -> list[tuple[int, float]]:
        """The nearest episodes of all scopes together: keys and cosines, best first.

        Some may have been deleted a moment ago; the store knows.
        """
        found: dict[int, float] = {}
        for scope in scopes:
            found.update((await self._exact_for(scope)).nearest(vector, limit))
            # Asked second: what leaves the exact vectors is in the index already.
            if scope in self._indexed:
                try:
                    named = await self._index.query(str(scope), vector, limit)
                except StorageError:
                    log.exception("index search failed; searching exactly")
                    self._give_up()
                    found.update((await self._exact_for(scope)).nearest(vector, limit))
                else:
                    found.update((_key(name), cosine) for name, cosine in named)
        return sorted(found.items(), key=lambda item: -item[1])[:limit]

    def size(self, scopes: Iterable[Scope]) -> int:
        """About how many episodes the last searches of some scopes had to choose from."""
        return sum(self._sizes.get(scope, 0) for scope in scopes)

    def added(
        self, key: int, episode: Episode, vector: NDArray[Any], replaces: Episode | None = None
    ) -> None:
        """Take up an episode that the store has committed.

        Args:
            replaces: The same episode in the wording that it had before.
        """
        scope = episode.scope
        if replaces is None and scope in self._sizes:
            self._sizes[scope] += 1
        if scope in self._exact:
            self._exact[scope].add(key, vector)
        elif scope in self._indexed:
            self._exact[scope] = _Exact(self._dimension)
            self._exact[scope].add(key, vector)
        if self._taken_up(scope):
            before = None if replaces is None else digest(replaces)
            waiting = self._waiting.setdefault(scope, {})
            waiting[key] = _Waiting(episode, vector, before)
            if len(waiting) >= BATCH:
                self._hurry.set()
        elif scope.kind != "session":
            self._unindexed.add(scope)
        self._wake()

    def purge(self, scopes: Iterable[Scope]) -> None:
        """Rewrite the index of scopes from which the store has deleted something.

        They are searched exactly from now on, until the index has them again. Chroma alone
        would keep what it deletes in its files.
        """
        for scope in scopes:
            self._exact.pop(scope, None)
            self._waiting.pop(scope, None)
            self._indexed.discard(scope)
            if scope.kind != "session":
                self._unindexed.add(scope)
        self._wake()

    def rebuild(self, scopes: Iterable[Scope]) -> None:
        """Throw the index of some scopes away and build it anew."""
        scopes = set(scopes)
        self._distrusted.update(scopes)
        self.purge(scopes)

    async def run(self) -> None:
        """Open the index, bring it up to date and keep it so, until cancelled."""
        for wait_s in (*REOPEN_WAITS_S, None):
            try:
                await self._index.open()
                self.index_state = "rebuilding"
                self._broken = False
                await self._take_up_all()
                await self._follow()
            except StorageError:
                log.exception("index failed; searching exactly")
            self._give_up()
            await self._index.close()
            if wait_s is not None:
                await asyncio.sleep(wait_s)
        self._running = False
        self._settled.set()

    async def settle(self) -> None:
        """Wait until the index holds everything that was stored before, or is given up for good."""
        self._hurry.set()
        await self._settled.wait()

    async def close(self) -> None:
        """Let go of the index; `run` must have ended."""
        await self._index.close()

    async def _take_up_all(self) -> None:
        """Compare every scope with the store; drop collections of scopes that are no more."""
        living = [scope for scope in await self._store.read(episodes.scopes) if scope.kind != "session"]
        for known in await self._index.scopes():
            if known not in map(str, living):
                await self._index.drop(known)
        self._unindexed.update(living)

    async def _follow(self) -> None:
        """Move what is stored and deleted to the index as it comes.

        Raises:
            StorageError: The index failed.
        """
        while not self._broken:
            self._changed.clear()
            while self._unindexed:
                await self._take_up(self._unindexed.pop())
            for scope in list(self._waiting):
                await self._hand_over(scope)
            if not self._changed.is_set():
                self.index_state = "ready"
                self._settled.set()
            await self._changed.wait()
            # One batch of many costs the index, and the searches that wait for it, less than many of one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._hurry.wait()
            self._hurry.clear()

    async def _take_up(self, scope: Scope) -> None:
        """Make the index hold exactly what the store holds in a scope, and use it from then on."""
        # What is stored from here on waits its turn, since the comparison may not see it.
        self._reconciling = scope
        try:
            has = await self._index.names(str(scope), self._embedder)
            should = await self._store.read(lambda c: episodes.digests_in(c, scope, self._embedder))
            wanted = {_name(key, digest): key for key, digest in should.items()}
            # Deleting from Chroma leaves the text in its files, so a scope is written anew instead.
            stale = scope in self._distrusted or not has <= wanted.keys()
            if stale or not await self._finds(scope, [wanted[name] for name in has]):
                await self._index.drop(str(scope))
                self._distrusted.discard(scope)
                has = set()
            self._sizes[scope] = len(should)
            missing = [key for name, key in wanted.items() if name not in has]
            if missing:
                log.info(
                    "index taking up episodes", extra={"scope_kind": scope.kind, "episodes": len(missing)}
                )
            for start in range(0, len(missing), BATCH):
                await self._put(scope, missing[start : start + BATCH])
            self._indexed.add(scope)
        finally:
            self._reconciling = None
        self._exact[scope] = _Exact(self._dimension)
        for key, waiting in self._waiting.get(scope, {}).items():
            self._exact[scope].add(key, waiting.vector)

    async def _finds(self, scope: Scope, keys: Sequence[int]) -> bool:
        """Whether the index really finds what it lists; after a crash it may list what it has lost."""
        newest = sorted(keys)[-SAMPLE:]
        vectors = await self._store.read(lambda c: episodes.vectors_of(c, newest, self._embedder))
        for vector in vectors.values():
            found = await self._index.query(str(scope), vector, 1)
            if not found or found[0][1] < SAME_COSINE:
                log.warning("index has lost vectors; rebuilding", extra={"scope_kind": scope.kind})
                return False
        return True

    async def _put(self, scope: Scope, keys: list[int]) -> None:
        """Give the index episodes by their keys; those deleted meanwhile are left out."""

        def read(connection: Connection) -> tuple[dict[int, episodes.Kept], dict[int, NDArray[Any]]]:
            return (
                episodes.by_keys(connection, keys),
                episodes.vectors_of(connection, keys, self._embedder),
            )

        known, vectors = await self._store.read(read)
        entries = [_entry(key, known[key].episode, vectors[key]) for key in known if key in vectors]
        await self._index.put(str(scope), self._embedder, entries)

    async def _hand_over(self, scope: Scope) -> None:
        """Give the index what waits in a scope, batch by batch."""
        waiting = self._waiting.get(scope, {})
        while waiting:
            batch = list(waiting.items())[:BATCH]
            entries = [_entry(key, entry.episode, entry.vector) for key, entry in batch]
            await self._index.put(str(scope), self._embedder, entries)
            await self._index.delete(
                str(scope), [_name(key, entry.replaces) for key, entry in batch if entry.replaces]
            )
            for key, entry in batch:
                if waiting.get(key) is entry:
                    del waiting[key]
                    if scope in self._exact:
                        self._exact[scope].remove(key)
        self._waiting.pop(scope, None)

    async def _exact_for(self, scope: Scope) -> _Exact:
        """The vectors of a scope that the index does not hold."""
        if scope not in self._exact and scope not in self._indexed:
            keys, matrix = await self._store.read(lambda c: episodes.vectors_in(c, scope, self._embedder))
            if scope not in self._exact:
                self._exact[scope] = _Exact(self._dimension, keys, matrix)
                self._sizes[scope] = len(keys)
        exact = self._exact.setdefault(scope, _Exact(self._dimension))
        self._exact.move_to_end(scope)
        self._shed()
        return exact

    def _taken_up(self, scope: Scope) -> bool:
        return scope in self._indexed or scope == self._reconciling

    def _shed(self) -> None:
        """Drop the scopes searched longest ago; what waits for the index stays."""
        for scope in list(self._exact)[: max(0, len(self._exact) - EXACT_SCOPES_MAX)]:
            if scope not in self._waiting:
                del self._exact[scope]
                if scope not in self._indexed:
                    self._sizes.pop(scope, None)

    def _give_up(self) -> None:
        """Search exactly from now on; `run` tries to open the index again."""
        self._indexed.clear()
        self._exact.clear()
        self._waiting.clear()
        self._broken = True
        self.index_state = "failed"
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        if self._running:
            self._settled.clear()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An episode that the index has yet to take."""

    episode: Episode
    vector: NDArray[Any]
    replaces: str | None
    """The digest of the wording that the index knows it by."""


class _Exact:
    """Vectors in memory, found by comparing with each."""

    def __init__(self, dimension: int, keys: Sequence[int] = (), matrix: NDArray[Any] | None = None) -> None:
        self._keys = list(keys)
        self._rows = {key: row for row, key in enumerate(keys)}
        self._matrix = np.empty((0, dimension), dtype=np.float32)
        if matrix is not None and self._keys:
            self._matrix = matrix.copy()

    def add(self, key: int, vector: NDArray[Any]) -> None:
        if key in self._rows:
            self._matrix[self._rows[key]] = vector
            return
        count = len(self._keys)
        if count == len(self._matrix):
            grown = np.empty((max(16, count * 2), self._matrix.shape[1]), dtype=np.float32)
            grown[:count] = self._matrix
            self._matrix = grown
        self._matrix[count] = vector
        self._keys.append(key)
        self._rows[key] = count

    def remove(self, key: int) -> None:
        row = self._rows.pop(key, None)
        if row is None:
            return
        last = self._keys.pop()
        if last != key:
            self._matrix[row] = self._matrix[len(self._keys)]
            self._keys[row] = last
            self._rows[last] = row
        if not self._keys:
            self._matrix = self._matrix[:0]

    def nearest(self, vector: NDArray[Any], limit: int) -> list[tuple[int, float]]:
        if not self._keys:
            return []
        cosines = self._matrix[: len(self._keys)] @ vector
        best = np.argpartition(-cosines, limit - 1)[:limit] if limit < len(cosines) else range(len(cosines))
        return [(self._keys[row], float(cosines[row])) for row in best]


def _name(key: int, digest: str) -> str:
    """An entry's name: the key to find it by, and what it says, so that another text is another entry."""
    return f"{key}.{digest[:16]}"


def _key(name: str) -> int:
    return int(name.partition(".")[0])


def _entry(key: int, episode: Episode, vector: NDArray[Any]) -> Entry:
    return Entry(
        _name(key, digest(episode)),
        vector,
        rendered(episode),
        {"kind": episode.kind, "source": episode.provenance.source, "created_at": episode.created_at},
    )
