"""How the memory's tests open one, and read what it recalls."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hub.clock import ManualClock
from hub.home import Home
from hub.memory import Memory, Recall
from hub.settings import MemorySettings

NOTES = (
    "The deployment failed because the disk was full; pruning old images fixed it.",
    "Ada prefers tabs over spaces in Python files.",
    "The staging database password rotates every Monday morning.",
    "Use ripgrep rather than grep in this repository.",
    "The invoice export needs the Berlin time zone.",
)

# Ids differ from one opening to the next, as they do in life.
_seeds = random.Random(7)


@asynccontextmanager
async def opened(folder: Path, clock: ManualClock | None = None, **settings: object) -> AsyncIterator[Memory]:
    """The memory of a home in a folder, closed behind the block."""
    memory = await Memory.open(
        Home.at(folder),
        MemorySettings.model_validate(settings),
        clock or ManualClock(),
        random.Random(_seeds.random()),
    )
    try:
        yield memory
    finally:
        await memory.close()


def texts(recall: Recall) -> list[str]:
    """What a recall returned, best first."""
    return [hit.episode.experience for hit in recall.hits]


def files_with(folder: Path, words: bytes) -> list[str]:
    """The names of the files under a folder that hold these bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if words in path.read_bytes()]
