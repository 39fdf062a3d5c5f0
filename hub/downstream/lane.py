"""A second conversation with a server, for callers of the era that its first one does not speak.

A server that speaks both eras asks its questions in the way of the conversation's
era, so a caller is a caller of that era all the way through only where the
conversation is. One conversation is enough as long as all callers are of one era,
or cannot be asked anything; the second is opened for the first call that needs it,
and closed when none has for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from hub.downstream.links import Link
from hub.downstream.session import Session

log = logging.getLogger(__name__)

LANE_IDLE_S = 600.0
"""After how long without a call a second conversation is closed."""

OpenSession = Callable[[], Awaitable[tuple[Session, Link]]]
"""Opens a conversation, or leaves nothing behind."""

Attend = Callable[[Session], Awaitable[None]]
"""What goes on beside the calls for as long as the conversation lasts."""


class Lane:
    """A conversation that is open while it is used.

    Args:
        name: The server's name, for the log.
        open_session: Opens it.
        attend: Runs beside it.

    Attributes:
        link: What carries it, while it is open.
    """

    def __init__(self, name: str, open_session: OpenSession, attend: Attend) -> None:
        self._name = name
        self._open_session = open_session
        self._attend = attend
        self._opened: asyncio.Future[Session] | None = None
        self._owner: asyncio.Task[None] | None = None
        self.link: Link | None = None

    @property
    def open(self) -> Session | None:
        """The conversation, if it is open now."""
        opened = self._opened
        if opened is None or not opened.done() or opened.cancelled() or opened.exception() is not None:
            return None
        session = opened.result()
        return None if session.closed else session

    async def session(self) -> Session:
        """The conversation, opened if need be; every caller waits for the same opening.

        Raises:
            Exception: Whatever opening it raises.
        """
        if self._opened is not None and self._opened.done() and self.open is None and self._owner is not None:
            await asyncio.wait([self._owner])  # it has ended, and is being cleared away
        if self._opened is None:
            self._opened = asyncio.get_running_loop().create_future()
            self._owner = asyncio.get_running_loop().create_task(self._own(self._opened))
        return await asyncio.shield(self._opened)

    async def aclose(self) -> None:
        """Close it, and wait until nothing of it is left."""
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait([self._owner])

    async def _own(self, opened: asyncio.Future[Session]) -> None:
        """One conversation from start to end; the only task that opens or closes it."""
        try:
            session, link = await self._open_session()
        except asyncio.CancelledError:
            self._opened = None
            opened.cancel()
            raise
        except Exception as error:  # not swallowed: whoever waits for the opening is told
            self._opened = None
            opened.set_exception(error)
            opened.exception()  # they may all have gone meanwhile
            return
        self.link = link
        opened.set_result(session)
        attending = asyncio.ensure_future(self._attend(session))
        try:
            reason = await self._until_unused(session, link)
            log.info("a second conversation ends", extra={"server": self._name, "reason": reason})
        finally:
            self._opened = self.link = None
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)
            await asyncio.shield(asyncio.ensure_future(link.aclose()))

    async def _until_unused(self, session: Session, link: Link) -> str:
        closed = asyncio.ensure_future(link.peer.wait_closed())
        try:
            while True:
                served = session.served
                await asyncio.wait([closed], timeout=LANE_IDLE_S)
                if closed.done():
                    return closed.result()
                if session.served == served and not session.calls:
                    return "nobody uses it"
        finally:
            closed.cancel()
