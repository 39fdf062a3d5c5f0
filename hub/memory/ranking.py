"""The order of a recall's candidates by relevance.

Pure functions over one pool of candidates, so that they can be measured without a
store. Signals are fused as scores, scaled over the pool, and not as ranks: how much
better the best one is carries information that its rank does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THREAD_BEST = 3
"""How many of a thread's best candidates tell how relevant the thread is."""
LENGTH_CHARS = 300
"""A turn of this length or more is taken to say something."""
RECENCY_HALF_LIFE_S = 30 * 86_400.0
"""After how long the recency signal has halved."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What each signal counts.

    The defaults come from a grid around a logistic fit on conversations; the optimum is
    flat, so they are round (docs/memory.md). Recency is a tie-breaker that was not fitted.
    """

    dense: float = 0.45
    lexical: float = 0.55
    neighbour: float = 0.4
    thread: float = 0.6
    actor: float = 0.5
    length: float = 0.3
    recency: float = 0.05
    bridge: float = 0.2

    @property
    def total(self) -> float:
        return (
            self.dense + self.lexical + self.neighbour + self.thread + self.actor + self.length + self.recency
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate, as far as relevance is concerned.

    Attributes:
        similarity: Cosine with the query; None where there is no vector.
        lexical: BM25 score; 0 where no word matches.
        thread: Its conversation, if it has one.
        position: Its place there.
        actor: 1 when the query names who said or did it, 0 when it names another, else 0.5.
        chars: The length of its text.
        age_s: How long ago it happened.
        bridge: Cosine with the nearest of the best candidates, in a recall of two hops; else 0.
    """

    similarity: float | None
    lexical: float
    thread: str | None
    position: int | None
    actor: float
    chars: int
    age_s: float
    bridge: float = 0.0


@dataclass(frozen=True, slots=True)
class Relevance:
    """The signals of a pool, each of shape (n,) and 0 to 1, and their weighted mean."""

    dense: NDArray[Any]
    lexical: NDArray[Any]
    neighbour: NDArray[Any]
    thread: NDArray[Any]
    actor: NDArray[Any]
    length: NDArray[Any]
    recency: NDArray[Any]
    score: NDArray[Any]


def relevance(pool: Sequence[Candidate], weights: Weights) -> Relevance:
    """Fuse the signals of a pool; the result is parallel to it.

    What stands in no conversation is its own neighbour and thread, so that a note competes
    with a line of a talk on equal terms.
    """
    known = [candidate.similarity for candidate in pool if candidate.similarity is not None]
    lowest = min(known, default=0.0)
    dense = minmax(np.array([lowest if c.similarity is None else c.similarity for c in pool]))
    # Scaled from 0, which is what a candidate without a matching word has.
    lexical = minmax(np.array([candidate.lexical for candidate in pool] + [0.0]))[:-1]
    base = (weights.dense * dense + weights.lexical * lexical) / (weights.dense + weights.lexical)
    near = neighbours(base, pool)
    whole = threads(base, pool)
    actor = np.array([candidate.actor for candidate in pool])
    length = np.array(
        [0.5 if c.thread is None else min(1.0, c.chars / LENGTH_CHARS) for c in pool], dtype=np.float64
    )
    ages = np.array([max(0.0, candidate.age_s) for candidate in pool])
    recency = np.power(0.5, ages / RECENCY_HALF_LIFE_S)
    bridge = minmax(np.array([candidate.bridge for candidate in pool]))
    total = (
        weights.dense * dense
        + weights.lexical * lexical
        + weights.neighbour * near
        + weights.thread * whole
        + weights.actor * actor
        + weights.length * length
        + weights.recency * recency
        + weights.bridge * bridge
    )
    return Relevance(dense, lexical, near, whole, actor, length, recency, total / weights.total)


def minmax(values: NDArray[Any]) -> NDArray[Any]:
    """Scale to 0..1 over the pool; all equal becomes all 1, or all 0 when they are 0 or less."""
    if values.size == 0:
        return values
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:
        return np.full(values.shape, 1.0 if high > 0 else 0.0)
    return np.asarray((values - low) / (high - low))


def neighbours(scores: NDArray[Any], pool: Sequence[Candidate]) -> NDArray[Any]:
    """How relevant the two turns before and the two after are: the better at each distance, averaged."""
    places = {
        (candidate.thread, candidate.position): row
        for row, candidate in enumerate(pool)
        if candidate.thread is not None
    }
    out = scores.copy()
    for row, candidate in enumerate(pool):
        if candidate.thread is None or candidate.position is None:
            continue
        at = [
            max(
                (
                    scores[places[candidate.thread, candidate.position + step]]
                    for step in (-distance, distance)
                    if (candidate.thread, candidate.position + step) in places
                ),
                default=0.0,
            )
            for distance in (1, 2)
        ]
        out[row] = sum(at) / len(at)
    return out


def threads(scores: NDArray[Any], pool: Sequence[Candidate]) -> NDArray[Any]:
    """How relevant each candidate's thread is: the sum of its best scores over `THREAD_BEST`."""
    rows: dict[str, list[int]] = {}
    for row, candidate in enumerate(pool):
        if candidate.thread is not None:
            rows.setdefault(candidate.thread, []).append(row)
    out = scores.copy()
    for members in rows.values():
        best = np.sort(scores[members])[::-1][:THREAD_BEST]
        out[members] = best.sum() / THREAD_BEST
    return out
