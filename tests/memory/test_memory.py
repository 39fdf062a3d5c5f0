"""What a memory is for: what was stored is found, what helped ranks higher, what was forgotten is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import InvalidArguments, TooLarge, UnknownName
from hub.memory import GLOBAL, Provenance, Scope
from tests.memory.opening import NOTES, files_with, opened, texts

pytestmark = pytest.mark.anyio


async def test_a_query_that_nothing_is_about_recalls_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        for note in NOTES:
            await memory.store(note)
        assert texts(await memory.recall("moons of Jupiter")) == []
        assert texts(await memory.recall("a recipe for sourdough bread")) == []


async def test_an_empty_memory_recalls_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        recall = await memory.recall("how do I deploy?")
        assert recall.hits == ()
        assert recall.recall_id


async def test_what_was_stored_is_found_by_meaning_at_once_and_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        for note in NOTES:
            await memory.store(note)
        assert texts(await memory.recall("why did the release break?"))[0] == NOTES[0]
    async with opened(tmp_path) as memory:
        await memory.ready()
        assert (await memory.stats()).index == "ready"
        assert texts(await memory.recall("why did the release break?"))[0] == NOTES[0]


async def test_an_episode_that_helped_ranks_higher_for_similar_intents(tmp_path: Path) -> None:
    useful = "Restart the search container after the index was rebuilt."
    async with opened(tmp_path) as memory:
        for note in (*NOTES, useful, "Search results are sorted by date in the admin page."):
            await memory.store(note)
        before = await memory.recall("the search results look wrong")
        assert texts(before).index(useful) > 0
        helped = next(hit.episode for hit in before.hits if hit.episode.experience == useful)
        for _ in range(3):
            again = await memory.recall("search results are wrong again")
            await memory.feedback(1.0, recall_id=again.recall_id, used_ids=[helped.episode_id])
        after = await memory.recall("wrong search results")
        assert texts(after)[0] == useful
        assert after.hits[0].value > 0
        assert any("helped" in reason for reason in after.hits[0].why)


async def test_a_judgement_moves_the_value_towards_the_reward(tmp_path: Path) -> None:
    async with opened(tmp_path, learning_rate=0.2) as memory:
        episode = await memory.store(NOTES[0])
        feedback = await memory.feedback(1.0, episode_id=episode.episode_id)
        assert feedback.values[episode.episode_id] == pytest.approx((0.5, 0.6))
        feedback = await memory.feedback(0.0, episode_id=episode.episode_id)
        assert feedback.values[episode.episode_id] == pytest.approx((0.6, 0.48))
        (kept,) = await memory.list()
        assert (kept.visits, kept.successes, kept.failures) == (2, 1, 1)


async def test_judging_a_run_reaches_what_the_run_recalled(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        episode = await memory.store(NOTES[0])
        await memory.recall("the deployment failed", run_id="run-1")
        feedback = await memory.feedback(1.0, run_id="run-1")
        assert list(feedback.values) == [episode.episode_id]


async def test_a_recall_can_be_judged_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        episode = await memory.store(NOTES[0])
        recall = await memory.recall("the deployment failed")
    async with opened(tmp_path) as memory:
        feedback = await memory.feedback(0.0, recall_id=recall.recall_id)
        before, after = feedback.values[episode.episode_id]
        assert after < before


async def test_feedback_on_something_unknown_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        with pytest.raises(UnknownName, match="rc_none"):
            await memory.feedback(1.0, recall_id="rc_none")
        with pytest.raises(UnknownName, match="ep_none"):
            await memory.feedback(1.0, episode_id="ep_none")
        with pytest.raises(InvalidArguments, match="exactly one"):
            await memory.feedback(1.0)
        with pytest.raises(InvalidArguments, match="between 0 and 1"):
            await memory.feedback(1.5, episode_id="ep_none")


async def test_a_scope_is_seen_by_those_who_name_it_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        await memory.store(NOTES[0], provenance=Provenance(project="/home/ada/shop"))
        await memory.store(NOTES[1], scope=GLOBAL)
        await memory.store(NOTES[2], scope=Scope("session", "s1"))
        assert set(texts(await memory.recall("what do you know?", project="/home/ada/shop"))) <= {
            NOTES[0],
            NOTES[1],
        }
        assert NOTES[0] not in texts(await memory.recall("the deployment failed", project="/home/ada/other"))
        assert NOTES[0] in texts(await memory.recall("the deployment failed", project="/home/ada/shop"))
        session = await memory.recall("staging database password", scopes=[Scope("session", "s1")])
        assert texts(session) == [NOTES[2]]


async def test_the_same_text_is_counted_and_not_kept_twice(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        first = await memory.store(NOTES[0])
        second = await memory.store("  " + NOTES[0].upper() + "\n")
        assert (second.episode_id, second.seen) == (first.episode_id, 2)
        assert len(await memory.list()) == 1


async def test_what_is_forgotten_is_neither_found_nor_in_any_file(tmp_path: Path) -> None:
    secret = "the xylophone is hidden behind the boiler"
    async with opened(tmp_path) as memory:
        episode = await memory.store(secret)
        await memory.store(NOTES[0])
        await memory.ready()
        recall = await memory.recall("where is the xylophone?")
        await memory.feedback(1.0, recall_id=recall.recall_id)
        assert await memory.forget(episode_ids=[episode.episode_id]) == [episode.episode_id]
        assert secret not in texts(await memory.recall("where is the xylophone?"))
    assert files_with(tmp_path, b"xylophone") == []


async def test_texts_out_of_bounds_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, episode_chars_max=1000) as memory:
        with pytest.raises(TooLarge, match="episode_chars_max"):
            await memory.store("x" * 1001)
        with pytest.raises(InvalidArguments):
            await memory.store("   ")
        with pytest.raises(InvalidArguments):
            await memory.recall("")
