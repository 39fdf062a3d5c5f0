"""What the machine can do to a memory, and that nothing acknowledged is lost by it."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from hub.clock import ManualClock
from hub.errors import ConfigError, StorageError
from hub.home import Home
from hub.memory import Memory
from hub.settings import MemorySettings
from hub.store import Store
from tests.memory.opening import NOTES, opened, texts

pytestmark = pytest.mark.anyio

QUERY = "why did the deployment break?"


async def filled(folder: Path) -> None:
    async with opened(folder) as memory:
        for note in NOTES:
            await memory.store(note)
        await memory.ready()
        assert (await memory.stats()).index == "ready"


@pytest.mark.parametrize("damage", ["garbage", "foreign"])
async def test_a_damaged_index_is_rebuilt_while_recall_goes_on(tmp_path: Path, damage: str) -> None:
    await filled(tmp_path)
    index = Home.at(tmp_path).index_folder
    database = index / "chroma.sqlite3"
    if damage == "garbage":
        database.write_bytes(b"this is no database" * 500)
    else:
        await filled(tmp_path / "other")
        async with opened(tmp_path / "other") as memory:
            await memory.store("The deployment broke because of a solar flare.")
            await memory.ready()
        shutil.rmtree(index)
        shutil.copytree(Home.at(tmp_path / "other").index_folder, index)
    async with opened(tmp_path) as memory:
        assert texts(await memory.recall(QUERY))[0] == NOTES[0]
        await memory.ready()
        assert (await memory.stats()).index == "ready"
        found = texts(await memory.recall(QUERY))
        assert found[0] == NOTES[0]
        assert set(found) <= set(NOTES)
    if damage == "garbage":
        assert index.with_name("index.damaged").is_dir()


async def test_an_index_that_lists_what_it_cannot_find_is_rebuilt(tmp_path: Path) -> None:
    await filled(tmp_path)
    # The vectors of a small collection wait in this log; without it they are listed and never found.
    with sqlite3.connect(Home.at(tmp_path).index_folder / "chroma.sqlite3") as database:
        database.execute("DELETE FROM embeddings_queue")
    database.close()
    async with opened(tmp_path) as memory:
        await memory.ready()
        assert texts(await memory.recall(QUERY))[0] == NOTES[0]
        assert (await memory.stats()).index == "ready"


async def test_a_full_disk_refuses_the_store_and_recall_goes_on(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    store = Store(home.store_file, pages_max=160)
    await store.open()
    memory = await Memory.open(home, MemorySettings(), ManualClock(), random.Random(0), store)
    kept: list[str] = []

    async def store_without_end() -> None:
        while True:
            episode = await memory.store(f"Note {len(kept)}: " + "word " * 1000)
            kept.append(episode.episode_id)

    with pytest.raises(StorageError, match="disk is full"):
        await asyncio.wait_for(store_without_end(), 60)
    assert kept
    recall = await memory.recall(f"Note {len(kept) - 1} word")
    assert recall.hits
    await memory.close()
    await store.close()
    async with opened(tmp_path) as again:
        assert {episode.episode_id for episode in await again.list(limit=1000)} == set(kept)
        await again.store("There is room again.")


async def test_a_locked_database_is_a_clear_error_and_nothing_is_lost(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    store = Store(home.store_file, busy_deadline_s=0.2)
    await store.open()
    memory = await Memory.open(home, MemorySettings(), ManualClock(), random.Random(0), store)
    await memory.store(NOTES[0])
    other = sqlite3.connect(home.store_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="another process"):
        await memory.store(NOTES[1])
    assert texts(await memory.recall(QUERY)) == [NOTES[0]]
    other.execute("ROLLBACK")
    other.close()
    await memory.store(NOTES[1])
    assert len(await memory.list()) == 2
    await memory.close()
    await store.close()


async def test_a_home_that_is_a_file_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(ConfigError, match="home"):
        await Memory.open(Home.at(tmp_path / "home"), MemorySettings(), ManualClock(), random.Random(0))


async def test_without_a_sentence_model_recall_goes_by_words_and_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, embedder_path=tmp_path / "no model") as memory:
        for note in NOTES:
            await memory.store(note)
        recall = await memory.recall("the staging database")
        assert texts(recall) == [NOTES[2]]
        assert recall.hits[0].similarity is None
        assert "no model" in (recall.degraded or "")
        await memory.feedback(1.0, recall_id=recall.recall_id)
        assert (await memory.stats()).index == "off"
    # What was stored meanwhile gets its vectors as soon as there is a model.
    async with opened(tmp_path) as memory:
        await memory.ready()
        recall = await memory.recall("credentials of the test system's data store")
        assert texts(recall)[0] == NOTES[2]
        assert recall.degraded is None


async def test_another_sentence_model_needs_a_reindex_which_keeps_everything(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        for note in NOTES:
            await memory.store(note)
        recall = await memory.recall(QUERY)
        await memory.feedback(1.0, recall_id=recall.recall_id, used_ids=[recall.hits[0].episode.episode_id])
        await memory.ready()
    # As if another model had made them all.
    with sqlite3.connect(Home.at(tmp_path).store_file) as database:
        database.execute("UPDATE vectors SET embedder = 'another-model'")
        database.execute("UPDATE intents SET embedder = 'another-model'")
    database.close()
    progress: list[tuple[int, int]] = []
    async with opened(tmp_path) as memory:
        recall = await memory.recall("the deployment failed")
        assert "hub memory reindex" in (recall.degraded or "")
        assert texts(recall)[0] == NOTES[0]
        assert await memory.reindex(lambda done, total: progress.append((done, total))) == len(NOTES)
        assert progress[-1] == (len(NOTES), len(NOTES))
        recall = await memory.recall(QUERY)
        assert recall.degraded is None
        assert recall.hits[0].value > 0
        assert (await memory.stats()).index == "ready"


STORES_UNTIL_KILLED = """
import asyncio, random, sys
from pathlib import Path
from hub.clock import SystemClock
from hub.home import Home
from hub.memory import Memory
from hub.settings import MemorySettings

async def main():
    home, run = sys.argv[1:]
    memory = await Memory.open(Home.at(home), MemorySettings(), SystemClock(), random.Random(run))
    await memory.ready()

    async def worker(name):
        number = 0
        while True:
            number += 1
            text = f"{run} {name} {number}"
            await memory.store(f"Worker {name} of run {run} noted {number}: {text}")
            print(text, flush=True)
            if number % 5 == 0:
                recall = await memory.recall(f"what did worker {name} note?")
                await memory.feedback(1.0, recall_id=recall.recall_id, source=f"{name}{number}")

    await asyncio.gather(*(worker(name) for name in "abc"))

asyncio.run(main())
"""


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    chance = random.Random(3)
    for run in range(2):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", STORES_UNTIL_KILLED, str(tmp_path), str(run)),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert child.stdout is not None
        enough = len(acknowledged) + chance.randint(20, 60)
        async with asyncio.timeout(60):
            while len(acknowledged) < enough:
                acknowledged.add((await child.stdout.readline()).decode().strip())
        child.kill()
        rest = (await child.stdout.read()).decode()
        acknowledged.update(line.strip() for line in rest.splitlines(keepends=True) if line.endswith("\n"))
        await child.wait()
        async with opened(tmp_path) as memory:
            kept = {episode.experience.rpartition(": ")[2] for episode in await memory.list(limit=10_000)}
            assert acknowledged <= kept
            await asyncio.wait_for(memory.ready(), 60)
            assert (await memory.recall("what did worker a note?")).hits
