"""The record of recalls, kept so that feedback can name one.

A recall is written down soon after it was answered, not before: what is read does not
wait for the disk, and recall works while the disk is full.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import delete, func, insert, select

from hub.errors import Busy, StorageError
from hub.store import Store
from hub.tables import episodes, recall_hits, recalls

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection, Row

log = logging.getLogger(__name__)

RECALLS_MAX = 20_000
"""How many recalls are kept."""
PENDING_MAX = 256
"""How many recalls may wait to be written down; the oldest is dropped for a new one."""
RETRY_S = 5.0
"""After how long to try again when the disk refused."""


@dataclass(frozen=True, slots=True)
class RecallRecord:
    """What a recall returned, and for which query.

    Attributes:
        vector: The query's; None without a sentence model.
        hits: Keys and scores, best first.
    """

    recall_id: str
    at: float
    client: str | None
    run_id: str | None
    query: str
    embedder: str | None
    vector: NDArray[Any] | None
    hits: tuple[tuple[int, float], ...]


class Ledger:
    """Writes recalls down behind the caller's back, in order."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: list[RecallRecord] = []
        self._wanted = asyncio.Event()
        self._writing = asyncio.Lock()

    def add(self, record: RecallRecord) -> None:
        """Have a recall written down soon."""
        self._pending.append(record)
        if len(self._pending) > PENDING_MAX:
            dropped = self._pending.pop(0)
            log.warning("recall not written down", extra={"recall_id": dropped.recall_id})
        self._wanted.set()

    async def run(self) -> None:
        """Write down what is added, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if not await self.flush():
                await asyncio.sleep(RETRY_S)
                self._wanted.set()

    async def flush(self) -> bool:
        """Write down what is pending now; what the disk refuses stays pending."""
        async with self._writing:
            pending, self._pending = self._pending, []
            if not pending:
                return True
            try:
                # Cancelled here, the store writes them all the same.
                await self._store.write(lambda c: _write(c, pending))
            except (StorageError, Busy) as error:
                log.warning("recalls not written down yet", extra={"reason": error.message})
                self._pending[:0] = pending
                return False
            return True


def named(connection: Connection, recall_id: str) -> RecallRecord | None:
    """A kept recall."""
    row = connection.execute(select(recalls).where(recalls.c.recall_id == recall_id)).first()
    return None if row is None else _record(connection, row)


def of_run(connection: Connection, run_id: str) -> list[RecallRecord]:
    """What a run recalled, oldest first."""
    rows = connection.execute(select(recalls).where(recalls.c.run_id == run_id).order_by(recalls.c.at))
    return [_record(connection, row) for row in rows.all()]


def forget(connection: Connection, keys: Sequence[int]) -> None:
    """Delete the recalls that returned any of some episodes: their queries speak of them."""
    named = select(recall_hits.c.recall_id).where(recall_hits.c.id.in_(keys))
    connection.execute(delete(recalls).where(recalls.c.recall_id.in_(named)))


def _write(connection: Connection, pending: Sequence[RecallRecord]) -> None:
    """Keep recalls, and let go of the oldest beyond `RECALLS_MAX`."""
    keys = {key for record in pending for key, _ in record.hits}
    living = set(connection.execute(select(episodes.c.id).where(episodes.c.id.in_(keys))).scalars())
    rows = [
        {
            "recall_id": record.recall_id,
            "at": record.at,
            "client": record.client,
            "run_id": record.run_id,
            "query": record.query,
            "embedder": record.embedder,
            "vector": None if record.vector is None else record.vector.astype("<f4").tobytes(),
        }
        for record in pending
    ]
    hits = [
        {"recall_id": record.recall_id, "rank": rank, "id": key, "score": score}
        for record in pending
        for rank, (key, score) in enumerate(record.hits, 1)
        if key in living
    ]
    connection.execute(insert(recalls), rows)
    if hits:
        connection.execute(insert(recall_hits), hits)
    surplus = (connection.execute(select(func.count()).select_from(recalls)).scalar() or 0) - RECALLS_MAX
    if surplus > 0:
        oldest = select(recalls.c.recall_id).order_by(recalls.c.at).limit(surplus)
        connection.execute(delete(recalls).where(recalls.c.recall_id.in_(oldest)))


def _record(connection: Connection, row: Row[Any]) -> RecallRecord:
    hits = connection.execute(
        select(recall_hits.c.id, recall_hits.c.score)
        .where(recall_hits.c.recall_id == row.recall_id)
        .order_by(recall_hits.c.rank)
    )
    return RecallRecord(
        row.recall_id,
        row.at,
        row.client,
        row.run_id,
        row.query,
        row.embedder,
        None if row.vector is None else np.frombuffer(row.vector, dtype="<f4"),
        tuple((hit.id, hit.score) for hit in hits),
    )
