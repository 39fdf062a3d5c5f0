"""Feeds: the events of runs, kept for listeners that come late or come again.

A listener names the last sequence number it has seen and goes on after it. A feed is
bounded: of a long run the oldest events are dropped, which shows in the numbers.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

from hub.agent.events import Event
from hub.errors import UnknownName

_EVENTS_MAX = 2048
_ENDED_MAX = 32


class Feed:
    """The events of one run."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_EVENTS_MAX)
        self._changed = asyncio.Event()
        self._ended = False

    def add(self, event: Event) -> None:
        """Keep an event and wake who follows."""
        self._events.append(event)
        self._wake()

    def end(self) -> None:
        """No event follows."""
        self._ended = True
        self._wake()

    async def follow(self, after_seq: int = 0) -> AsyncIterator[Event]:
        """The kept events after a sequence number, then each as it comes, until the run ends."""
        while True:
            changed = self._changed
            for event in list(self._events):
                if event.seq > after_seq:
                    after_seq = event.seq
                    yield event
            if changed is not self._changed:
                continue
            if self._ended:
                return
            # Bounded by the run, which has a deadline and ends its feed whatever happens.
            await changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Feeds:
    """The feeds of the runs that are running, and of the latest that ended."""

    def __init__(self) -> None:
        self._running: dict[str, Feed] = {}
        self._ended: OrderedDict[str, Feed] = OrderedDict()

    def open(self, run_id: str) -> Feed:
        """The feed of a run that begins."""
        feed = self._running[run_id] = Feed()
        return feed

    def close(self, run_id: str) -> None:
        """End the feed of a run that ended; it is kept for a while."""
        feed = self._running.pop(run_id)
        feed.end()
        self._ended[run_id] = feed
        while len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)

    def feed(self, run_id: str) -> Feed:
        """The feed of a run.

        Raises:
            UnknownName: There is no such run, or it ended long ago.
        """
        feed = self._running.get(run_id) or self._ended.get(run_id)
        if feed is None:
            raise UnknownName(
                f"there are no events of run {run_id!r}; the latest {_ENDED_MAX} runs' are kept"
            )
        return feed
