"""Episodic memory: what happened, and how much remembering it has helped.

`Memory` stores, recalls, learns from feedback and forgets. SQLite holds everything
(`hub.store`); vectors are found by Chroma (`hub.index`) or, while that is not ready,
by exact search; words by full-text search. A recall has two phases: candidates by
relevance, then their order by relevance and learned value.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hub.memory.episode import GLOBAL, Episode, Hit, Provenance, Recall, Scope

if TYPE_CHECKING:
    from hub.memory.blocks import Block
    from hub.memory.exchange import Exchanged
    from hub.memory.learning import Feedback
    from hub.memory.memory import Memory
    from hub.memory.stats import Stats
    from hub.memory.tidying import Tidied

__all__ = [
    "GLOBAL",
    "Block",
    "Episode",
    "Exchanged",
    "Feedback",
    "Hit",
    "Memory",
    "Provenance",
    "Recall",
    "Scope",
    "Stats",
    "Tidied",
]


_LAZY = {
    "Block": "blocks",
    "Exchanged": "exchange",
    "Feedback": "learning",
    "Memory": "memory",
    "Stats": "stats",
    "Tidied": "tidying",
}


def __getattr__(name: str) -> Any:
    """What brings NumPy and SQLAlchemy is imported when it is first named."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"hub.memory.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
