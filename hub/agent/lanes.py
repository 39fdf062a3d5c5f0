"""Lanes: one turn at a time in each session, the others in a bounded queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hub.errors import Busy


class Lanes:
    """Keeps the turns of a session apart, in the order they came.

    A session has a lane only while a turn runs or waits in it, so sessions that were
    are no burden.

    Args:
        queue_max: How many turns may wait in one lane.
        wait_max_s: How long one may wait.
    """

    def __init__(self, queue_max: int, wait_max_s: float) -> None:
        self._queue_max = queue_max
        self._wait_max_s = wait_max_s
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        """How many sessions have a turn now."""
        return len(self._waiting)

    def check(self, session_id: str) -> None:
        """See whether a turn can at least wait.

        Raises:
            Busy: Too many turns wait already.
        """
        waiting = self._waiting.get(session_id)
        if waiting is not None and len(waiting) >= self._queue_max:
            raise Busy(
                f"session {session_id!r} has a turn running and {len(waiting)} waiting already. "
                "Wait for them, or use another session",
                session_id=session_id,
            )

    @asynccontextmanager
    async def turn(self, session_id: str) -> AsyncIterator[None]:
        """Have the session to oneself.

        Raises:
            Busy: Too many turns wait already, or the wait took too long.
        """
        waiting = self._waiting.get(session_id)
        if waiting is None:
            self._waiting[session_id] = deque()
        else:
            await self._wait(session_id, waiting)
        try:
            yield
        finally:
            self._hand_on(session_id)

    async def _wait(self, session_id: str, waiting: deque[asyncio.Future[None]]) -> None:
        self.check(session_id)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(place)
        try:
            async with asyncio.timeout(self._wait_max_s):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                # The lane was handed over in the same instant.
                self._hand_on(session_id)
            else:
                waiting.remove(place)
            if isinstance(error, TimeoutError):
                raise Busy(
                    f"session {session_id!r} was busy for {self._wait_max_s:g} s. Try again later",
                    session_id=session_id,
                ) from None
            raise

    def _hand_on(self, session_id: str) -> None:
        waiting = self._waiting[session_id]
        while waiting:
            place = waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        del self._waiting[session_id]
