"""What a recall can be asked for beside its query."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import InvalidArguments
from tests.memory.opening import NOTES, opened, texts

pytestmark = pytest.mark.anyio


async def test_a_second_hop_finds_what_the_first_one_speaks_of(tmp_path: Path) -> None:
    first = "Ada's talk at the conference was about the otter cluster."
    second = "The otter cluster runs in the cellar of the Kiel office."
    async with opened(tmp_path) as memory:
        for note in (*NOTES, first, second):
            await memory.store(note)
        query = "what did Ada talk about?"
        assert second not in texts(await memory.recall(query))
        assert second in texts(await memory.recall(query, hops=2))
        assert texts(await memory.recall("a recipe for sourdough bread", hops=2)) == []


async def test_the_fuller_the_context_the_fewer_episodes_come_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        for number in range(8):
            await memory.store(f"The deployment number {number} failed because the disk was full.")
        query = "why did the deployment fail?"
        counts = [len((await memory.recall(query, pressure=pressure)).hits) for pressure in (0, 0.4, 1)]
        assert counts == [5, 3, 1]


async def test_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        for wrong in ({"k1": 0}, {"k2": 0}, {"value_weight": 1.5}, {"hops": 3}, {"pressure": 2.0}):
            with pytest.raises(InvalidArguments):
                await memory.recall("anything", **wrong)
