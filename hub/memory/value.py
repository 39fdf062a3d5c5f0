"""Contextual value: what past judgements say about an episode for intents like this one.

A judgement counts for the neighbourhood of the intent that it was made about. With one
value for each episode a popular and irrelevant one wins everywhere; here it wins where
it has helped.

For a past intent with cosine c to the query, its kernel is K = clip((c - .68)/.32, 0, 1)².
Over the intents that showed the episode, with w = min(visits, 5), km = max K,
v = Σ(K·w)/km, m the mean reward weighted by K·w, and n direct judgements of mean d:

    A = km · v/(v + .5) · (m - .5)  +  (1 - km) · .5 · n/(n + 1) · (d - .5)

`A` lies in -.5..+.5 and is 0 for an episode that was never judged. `q_value` is the running
mean of all judgements, for people and for hygiene; it has no part in `A`, because it is
what lets popular episodes win. The numbers were found with `benchmarks/learning.py`.
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
KERNEL_FLOOR = 0.68
"""At and below this cosine two intents have nothing to say about each other."""
VISITS_MAX = 5.0
"""More judgements of one episode for one intent than this add no further weight."""
MERGE_COSINE = 0.95
"""Two intents this near are one."""
SHOWN_WEIGHT = 0.5
"""How much it says against an episode that it was shown and others helped."""
_PRIOR_NEAR = 0.5
_PRIOR_DIRECT = 1.0
_DIRECT_WEIGHT = 0.5


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
    direct_visits: float,
    direct_rewards: float,
) -> float:
    """What an episode's past adds or takes for this query, -.5 to +.5.

    Args:
        kernels: The kernel of each near intent by its key.
        judged: For the episode: intent, visits and summed rewards there.
        direct_visits: How often it was judged by itself, whatever the intent.
        direct_rewards: The summed rewards of that.
    """
    direct = 0.0
    if direct_visits > 0:
        trust = direct_visits / (direct_visits + _PRIOR_DIRECT)
        direct = _DIRECT_WEIGHT * trust * (direct_rewards / direct_visits - 0.5)
    near = [
        (kernels[intent], min(count, VISITS_MAX), total / count)
        for intent, count, total in judged
        if count > 0 and kernels.get(intent, 0.0) > 0
    ]
    if not near:
        return direct
    nearest = max(k for k, _, _ in near)
    mass = sum(k * w for k, w, _ in near)
    mean = sum(k * w * reward for k, w, reward in near) / mass
    v = mass / nearest
    return nearest * v / (v + _PRIOR_NEAR) * (mean - 0.5) + (1.0 - nearest) * direct
