"""Facts end when others take their place; core blocks are changed by who has read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.clock import ManualClock
from hub.errors import InvalidArguments, NotAllowed, TooLarge, UnknownName
from hub.memory import GLOBAL, Scope
from tests.memory.opening import opened, texts

pytestmark = pytest.mark.anyio

QUERY = "which port does the search service listen on?"


async def test_a_fact_that_another_takes_the_place_of_is_kept_and_no_longer_recalled(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock) as memory:
        old = await memory.store("The search service listens on port 8080.", subject="search service")
        before = clock.now()
        clock.advance(3600)
        new = await memory.store(
            "The search service listens on port 9090.",
            subject="search service",
            supersedes=[old.episode_id],
        )
        assert new.kind == "fact"
        assert texts(await memory.recall(QUERY)) == [new.experience]
        assert texts(await memory.recall(QUERY, as_of=before)) == [old.experience]
        history = await memory.facts("Search Service")
        assert [(fact.experience, fact.valid_to) for fact in history] == [
            (old.experience, clock.now()),
            (new.experience, None),
        ]


async def test_a_fact_holds_from_its_beginning(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock) as memory:
        await memory.store(
            "The office is in Kiel.", subject="office", valid_from=clock.now() + 86_400, scope=GLOBAL
        )
        assert texts(await memory.recall("where is the office?")) == []
        assert texts(await memory.recall("where is the office?", as_of=clock.now() + 90_000)) != []


async def test_a_fact_cannot_take_the_place_of_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        with pytest.raises(UnknownName, match="ep_none"):
            await memory.store("The office is in Kiel.", subject="office", supersedes=["ep_none"])
        assert await memory.list() == []


async def test_a_fact_that_holds_again_is_a_new_fact(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        first = await memory.store("The lamp is on.", subject="lamp")
        second = await memory.store("The lamp is off.", subject="lamp", supersedes=[first.episode_id])
        third = await memory.store("The lamp is on.", subject="lamp", supersedes=[second.episode_id])
        assert third.episode_id != first.episode_id
        assert [fact.valid_to is None for fact in await memory.facts("lamp")] == [False, False, True]


async def test_a_block_is_written_by_who_has_read_its_version(tmp_path: Path) -> None:
    project = Scope("project", "/home/ada/shop")
    async with opened(tmp_path) as memory:
        made = await memory.blocks.create(project, "preferences", "Tabs.", by="ada")
        assert made.version == 1
        written = await memory.blocks.write(project, "preferences", "Tabs, always.", version=1, by="agent")
        assert (written.value, written.version, written.updated_by) == ("Tabs, always.", 2, "agent")
        with pytest.raises(InvalidArguments, match="version 2 and not 1") as refused:
            await memory.blocks.write(project, "preferences", "Spaces.", version=1)
        assert refused.value.details["value"] == "Tabs, always."
    async with opened(tmp_path) as memory:
        assert [block.value for block in await memory.blocks.list([GLOBAL, project])] == ["Tabs, always."]
        assert await memory.blocks.list([GLOBAL]) == []
        await memory.blocks.remove(project, "preferences")
        with pytest.raises(UnknownName, match="preferences"):
            await memory.blocks.read(project, "preferences")


async def test_a_block_keeps_its_bounds(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        await memory.blocks.create(GLOBAL, "persona", "Kind.", read_only=True, chars_max=10)
        with pytest.raises(NotAllowed, match="read-only"):
            await memory.blocks.write(GLOBAL, "persona", "Rude.", version=1)
        with pytest.raises(TooLarge, match="10 characters"):
            await memory.blocks.write(GLOBAL, "persona", "x" * 11, version=1, force=True)
        assert (await memory.blocks.write(GLOBAL, "persona", "Calm.", version=1, force=True)).value == "Calm."
        for label in ("", "Über", "a b", "x" * 65):
            with pytest.raises(InvalidArguments, match="label"):
                await memory.blocks.create(GLOBAL, label)
        with pytest.raises(InvalidArguments, match="already"):
            await memory.blocks.create(GLOBAL, "persona")
