"""The order of a recall's candidates: relevance first, then learned value.

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


@dataclass(frozen=True, slots=True)
class Weights:
    """What each signal counts. The defaults were measured on conversations (see docs/memory.md)."""

    dense: float = 0.45
    lexical: float = 0.55
    neighbour: float = 0.35
    actor: float = 0.3
    recency: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """The candidates of one recall, as parallel arrays of shape (n,).

    Attributes:
        similarity: Cosine with the query; NaN where there is no vector.
        lexical: BM25 score; 0 where no word matches.
        threads: The conversation of each, or None.
        positions: The place of each in its conversation.
        actor: Whether the query names the one who said or did it.
        age_s: How long ago it happened.
    """

    similarity: NDArray[Any]
    lexical: NDArray[Any]
    threads: Sequence[str | None]
    positions: Sequence[int | None]
    actor: NDArray[Any]
    age_s: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Relevance:
    """The signals of a pool as they count, each 0 to 1, and their weighted mean."""

    dense: NDArray[Any]
    lexical: NDArray[Any]
    neighbour: NDArray[Any]
    actor: NDArray[Any]
    recency: NDArray[Any]
    score: NDArray[Any]


HALF_LIFE_S = 30 * 86_400.0
"""After how long the recency signal has halved."""


def relevance(pool: Pool, weights: Weights) -> Relevance:
    """Fuse the signals of a pool."""
    dense = minmax(np.nan_to_num(pool.similarity, nan=np.nanmin(pool.similarity, initial=1.0)))
    lexical = minmax(np.concatenate([pool.lexical, [0.0]]))[:-1]
    near = neighbours(weights.dense * dense + weights.lexical * lexical, pool.threads, pool.positions)
    recency = 0.5 ** (np.maximum(pool.age_s, 0.0) / HALF_LIFE_S)
    actor = pool.actor.astype(np.float64)
    total = (
        weights.dense * dense
        + weights.lexical * lexical
        + weights.neighbour * near
        + weights.actor * actor
        + weights.recency * recency
    )
    whole = weights.dense + weights.lexical + weights.neighbour + weights.actor + weights.recency
    return Relevance(dense, lexical, near, actor, recency, total / whole)


def minmax(values: NDArray[Any]) -> NDArray[Any]:
    """Scale to 0..1 over the pool; all equal becomes all 1, or all 0 when they are 0."""
    if values.size == 0:
        return values
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:
        return np.full(values.shape, 1.0 if high > 0 else 0.0)
    return np.asarray((values - low) / (high - low))


def neighbours(
    scores: NDArray[Any], threads: Sequence[str | None], positions: Sequence[int | None]
) -> NDArray[Any]:
    """For each candidate the better score of the two next to it in its thread, 0 without one."""
    places = {
        (thread, position): row for row, (thread, position) in enumerate(zip(threads, positions, strict=True))
    }
    out = np.zeros(scores.shape)
    for row, (thread, position) in enumerate(zip(threads, positions, strict=True)):
        if thread is None or position is None:
            continue
        for step in (-1, 1):
            other = places.get((thread, position + step))
            if other is not None:
                out[row] = max(out[row], scores[other])
    return out
