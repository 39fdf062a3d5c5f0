"""Feedback moves what it is about, where it is about it, and no more than it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.clock import ManualClock
from hub.errors import Busy
from hub.memory import Memory
from tests.memory.opening import opened, texts

pytestmark = pytest.mark.anyio

CAUSES = (
    "The search results look wrong after an upgrade; rebuilding the index helped.",
    "The search results look wrong after an upgrade; clearing the cache helped.",
    "The search results look wrong after an upgrade; a restart of the workers helped.",
)
QUERY = "search results look wrong after the upgrade"


async def filled(memory: Memory) -> dict[str, str]:
    """Store the causes; returns their ids by text."""
    return {text: (await memory.store(text)).episode_id for text in CAUSES}


async def test_what_was_used_rises_and_what_was_shown_beside_it_sinks(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        ids = await filled(memory)
        recall = await memory.recall(QUERY)
        last = texts(recall)[-1]
        await memory.feedback(1.0, recall_id=recall.recall_id, used_ids=[ids[last]])
        hits = {hit.episode.experience: hit for hit in (await memory.recall(QUERY)).hits}
        assert hits[last].value > 0
        assert all(hit.value < 0 for text, hit in hits.items() if text != last)
        # Not having been used is no failure of its own.
        assert all(hit.episode.failures == 0 for hit in hits.values())


async def test_what_did_harm_sinks_and_nothing_else_is_blamed(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        ids = await filled(memory)
        recall = await memory.recall(QUERY)
        first = texts(recall)[0]
        await memory.feedback(0.0, recall_id=recall.recall_id, used_ids=[ids[first]])
        hits = {hit.episode.experience: hit for hit in (await memory.recall(QUERY)).hits}
        assert hits[first].value < 0
        assert all(hit.value == 0 for text, hit in hits.items() if text != first)


async def test_what_helped_one_intent_says_nothing_about_another(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        ids = await filled(memory)
        recall = await memory.recall(QUERY)
        await memory.feedback(1.0, recall_id=recall.recall_id, used_ids=[ids[CAUSES[2]]])
        elsewhere = await memory.recall("how do I restart the workers?")
        assert all(hit.value == 0 for hit in elsewhere.hits)


async def test_judging_again_replaces_what_the_same_source_said(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        await filled(memory)
        recall = await memory.recall(QUERY)
        await memory.feedback(1.0, recall_id=recall.recall_id, source="ada")
        once = {episode.episode_id: episode for episode in await memory.list()}
        for _ in range(5):
            await memory.feedback(1.0, recall_id=recall.recall_id, source="ada")
        many = {episode.episode_id: episode for episode in await memory.list()}
        assert {key: each.q_value for key, each in many.items()} == pytest.approx(
            {key: each.q_value for key, each in once.items()}
        )
        await memory.feedback(0.0, recall_id=recall.recall_id, source="ada")
        assert all(episode.q_value < 0.5 and episode.visits == 1 for episode in await memory.list())
        assert (await memory.stats()).judgements == {"ada": 1}


async def test_two_sources_may_judge_the_same_recall(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        await filled(memory)
        recall = await memory.recall(QUERY)
        await memory.feedback(1.0, recall_id=recall.recall_id, source="ada")
        await memory.feedback(1.0, recall_id=recall.recall_id, source="agent")
        assert {episode.visits for episode in await memory.list()} == {2}


async def test_a_source_that_judges_without_end_is_refused_until_a_minute_has_passed(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock, feedback_per_minute_max=3) as memory:
        episode_id = (await filled(memory))[CAUSES[0]]
        for _ in range(3):
            await memory.feedback(1.0, episode_id=episode_id, source="loud")
        with pytest.raises(Busy, match="feedback_per_minute_max"):
            await memory.feedback(1.0, episode_id=episode_id, source="loud")
        await memory.feedback(1.0, episode_id=episode_id, source="calm")
        clock.advance(61)
        await memory.feedback(1.0, episode_id=episode_id, source="loud")


async def test_a_source_that_counts_half_moves_values_half_as_far(tmp_path: Path) -> None:
    async with opened(tmp_path, learning_rate=0.2, feedback_weights={"agent": 0.5}) as memory:
        episode_id = (await filled(memory))[CAUSES[0]]
        by_agent = await memory.feedback(1.0, episode_id=episode_id, source="agent")
        assert by_agent.values[episode_id] == pytest.approx((0.5, 0.55))


async def test_an_episode_judged_by_itself_rises_for_every_intent(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        ids = await filled(memory)
        await memory.feedback(1.0, episode_id=ids[CAUSES[2]])
        for query in (QUERY, "restart of the workers"):
            hits = (await memory.recall(query)).hits
            assert [hit.episode.experience for hit in hits if hit.value > 0] == [CAUSES[2]]


async def test_what_was_learned_fades_with_time(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock, value_half_life_days=10) as memory:
        ids = await filled(memory)
        recall = await memory.recall(QUERY)
        await memory.feedback(1.0, recall_id=recall.recall_id, used_ids=[ids[CAUSES[0]]])

        async def value() -> float:
            hits = (await memory.recall(QUERY)).hits
            return next(hit.value for hit in hits if hit.episode.experience == CAUSES[0])

        fresh = await value()
        clock.advance(10 * 86_400)
        assert await value() == pytest.approx(fresh / 2)


async def test_learning_survives_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as memory:
        ids = await filled(memory)
        recall = await memory.recall(QUERY)
        worst = texts(recall)[-1]
        await memory.feedback(1.0, recall_id=recall.recall_id, used_ids=[ids[worst]])
    async with opened(tmp_path) as memory:
        assert texts(await memory.recall(QUERY))[0] == worst
