"""A recall: candidates by meaning and by words, ordered by relevance, then by learned value.

What is not relevant is not returned, however well it ranks among what is there: the
best of nothing is nothing.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hub.clock import Clock
from hub.memory import episodes, fulltext, intents, ranking, value
from hub.memory.episode import Hit, Scope
from hub.memory.meaning import Meaning, Sense
from hub.memory.telling import rendered
from hub.settings import MemorySettings
from hub.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from hub.memory.episodes import Brief
    from hub.memory.telling import Told

POOL = 60
"""How many candidates each of the two searches contributes."""
INTENTS_NEAR_MAX = 64
"""How many of the nearest judged intents are asked about the candidates."""
HELPFUL_MAX = 5
"""How many episodes that helped with similar intents join the candidates."""
HELPFUL_COSINE = 0.8
"""How similar such an intent must be."""
HOP_FROM = 3
"""From how many of the best candidates a second hop starts."""
HOP_REACH = 20
"""How many episodes each of them reaches."""
HOP_COSINE = 0.4
"""How near what they reach must be to count as relevant for it."""
COVERAGE_FLOOR = 0.5
"""An episode with this share of the query's words is relevant, whatever its meaning."""
COVERAGE_FLOOR_ALONE = 0.25
"""The same without a sentence model, where words are all there is."""
NOISE_MEAN = 0.02
NOISE_SPREAD = 0.08
"""How similar a query is to texts that have nothing to do with it (all-MiniLM-L6-v2)."""
SIMILAR = 0.3
"""From here on similarity is given as a reason."""
COVERAGE_CHARS = 8_000
"""How much of a text is compared with the query's words."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a recall asks for.

    Attributes:
        k1: How many candidates relevance hands on to value.
        k2: How many hits there are at most.
        value_weight: 0 ranks by relevance alone, 1 by learned value alone.
        min_score: Hits that score less are left out.
        as_of: The moment at which facts must hold; now when None.
        hops: 2 also looks for what is near to the best candidates rather than to the query.
    """

    query: str
    scopes: Sequence[Scope]
    k1: int
    k2: int
    value_weight: float
    min_score: float
    as_of: float | None = None
    hops: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """What a recall found.

    Attributes:
        hits: With their keys, best first.
        embedder: The sentence model in use; None without one.
        vector: The query's; None without a sentence model.
    """

    hits: list[tuple[int, Hit]]
    embedder: str | None
    vector: NDArray[Any] | None


@dataclass(frozen=True, slots=True)
class _Pool:
    """The candidates with everything that is known about them, by key."""

    briefs: dict[int, Brief]
    sense: Sense | None
    vector: NDArray[Any] | None
    near: dict[int, float]
    similarity: dict[int, float]
    lexical: dict[int, float]
    helpful: frozenset[int]
    judged: dict[int, list[tuple[int, float, float]]]
    bridges: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """One candidate with its place among the signals, what was learned about it, and its score."""

    key: int
    row: int
    learned: float
    score: float


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
        self._vocabulary = fulltext.Vocabulary()

    async def find(self, wanted: Wanted) -> Found:
        """What is relevant and has helped, best first."""
        pool = await self._pool(wanted)
        if wanted.hops > 1:
            pool = await self._hopped(wanted, pool)
        embedder = None if pool.sense is None else pool.sense.embedder.id
        return Found(await self._hits(wanted, pool), embedder, pool.vector)

    async def _hits(self, wanted: Wanted, pool: _Pool) -> list[tuple[int, Hit]]:
        if not pool.briefs:
            return []
        named = _named(wanted.query, pool)
        relevance = self._relevance(pool, named)
        best = self._ranked(wanted, pool, relevance)[: wanted.k2]
        kept = await self._store.read(lambda c: episodes.by_keys(c, [ranked.key for ranked in best]))
        terms = fulltext.terms(wanted.query)
        hits = []
        for ranked in best:
            if ranked.score < wanted.min_score or ranked.key not in kept:
                continue
            episode, row = kept[ranked.key].episode, ranked.row
            hit = Hit(
                episode=episode,
                score=ranked.score,
                similarity=pool.similarity.get(ranked.key),
                lexical=float(relevance.lexical[row]),
                neighbour=float(relevance.neighbour[row]) if episode.thread is not None else 0.0,
                recency=float(relevance.recency[row]),
                value=ranked.learned,
                why=(),
            )
            why = _reasons(hit, terms, episode.actor in named, ranked.key in pool.helpful)
            hits.append((ranked.key, replace(hit, why=why)))
        return hits

    def _relevance(self, pool: _Pool, named: set[str]) -> ranking.Relevance:
        """The signals of the candidates, in the order of the pool."""
        now = self._clock.now()
        return ranking.relevance(
            [
                ranking.Candidate(
                    similarity=pool.similarity.get(key),
                    lexical=pool.lexical.get(key, 0.0),
                    thread=None if brief.thread is None else f"{brief.scope} {brief.thread}",
                    position=brief.position,
                    actor=_actor_signal(brief.actor, named),
                    chars=len(brief.experience),
                    age_s=now - brief.happened_at,
                    bridge=pool.bridges.get(key, 0.0),
                )
                for key, brief in pool.briefs.items()
            ],
            self._weights,
        )

    def _ranked(self, wanted: Wanted, pool: _Pool, relevance: ranking.Relevance) -> list[_Ranked]:
        """What is relevant, by relevance and learned value, best first."""
        now = self._clock.now()
        keys = list(pool.briefs)
        relevant = self._relevant(wanted, pool)
        order = [row for row in np.argsort(-relevance.score, kind="stable").tolist() if keys[row] in relevant]
        first = order[: wanted.k1] + [row for row in order[wanted.k1 :] if keys[row] in pool.helpful]
        kernels = _kernels(pool.near)
        out = []
        for row, scaled in zip(first, ranking.minmax(relevance.score[first]).tolist(), strict=True):
            brief = pool.briefs[keys[row]]
            learned = self._learned(brief, kernels, pool.judged.get(brief.key, []), now)
            score = (1 - wanted.value_weight) * scaled + wanted.value_weight * (0.5 + learned)
            if self._settings.exploration:
                score += self._settings.exploration * self._rng.random() / (1 + brief.visits)
            out.append(_Ranked(brief.key, row, learned, min(1.0, score)))
        return sorted(out, key=lambda ranked: -ranked.score)

    async def _pool(self, wanted: Wanted) -> _Pool:
        """The candidates of both searches, and those that helped with similar intents."""
        by_words = self._store.read(
            lambda c: dict(fulltext.search(c, wanted.query, wanted.scopes, POOL, self._vocabulary))
        )
        vector, lexical = await asyncio.gather(self._meaning.embed(wanted.query), by_words)
        sense = None if vector is None else self._meaning.sense
        near: dict[int, float] = {}
        similarity: dict[int, float] = {}
        if sense is not None and vector is not None:
            near = _nearest(sense.intents.cosines(vector, value.KERNEL_FLOOR))
            similarity = dict(await sense.vectors.search(vector, wanted.scopes, POOL))

        as_of = self._clock.now() if wanted.as_of is None else wanted.as_of

        def read(connection: Connection) -> _Pool:
            close = {key: cosine for key, cosine in near.items() if cosine >= HELPFUL_COSINE}
            helpful = intents.helpful_at(connection, close, HELPFUL_MAX)
            found = episodes.briefs(connection, {*similarity, *lexical, *helpful}, as_of)
            briefs = {key: brief for key, brief in found.items() if brief.scope in wanted.scopes}
            if sense is not None and vector is not None:
                unseen = [key for key in briefs if key not in similarity]
                others = episodes.vectors_of(connection, unseen, sense.embedder.id)
                similarity.update((key, float(other @ vector)) for key, other in others.items())
            judged = intents.values_near(connection, list(near), list(briefs))
            return _Pool(briefs, sense, vector, near, similarity, lexical, frozenset(helpful), judged)

        return await self._store.read(read)

    async def _hopped(self, wanted: Wanted, pool: _Pool) -> _Pool:
        """The pool with what is near to its best candidates."""
        sense, vector = pool.sense, pool.vector
        if sense is None or vector is None or not pool.briefs:
            return pool
        keys = list(pool.briefs)
        relevant = self._relevant(wanted, pool)
        scores = self._relevance(pool, _named(wanted.query, pool)).score
        order = [keys[row] for row in np.argsort(-scores, kind="stable")]
        stones = [key for key in order if key in relevant][:HOP_FROM]
        known = await self._store.read(lambda c: episodes.vectors_of(c, stones, sense.embedder.id))
        bridges: dict[int, float] = {}
        for stone, stone_vector in known.items():
            for key, cosine in await sense.vectors.search(stone_vector, wanted.scopes, HOP_REACH):
                if key != stone:
                    bridges[key] = max(bridges.get(key, 0.0), cosine)
        as_of = self._clock.now() if wanted.as_of is None else wanted.as_of

        def read(connection: Connection) -> _Pool:
            new = bridges.keys() - pool.briefs.keys()
            briefs = {**pool.briefs, **episodes.briefs(connection, new, as_of)}
            others = episodes.vectors_of(connection, new, sense.embedder.id)
            similarity = {**pool.similarity, **{key: float(other @ vector) for key, other in others.items()}}
            judged = intents.values_near(connection, list(pool.near), list(briefs))
            return replace(pool, briefs=briefs, similarity=similarity, judged=judged, bridges=bridges)

        return await self._store.read(read)

    def _relevant(self, wanted: Wanted, pool: _Pool) -> set[int]:
        """The candidates that have to do with the query at all."""
        floor = self._settings.relevance_floor
        if floor == 0:
            return set(pool.briefs)
        similar = {key for key in pool.briefs if pool.similarity.get(key, -1.0) >= floor}
        best = max((pool.similarity.get(key, -1.0) for key in pool.briefs), default=-1.0)
        size = 0 if pool.sense is None else pool.sense.vectors.size(wanted.scopes)
        if best < _best_by_chance(size):
            similar = set()
        terms = fulltext.terms(wanted.query)
        enough = len(terms) * (COVERAGE_FLOOR if pool.sense else COVERAGE_FLOOR_ALONE)
        covering = {
            key
            for key in pool.lexical.keys() & pool.briefs.keys() - similar
            if len(fulltext.shared(terms, _stems(pool.briefs[key]))) >= enough
        }
        helpful = pool.helpful & pool.briefs.keys()
        if (covering or helpful) and not similar:
            similar = {key for key in pool.briefs if pool.similarity.get(key, -1.0) >= floor}
        relevant = similar | covering | helpful
        if not relevant:
            return set()
        return relevant | {key for key, cosine in pool.bridges.items() if cosine >= HOP_COSINE}

    def _learned(
        self,
        brief: Brief,
        kernels: Mapping[int, float],
        judged: Sequence[tuple[int, float, float]],
        now: float,
    ) -> float:
        """What past judgements add or take, faded by the time since the last one."""
        learned = value.advantage(kernels, judged, brief.direct_visits, brief.direct_rewards)
        return value.faded(learned, now - brief.q_updated_at, self._settings.value_half_life_days * 86_400)


def _best_by_chance(size: int) -> float:
    """What the best of so many unrelated texts reaches: the more there are, the better it looks."""
    return NOISE_MEAN + NOISE_SPREAD * math.sqrt(2 * math.log(max(2, size)))


def _named(query: str, pool: _Pool) -> set[str]:
    """Those of the candidates' actors whom the query names."""
    words = fulltext.words(query)
    actors = {brief.actor for brief in pool.briefs.values() if brief.actor is not None}
    return {actor for actor in actors if _is_named(actor, words)}


def _nearest(cosines: Mapping[int, float]) -> dict[int, float]:
    """The nearest of some intents, nearest first."""
    return dict(sorted(cosines.items(), key=lambda item: -item[1])[:INTENTS_NEAR_MAX])


def _kernels(near: Mapping[int, float]) -> dict[int, float]:
    return dict(zip(near, value.kernel(np.array(list(near.values()))).tolist(), strict=True))


def _is_named(actor: str, words: Sequence[str]) -> bool:
    """Whether the query's words name an actor, by any part of the name."""
    return any(part in words for part in fulltext.words(actor))


def _stems(episode: Told) -> set[str]:
    return fulltext.stems(rendered(episode)[:COVERAGE_CHARS])


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
