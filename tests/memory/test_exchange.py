"""A memory goes out to a file and comes back the same; notes of other programs come in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hub.errors import InvalidArguments
from hub.memory import Episode, Memory, Provenance, Scope
from tests.memory.opening import NOTES, opened, texts

pytestmark = pytest.mark.anyio


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


async def everything(memory: Memory) -> dict[str, Episode]:
    return {episode.episode_id: episode for episode in await memory.list(limit=1000)}


async def test_an_export_brings_back_every_episode_and_all_that_was_learned(tmp_path: Path) -> None:
    query = "the deployment failed"
    async with opened(tmp_path / "one") as memory:
        for note in NOTES:
            await memory.store(note, provenance=Provenance("tester 1", "run_1", "/home/ada/shop"))
        await memory.store("Hello.", actor="Ada", thread="t", happened_at=5.0, scope=Scope("session", "s"))
        recall = await memory.recall(query, project="/home/ada/shop")
        used = recall.hits[-1].episode.episode_id
        await memory.feedback(1.0, recall_id=recall.recall_id, used_ids=[used], source="ada")
        await memory.feedback(0.0, episode_id=used, source="ben")
        before = await everything(memory)
        valued = [
            (hit.episode.episode_id, hit.value)
            for hit in (await memory.recall(query, project="/home/ada/shop")).hits
        ]
        out = await memory.export(tmp_path / "memory.jsonl")
        assert (out.episodes, out.intents, out.judgements) == (6, 1, 2)
    async with opened(tmp_path / "two") as memory:
        assert await memory.import_file(tmp_path / "memory.jsonl") == out
        await memory.ready()
        assert await everything(memory) == before
        again = await memory.recall(query, project="/home/ada/shop")
        assert [(hit.episode.episode_id, hit.value) for hit in again.hits] == valued
        assert (await memory.stats()).judgements == {"ada": 1, "ben": 1}


async def test_importing_what_is_there_already_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        await memory.store(NOTES[0])
        before = await everything(memory)
        await memory.export(tmp_path / "memory.jsonl")
        taken = await memory.import_file(tmp_path / "memory.jsonl")
        assert (taken.episodes, taken.skipped) == (0, 1)
        assert await everything(memory) == before


async def test_a_broken_line_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        await memory.store(NOTES[0])
        await memory.export(tmp_path / "memory.jsonl")
        lines = (tmp_path / "memory.jsonl").read_text().splitlines()
        write(tmp_path / "memory.jsonl", "\n".join([*lines, '{"type": "episode"}']))
        with pytest.raises(InvalidArguments, match="line 3"):
            await memory.import_file(tmp_path / "memory.jsonl")
        write(tmp_path / "memory.jsonl", "\n".join([lines[0], "{half"]))
        with pytest.raises(InvalidArguments, match="line 2"):
            await memory.import_file(tmp_path / "memory.jsonl")


async def test_markdown_notes_become_episodes_under_their_headings(tmp_path: Path) -> None:
    notes = (
        "# Project\n\n## Style\n- Use tabs\n  in every file.\n- [x] Sort imports.\n\n"
        "## Hosts\nThe staging host is\ncalled otter.\n"
    )
    async with opened(tmp_path) as memory:
        taken = await memory.import_file(write(tmp_path / "MEMORY.md", notes))
        assert taken.episodes == 3
        kept = {episode.experience: episode for episode in await memory.list()}
        assert set(kept) == {"Use tabs in every file.", "Sort imports.", "The staging host is called otter."}
        assert kept["Sort imports."].intent == "Project / Style"
        assert kept["Sort imports."].provenance.source == "imported"
        await memory.ready()
        assert (
            texts(await memory.recall("name of the staging host"))[0] == "The staging host is called otter."
        )


async def test_the_graph_of_the_official_memory_server_becomes_episodes(tmp_path: Path) -> None:
    graph = [
        {
            "type": "entity",
            "name": "Ada",
            "entityType": "person",
            "observations": ["likes tea", "lives in Kiel"],
        },
        {"type": "relation", "from": "Ada", "to": "Ben", "relationType": "works_with"},
    ]
    async with opened(tmp_path) as memory:
        await memory.import_file(write(tmp_path / "memory.json", "\n".join(map(json.dumps, graph))))
        kept = {episode.experience for episode in await memory.list()}
        assert kept == {"Ada: likes tea", "Ada: lives in Kiel", "Ada works with Ben"}


async def test_memories_of_mem0_become_episodes_with_their_dates(tmp_path: Path) -> None:
    export = {
        "results": [{"id": "1", "memory": "Prefers window seats", "created_at": "2025-03-01T10:00:00+00:00"}]
    }
    async with opened(tmp_path) as memory:
        await memory.import_file(
            write(tmp_path / "mem0.json", json.dumps(export)), scope=Scope("user", "ada")
        )
        (episode,) = await memory.list()
        assert episode.experience == "Prefers window seats"
        assert episode.happened_at == 1740823200.0
        assert str(episode.scope) == "user:ada"


async def test_a_file_of_no_known_format_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        with pytest.raises(InvalidArguments, match=r"strange\.bin"):
            await memory.import_file(write(tmp_path / "strange.bin", "what is this?"))
        with pytest.raises(InvalidArguments, match="cannot be read"):
            await memory.import_file(tmp_path / "missing.jsonl")
