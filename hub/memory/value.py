"""Contextual value: what past judgements say about an episode for intents like this one.

A judgement counts for the neighbourhood of the intent it was made about. The plain
formula, one value for each episode, lets a popular and irrelevant episode win
everywhere; here it wins only where it has helped before.

For an intent with cosine c to the query, its kernel is K = clip((c - .6)/.4, 0, 1)².
With w = min(visits, 5) over the intents that showed the episode, km = max K,
v = Σ(K·w)/km and the weighted mean reward m:

    A = km · v/(v + .5) · (m - .5) + (1 - km) · .3 · N/(N + 3) · (Q - .5)

`A` lies in -.5..+.5, and is 0 for an episode that was never judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Q_UNKNOWN = 0.5
"""The value of an episode that was never judged."""
SUCCESS = 0.5
"""A reward above is a success, below a failure."""
KERNEL_FLOOR = 0.6
"""At and below this cosine two intents have nothing to say about each other."""
VISITS_MAX = 5.0
"""More judgements of one episode for one intent than this add no further weight."""
MERGE_COSINE = 0.95
"""Two intents this near are one."""
_PRIOR_NEAR = 0.5
_PRIOR_FAR = 3.0
_FAR_WEIGHT = 0.3


def kernel(cosines: NDArray[Any]) -> NDArray[Any]:
    """How much each past intent has to say, 0 to 1."""
    return np.square(np.clip((cosines - KERNEL_FLOOR) / (1.0 - KERNEL_FLOOR), 0.0, 1.0), dtype=np.float64)


def moved(q_value: float, reward: float, learning_rate: float, weight: float = 1.0) -> float:
    """The value after one more reward, 0 to 1."""
    return q_value + learning_rate * weight * (reward - q_value)


def faded(learned: float, age_s: float, half_life_s: float) -> float:
    """What was learned as it counts now: it halves towards unknown, 0, with the time since."""
    return learned if age_s <= 0 else learned * math.pow(0.5, age_s / half_life_s)


def advantage(
    kernels: Mapping[int, float],
    judged: Sequence[tuple[int, float, float]],
    q_value: float,
    visits: float,
) -> float:
    """What an episode's past adds or takes for this query, -.5 to +.5.

    Args:
        kernels: The kernel of each near intent by its key.
        judged: For the episode: intent, visits and summed rewards there.
        q_value: Its value over all intents.
        visits: Its judgements over all intents.
    """
    near = [
        (kernels[intent], min(count, VISITS_MAX), total / count)
        for intent, count, total in judged
        if count > 0 and kernels.get(intent, 0.0) > 0
    ]
    far = _FAR_WEIGHT * visits / (visits + _PRIOR_FAR) * (q_value - Q_UNKNOWN)
    if not near:
        return far
    nearest = max(k for k, _, _ in near)
    mass = sum(k * w for k, w, _ in near)
    mean = sum(k * w * reward for k, w, reward in near) / mass
    v = mass / nearest
    return nearest * v / (v + _PRIOR_NEAR) * (mean - 0.5) + (1.0 - nearest) * far
