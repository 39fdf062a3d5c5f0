"""The vector index: Chroma, as something that can be rebuilt and must not be trusted.

A Chroma folder that was cut off in mid-write may fail, lose vectors or crash the
process that opens it, and two processes on one folder corrupt it silently. So it
holds nothing that the store does not hold, its one owner is whoever holds the home's
lock, and before it is opened here another process opens it on trial. What fails the
trial is moved aside. Chroma is imported when the index opens, in the index's thread.

One collection for each scope: a filter inside a collection is slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hub.errors import StorageError

if TYPE_CHECKING:
    from chromadb.api.client import Client
    from chromadb.api.models.Collection import Collection
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

T = TypeVar("T")

PROBE_DEADLINE_S = 60.0
"""How long the trial may take; importing Chroma alone takes a second."""
FETCH_DEADLINE_S = 900.0
"""How long the download of a sentence model may take."""
QUERY_DEADLINE_S = 15.0
"""How long a search may take before the caller does without."""
WRITE_DEADLINE_S = 60.0
"""How long one batch may take."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One vector of the index: its name, what it stands for, and facts for a person who looks inside."""

    name: str
    vector: NDArray[Any]
    document: str
    metadata: dict[str, str | int | float | bool]


class Index:
    """The Chroma folder of one home.

    Every method may raise `StorageError`: then nothing that the index holds can be relied on.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread: ThreadPoolExecutor | None = None
        self._client: Client | None = None
        self._collections: dict[str, Collection] = {}

    async def open(self) -> bool:
        """Open the folder, on trial first; what fails is moved aside and replaced by an empty index.

        Returns:
            Whether what was there before was kept.

        Raises:
            StorageError: Not even an empty index can be opened.
        """
        kept = await self._usable()
        if not kept and self._folder.exists():
            aside = self._folder.with_name(self._folder.name + ".damaged")
            await asyncio.to_thread(_move_aside, self._folder, aside)
            log.warning("index moved aside", extra={"index": str(self._folder), "aside": str(aside)})
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub-index")
        await self._run(self._open, WRITE_DEADLINE_S)
        return kept

    async def names(self, scope: str, owner: str) -> set[str]:
        """The names of everything in a scope.

        A collection of another owner is emptied first: its vectors cannot be compared.

        Args:
            scope: The scope, as text.
            owner: What made the vectors.
        """

        def read() -> set[str]:
            collection = self._collection(scope)
            if (collection.metadata or {}).get("owner") != owner:
                self._drop(scope)
                collection = self._collection(scope, owner)
            return set(collection.get(include=[])["ids"])

        return await self._run(read, WRITE_DEADLINE_S)

    async def scopes(self) -> list[str]:
        """Every scope that has a collection."""

        def read() -> list[str]:
            collections = self._opened().list_collections()
            return [str((collection.metadata or {}).get("scope", "")) for collection in collections]

        return await self._run(read, WRITE_DEADLINE_S)

    async def put(self, scope: str, owner: str, entries: Sequence[Entry]) -> None:
        """Add entries, or replace those of the same name."""

        def write() -> None:
            self._collection(scope, owner).upsert(
                ids=[entry.name for entry in entries],
                embeddings=[entry.vector for entry in entries],
                documents=[entry.document for entry in entries],
                metadatas=[entry.metadata for entry in entries],
            )

        if entries:
            await self._run(write, WRITE_DEADLINE_S)

    async def delete(self, scope: str, names: Iterable[str]) -> None:
        """Remove entries; unknown names are ignored."""
        wanted = list(names)
        if wanted:
            await self._run(lambda: self._collection(scope).delete(ids=wanted), WRITE_DEADLINE_S)

    async def drop(self, scope: str) -> None:
        """Remove a scope with everything in it, from the files too."""

        def remove() -> None:
            self._drop(scope)
            # Chroma marks what it deletes as free and leaves the words where they are.
            with contextlib.closing(sqlite3.connect(self._folder / "chroma.sqlite3")) as database:
                database.execute("VACUUM")

        await self._run(remove, WRITE_DEADLINE_S)

    async def query(self, scope: str, vector: NDArray[Any], limit: int) -> list[tuple[str, float]]:
        """The nearest entries of a scope: names and cosines, best first."""

        def search() -> list[tuple[str, float]]:
            answer = self._collection(scope).query(
                query_embeddings=[vector], n_results=limit, include=["distances"]
            )
            distances = answer["distances"]
            assert distances is not None
            return [
                (name, 1.0 - distance) for name, distance in zip(answer["ids"][0], distances[0], strict=True)
            ]

        return await self._run(search, QUERY_DEADLINE_S)

    async def close(self) -> None:
        """Let go of the folder. Closing twice is harmless."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        # Queued behind the work that was taken on, some of which nobody waits for any more.
        await asyncio.get_running_loop().run_in_executor(thread, self._shut)
        thread.shutdown(wait=False)

    def _shut(self) -> None:
        client, self._client = self._client, None
        self._collections.clear()
        if client is not None:
            client.close()

    async def _usable(self) -> bool:
        """Whether the folder holds an index that another process can open and search."""
        if not (self._folder / "chroma.sqlite3").is_file():
            return False
        probe = Path(__file__).with_name("index_probe.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(probe),
            str(self._folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PROBE_DEADLINE_S):
                _, complaint = await process.communicate()
        except TimeoutError:
            log.warning("index trial timed out", extra={"index": str(self._folder)})
            return False
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            log.warning(
                "index trial failed",
                extra={
                    "index": str(self._folder),
                    "exit": process.returncode,
                    "stderr": complaint.decode(errors="replace")[-2000:],
                },
            )
        return process.returncode == 0

    def _open(self) -> None:
        import chromadb
        from chromadb.config import Settings

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Chroma would read any `.env` in the current folder, and send statistics.
        settings = Settings(_env_file=None, anonymized_telemetry=False)
        self._client = cast("Client", chromadb.PersistentClient(self._folder, settings=settings))

    def _opened(self) -> Client:
        assert self._client is not None, "the index is not open"
        return self._client

    def _collection(self, scope: str, owner: str | None = None) -> Collection:
        name = _collection_name(scope)
        if name not in self._collections:
            metadata: dict[str, Any] = {"scope": scope}
            if owner is not None:
                metadata["owner"] = owner
            self._collections[name] = self._opened().get_or_create_collection(
                name,
                metadata=metadata,
                configuration={"hnsw": {"space": "cosine"}},
                # Chroma's default function would download a model.
                embedding_function=None,
            )
        return self._collections[name]

    def _drop(self, scope: str) -> None:
        from chromadb.errors import NotFoundError

        name = _collection_name(scope)
        self._collections.pop(name, None)
        with contextlib.suppress(NotFoundError):
            self._opened().delete_collection(name)

    async def _run(self, job: Callable[[], T], deadline_s: float) -> T:
        if self._thread is None:
            raise StorageError(f"{self._folder}: the index is closed")
        future = asyncio.get_running_loop().run_in_executor(self._thread, job)
        future.add_done_callback(_retrieved)
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.shield(future)
        except TimeoutError:
            raise StorageError(f"{self._folder}: the index took over {deadline_s:g} s") from None
        except AssertionError:
            raise
        except Exception as error:  # Chroma raises its own errors, ValueError and the Rust core's alike
            raise StorageError(f"{self._folder}: the index failed: {error}") from error


def _collection_name(scope: str) -> str:
    """Chroma's names are short and plain; scopes are paths."""
    return "s-" + hashlib.sha256(scope.encode()).hexdigest()[:32]


def _move_aside(folder: Path, aside: Path) -> None:
    """Keep one damaged index, the latest, for whoever wants to look."""
    if aside.exists():
        shutil.rmtree(aside)
    folder.rename(aside)


def _retrieved(future: asyncio.Future[Any]) -> None:
    """Work that nobody waits for any more may fail in peace."""
    if not future.cancelled():
        future.exception()


async def fetch_sentence_model() -> bool:
    """Have Chroma download the sentence model it uses itself, about 80 MB, into its cache.

    Chroma checks what it got. In a process of its own, so that it can be cut off: without a
    network it tries for half a minute.

    Returns:
        Whether it is there now.
    """
    code = (
        "from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2\n"
        "ONNXMiniLM_L6_V2()(['ready'])"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", code),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(FETCH_DEADLINE_S):
            return await process.wait() == 0
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
