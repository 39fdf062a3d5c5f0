"""Sessions: what was said, turn by turn, and exactly what the agent did about it.

A turn is written once, when it ends, and never changed. While it runs, each step it
has completed is kept aside, so that a hub that dies leaves an honest record: the next
hub closes such turns as `interrupted`, with everything up to the last step. A session
keeps its latest turns, as many as its window holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.sessions.turn import (
    Filter,
    Found,
    Prompt,
    SessionEntry,
    Summary,
    Turn,
    TurnEntry,
    checked_session_id,
)

if TYPE_CHECKING:
    from hub.sessions.sessions import Sessions

__all__ = [
    "Filter",
    "Found",
    "Prompt",
    "SessionEntry",
    "Sessions",
    "Summary",
    "Turn",
    "TurnEntry",
    "checked_session_id",
]


def __getattr__(name: str) -> Any:
    """`Sessions` brings SQLAlchemy, so it is imported when it is first named."""
    if name == "Sessions":
        from hub.sessions.sessions import Sessions

        return Sessions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
