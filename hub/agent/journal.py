"""The journal of a running turn: what it has completed, on disk while the turn goes on.

Writing goes on beside the work and lingers a little, so that a short turn leaves only
its record. A step that must not happen twice waits until all before it is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from hub.calls import Json
from hub.errors import HubError

log = logging.getLogger(__name__)

_LINGER_S = 0.3
"""How long a step may wait for company; the most of a turn that a killed hub forgets."""


class Journal:
    """Keeps messages in their order.

    Args:
        run_id: The run, for the log.
        write: Puts one step on disk: its messages, and its number from 0.
    """

    def __init__(self, run_id: str, write: Callable[[Sequence[Json], int], Awaitable[None]]) -> None:
        self._run_id = run_id
        self._write = write
        self._pending: list[Json] = []
        self._written = 0
        self._writing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def add(self, messages: Sequence[Json]) -> None:
        """Keep messages soon."""
        self._pending += messages
        if self._writing is None or self._writing.done():
            self._hurry.clear()
            self._writing = asyncio.create_task(self._drain(), name=f"journal {self._run_id}")

    async def settled(self) -> None:
        """Wait until everything added so far is kept, or could not be.

        A disk that refuses does not end a turn that is under way: the turn's own
        record, at its end, says so to the caller.
        """
        self._hurry.set()
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def close(self) -> None:
        """Stop writing: the turn itself goes on record now."""
        self._pending.clear()
        await self.settled()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_LINGER_S):
                await self._hurry.wait()
        except TimeoutError:
            pass
        while self._pending:
            messages, self._pending = self._pending, []
            try:
                await self._write(messages, self._written)
            except HubError as error:
                log.error("step not kept", extra={"run_id": self._run_id, "error": error.message})
            self._written += 1
