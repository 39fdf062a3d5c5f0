"""Episodic memory: what happened, and how much remembering it has helped.

`Memory` stores, recalls, learns from feedback and forgets. SQLite holds everything
(`hub.store`); vectors are found by Chroma (`hub.index`) or, while that is not ready,
by exact search; words by full-text search. A recall has two phases: candidates by
relevance, then their order by relevance and learned value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.memory.episode import GLOBAL, Episode, Hit, Provenance, Recall, Scope

if TYPE_CHECKING:
    from hub.memory.learning import Feedback
    from hub.memory.memory import Memory, Stats

__all__ = [
    "GLOBAL",
    "Episode",
    "Feedback",
    "Hit",
    "Memory",
    "Provenance",
    "Recall",
    "Scope",
    "Stats",
]


def __getattr__(name: str) -> Any:
    """`Memory` brings NumPy and SQLAlchemy, so it is imported when it is first named."""
    if name in ("Memory", "Feedback", "Stats"):
        from hub.memory import learning, memory

        return getattr(learning if name == "Feedback" else memory, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
