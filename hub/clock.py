"""Time as a seam: the wall clock for what is recorded, the loop's clock for what is waited for.

Code that waits uses asyncio (`asyncio.timeout`, `loop.call_later`), whose clock a
simulation replaces by running on a loop with virtual time. Code that records a
moment takes a `Clock`.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the wall time."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()


class ManualClock:
    """A clock that stands still until it is moved; for tests and simulation."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Args:
            seconds: How far, at least 0.
        """
        assert seconds >= 0
        self._now += seconds
