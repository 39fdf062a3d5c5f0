"""A recall: candidates by meaning and by words, ordered by relevance, then by learned value.

What is not relevant is not returned, however well it ranks among what is there: the
best of nothing is nothing.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hub.clock import Clock
from hub.memory import episodes, fulltext, intents, ranking, value
from hub.memory.episode import Episode, Hit, Scope
from hub.memory.meaning import Meaning
from hub.settings import MemorySettings
from hub.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from hub.memory.episodes import Kept

POOL = 60
"""How many candidates each of the two searches contributes."""
INTENTS_NEAR_MAX = 64
"""How many of the nearest judged intents are asked about the candidates."""
HELPFUL_MAX = 5
"""How many episodes that helped with similar intents join the candidates."""
HELPFUL_COSINE = 0.8
"""How similar such an intent must be."""
COVERAGE_FLOOR = 0.5
"""An episode with this share of the query's words is relevant, whatever its meaning."""
COVERAGE_FLOOR_ALONE = 0.25
"""The same without a sentence model, where words are all there is."""
NOISE_MEAN = 0.02
NOISE_SPREAD = 0.065
"""How similar a query is to texts that have nothing to do with it (all-MiniLM-L6-v2)."""
SIMILAR = 0.3
"""From here on similarity is given as a reason."""
COVERAGE_CHARS = 8_000
"""How much of a text is compared with the query's words."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a recall asks for.

    Attributes:
        vector: Of the query; None without a sentence model.
        k1: How many candidates relevance hands on to value.
        k2: How many hits there are at most.
        value_weight: 0 ranks by relevance alone, 1 by learned value alone.
        min_score: Hits that score less are left out.
    """

    query: str
    vector: NDArray[Any] | None
    scopes: Sequence[Scope]
    k1: int
    k2: int
    value_weight: float
    min_score: float


@dataclass(frozen=True, slots=True)
class _Pool:
    """The candidates with everything that is known about them, by key."""

    kept: dict[int, Kept]
    similarity: dict[int, float]
    lexical: dict[int, float]
    helpful: frozenset[int]
    judged: dict[int, list[tuple[int, float, float]]]


class Recalling:
    """Answers recalls.

    Args:
        rng: For the exploration term, when that is on.
        weights: What each signal of relevance counts.
    """

    def __init__(
        self,
        store: Store,
        meaning: Meaning,
        settings: MemorySettings,
        clock: Clock,
        rng: random.Random,
        weights: ranking.Weights,
    ) -> None:
        self._store = store
        self._meaning = meaning
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._weights = weights

    async def find(self, wanted: Wanted) -> list[tuple[int, Hit]]:
        """The hits with their keys, best first."""
        near = self._near_intents(wanted)
        pool = await self._pool(wanted, near)
        if not pool.kept:
            return []
        now = self._clock.now()
        keys = list(pool.kept)
        words = fulltext.words(wanted.query)
        actors = {kept.episode.actor for kept in pool.kept.values()} - {None}
        named = {actor for actor in actors if actor is not None and _is_named(actor, words)}
        relevance = ranking.relevance(
            [
                ranking.Candidate(
                    similarity=pool.similarity.get(key),
                    lexical=pool.lexical.get(key, 0.0),
                    thread=_thread(kept.episode),
                    position=kept.position,
                    actor=_actor_signal(kept.episode.actor, named),
                    chars=len(episodes.rendered(kept.episode)),
                    age_s=now - kept.episode.happened_at,
                )
                for key, kept in pool.kept.items()
            ],
            self._weights,
        )
        relevant = self._relevant(wanted, pool)
        order = [row for row in np.argsort(-relevance.score, kind="stable") if keys[row] in relevant]
        first = order[: wanted.k1]
        first += [row for row in order[wanted.k1 :] if keys[row] in pool.helpful]
        scaled = ranking.minmax(relevance.score[first])
        kernels = _kernels(near)
        hits = []
        for row, best in zip(first, scaled.tolist(), strict=True):
            key = keys[row]
            episode = pool.kept[key].episode
            learned = self._learned(episode, kernels, pool.judged.get(key, []), now)
            score = (1 - wanted.value_weight) * best + wanted.value_weight * (0.5 + learned)
            if self._settings.exploration:
                score += self._settings.exploration * self._rng.random() / (1 + episode.visits)
            hit = Hit(
                episode=episode,
                score=min(1.0, score),
                similarity=pool.similarity.get(key),
                lexical=float(relevance.lexical[row]),
                neighbour=float(relevance.neighbour[row]) if episode.thread is not None else 0.0,
                recency=float(relevance.recency[row]),
                value=learned,
                why=(),
            )
            hits.append((key, hit))
        hits.sort(key=lambda entry: -entry[1].score)
        terms = fulltext.terms(wanted.query)
        return [
            (key, replace(hit, why=_reasons(hit, terms, hit.episode.actor in named, key in pool.helpful)))
            for key, hit in hits[: wanted.k2]
            if hit.score >= wanted.min_score
        ]

    def _near_intents(self, wanted: Wanted) -> dict[int, float]:
        """Judged intents that have something to say about the query: cosines by key, nearest first."""
        sense = self._meaning.sense
        if sense is None or wanted.vector is None:
            return {}
        near = sense.intents.cosines(wanted.vector, value.KERNEL_FLOOR)
        return dict(sorted(near.items(), key=lambda item: -item[1])[:INTENTS_NEAR_MAX])

    async def _pool(self, wanted: Wanted, near: Mapping[int, float]) -> _Pool:
        sense, vector = self._meaning.sense, wanted.vector
        by_words = self._store.read(lambda c: dict(fulltext.search(c, wanted.query, wanted.scopes, POOL)))
        if sense is None or vector is None:
            lexical, similarity = await by_words, {}
        else:
            lexical, dense = await asyncio.gather(by_words, sense.vectors.search(vector, wanted.scopes, POOL))
            similarity = dict(dense)

        def read(connection: Connection) -> _Pool:
            close = {key: cosine for key, cosine in near.items() if cosine >= HELPFUL_COSINE}
            helpful = intents.helpful_at(connection, close, HELPFUL_MAX)
            found = episodes.by_keys(connection, {*similarity, *lexical, *helpful})
            kept = {key: each for key, each in found.items() if each.episode.scope in wanted.scopes}
            if sense is not None and vector is not None:
                unseen = [key for key in kept if key not in similarity]
                others = episodes.vectors_of(connection, unseen, sense.embedder.id)
                similarity.update((key, float(other @ vector)) for key, other in others.items())
            judged = intents.values_near(connection, list(near), list(kept))
            return _Pool(kept, similarity, lexical, frozenset(helpful), judged)

        return await self._store.read(read)

    def _relevant(self, wanted: Wanted, pool: _Pool) -> set[int]:
        """The candidates that have to do with the query at all."""
        floor = self._settings.relevance_floor
        if floor == 0:
            return set(pool.kept)
        terms = fulltext.terms(wanted.query)
        enough = len(terms) * (COVERAGE_FLOOR_ALONE if wanted.vector is None else COVERAGE_FLOOR)
        covering = {
            key
            for key in pool.lexical
            if key in pool.kept and len(fulltext.shared(terms, _stems(pool.kept[key].episode))) >= enough
        }
        certain = covering | (pool.helpful & pool.kept.keys())
        best = max((pool.similarity.get(key, -1.0) for key in pool.kept), default=-1.0)
        if not certain and best < max(floor, _best_by_chance(self._size(wanted))):
            return set()
        return certain | {key for key in pool.kept if pool.similarity.get(key, -1.0) >= floor}

    def _size(self, wanted: Wanted) -> int:
        sense = self._meaning.sense
        return 0 if sense is None else sense.vectors.size(wanted.scopes)

    def _learned(
        self,
        episode: Episode,
        kernels: Mapping[int, float],
        judged: Sequence[tuple[int, float, float]],
        now: float,
    ) -> float:
        """What past judgements add or take, faded by the time since the last one."""
        learned = value.advantage(kernels, judged, episode.direct_visits, episode.direct_rewards)
        return value.faded(learned, now - episode.q_updated_at, self._settings.value_half_life_days * 86_400)


def _best_by_chance(size: int) -> float:
    """What the best of so many unrelated texts reaches: the more there are, the better it looks."""
    return NOISE_MEAN + NOISE_SPREAD * math.sqrt(2 * math.log(max(2, size)))


def _kernels(near: Mapping[int, float]) -> dict[int, float]:
    return dict(zip(near, value.kernel(np.array(list(near.values()))).tolist(), strict=True))


def _thread(episode: Episode) -> str | None:
    """A thread's name, distinct over all scopes."""
    return None if episode.thread is None else f"{episode.scope} {episode.thread}"


def _is_named(actor: str, words: Sequence[str]) -> bool:
    """Whether the query's words name an actor, by any part of the name."""
    return any(part in words for part in fulltext.words(actor))


def _stems(episode: Episode) -> set[str]:
    return fulltext.stems(episodes.rendered(episode)[:COVERAGE_CHARS])


def _actor_signal(actor: str | None, named: set[str]) -> float:
    if actor is None or not named:
        return 0.5
    return 1.0 if actor in named else 0.0


def _reasons(hit: Hit, terms: Sequence[str], named: bool, helpful: bool) -> tuple[str, ...]:
    """Why an episode was returned, in words, strongest first."""
    reasons: list[tuple[float, str]] = []
    episode = hit.episode
    if helpful:
        reasons.append((1.0, "it helped with a very similar intent"))
    if hit.similarity is not None and hit.similarity >= SIMILAR:
        reasons.append((hit.similarity, f"it is similar in meaning ({hit.similarity:.2f})"))
    common = fulltext.shared(terms, _stems(episode))
    if common:
        reasons.append((hit.lexical, f"it shares the words {', '.join(common[:5])}"))
    if hit.neighbour >= SIMILAR:
        reasons.append((hit.neighbour / 2, "it stands next to relevant turns"))
    if named:
        reasons.append((0.3, f"the query names {episode.actor}"))
    if abs(hit.value) >= 0.01:
        verb = "helped" if hit.value > 0 else "was of little use"
        reasons.append(
            (
                2 * abs(hit.value),
                f"it {verb} before ({episode.successes} good of {episode.visits} judgements)",
            )
        )
    return tuple(reason for _, reason in sorted(reasons, key=lambda entry: -entry[0]))
