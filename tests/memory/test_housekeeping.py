"""Sessions become episodes, the useless is set aside and can come back, the useful is promoted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from hub.clock import ManualClock
from hub.memory import GLOBAL, Provenance, Scope
from hub.store import Store
from hub.tables import sessions, turns
from tests.memory.opening import NOTES, opened, texts

pytestmark = pytest.mark.anyio

DAY_S = 86_400.0


def add_turns(session_id: str, first: int, last: int, project: str | None = None) -> Any:
    """Work that puts finished turns on record."""

    def work(connection: Connection) -> None:
        if first == 1:
            connection.execute(insert(sessions).values(session_id=session_id, created_at=1.0, updated_at=1.0))
        for seq in range(first, last + 1):
            connection.execute(
                insert(turns).values(
                    run_id=f"run_{session_id}_{seq}",
                    session_id=session_id,
                    seq=seq,
                    started_at=float(seq),
                    ended_at=float(seq),
                    status="completed",
                    caller={"project": project},
                    input=f"Please look after printer number {seq}.",
                    output=f"Printer number {seq} has new toner.",
                    messages=[],
                    tool_calls=[{"name": "printers.fill", "ok": seq != 2}],
                )
            )

    return work


async def on_record(folder: Path, work: Any) -> Any:
    store = Store(folder / "hub.sqlite3")
    await store.open()
    try:
        return await store.write(work)
    finally:
        await store.close()


async def test_the_oldest_turns_of_a_long_session_become_one_episode_once(tmp_path: Path) -> None:
    await on_record(tmp_path, add_turns("s", 1, 5, "/home/ada/shop"))
    async with opened(
        tmp_path, consolidation_threshold_turns=5, consolidation_take_turns=3, episode_chars_max=2000
    ) as memory:
        episode = await memory.consolidate("s")
        assert episode is not None
        assert episode.provenance.source == "consolidated"
        assert str(episode.scope) == "project:/home/ada/shop"
        assert "Used: printers.fill (failed)" in episode.experience
        assert episode.experience.count("Asked:") == 3
        assert episode.outcome == "Printer number 3 has new toner."
        # Two turns are left, which is not enough.
        assert await memory.consolidate("s") is None
        assert await memory.consolidate("no such session") is None
        assert texts(await memory.recall("who filled the printer?", project="/home/ada/shop"))
    marker = await on_record(tmp_path, lambda c: c.execute(select(sessions.c.consolidated_seq)).scalar())
    assert marker == 3


async def test_a_tidying_says_what_it_would_do_before_it_does_it_and_can_be_undone(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock) as memory:
        useless = await memory.store(NOTES[0])
        old = await memory.store(NOTES[1])
        pinned = await memory.store(NOTES[2], pinned=True)
        for source in ("a", "b", "c", "d"):
            await memory.feedback(0.0, episode_id=useless.episode_id, source=source)
        clock.advance(91 * DAY_S)
        fresh = await memory.store(NOTES[3])
        would = await memory.tidy()
        assert set(would.set_aside) == {useless.episode_id, old.episode_id}
        assert len(await memory.list()) == 4
        assert await memory.tidy(dry_run=False) == would
        assert {each.episode_id for each in await memory.list()} == {pinned.episode_id, fresh.episode_id}
        assert texts(await memory.recall("Ada's indentation preference")) == []
        assert await memory.bring_back([old.episode_id]) == [old.episode_id]
        assert texts(await memory.recall("Ada's indentation preference")) == [NOTES[1]]


async def test_what_was_set_aside_long_ago_is_forgotten_for_good(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock, set_aside_days=30) as memory:
        old = await memory.store(NOTES[0])
        clock.advance(91 * DAY_S)
        await memory.tidy(dry_run=False)
        clock.advance(31 * DAY_S)
        await memory.tidy(dry_run=False)
        assert await memory.bring_back([old.episode_id]) == []


async def test_what_helped_in_a_session_is_promoted_to_the_project(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        episode = await memory.store(
            NOTES[0], scope=Scope("session", "s"), provenance=Provenance(project="/home/ada/shop")
        )
        for source in ("ada", "ben"):
            await memory.feedback(1.0, episode_id=episode.episode_id, source=source)
        query = "why did the deployment break?"
        assert texts(await memory.recall(query, project="/home/ada/shop")) == []
        assert (await memory.tidy(dry_run=False)).promoted == {episode.episode_id: "project:/home/ada/shop"}
        assert texts(await memory.recall(query, project="/home/ada/shop")) == [NOTES[0]]
        assert texts(await memory.recall(query, scopes=[Scope("session", "s")])) == []


async def test_a_full_memory_sets_aside_what_is_worth_least(tmp_path: Path) -> None:
    async with opened(tmp_path, embedder_path=tmp_path / "none", episodes_max=100) as memory:
        pinned = await memory.store("The very first note, and a dear one.", pinned=True)
        for number in range(499):
            await memory.store(f"Note number {number}.", scope=GLOBAL)
        kept = await memory.list(limit=1000)
        assert len(kept) <= 100
        assert pinned.episode_id in {episode.episode_id for episode in kept}
