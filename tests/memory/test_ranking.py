"""How signals become an order, without a store."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hub.memory import value
from hub.memory.ranking import Candidate, Weights, minmax, neighbours, relevance, threads


def candidate(
    similarity: float | None = 0.5,
    lexical: float = 0.0,
    thread: str | None = None,
    position: int | None = None,
    actor: float = 0.5,
    chars: int = 300,
    age_s: float = 0.0,
) -> Candidate:
    return Candidate(similarity, lexical, thread, position, actor, chars, age_s)


def order(*pool: Candidate) -> list[int]:
    return [int(row) for row in np.argsort(-relevance(pool, Weights()).score, kind="stable")]


def test_scaling_keeps_what_a_lone_or_equal_score_means() -> None:
    assert minmax(np.array([2.0, 4.0, 3.0])).tolist() == [0.0, 1.0, 0.5]
    assert minmax(np.array([0.3])).tolist() == [1.0]
    assert minmax(np.array([0.0, 0.0])).tolist() == [0.0, 0.0]
    assert minmax(np.array([])).size == 0


def test_meaning_and_words_each_lift_a_candidate() -> None:
    assert order(candidate(0.2), candidate(0.6)) == [1, 0]
    assert order(candidate(0.5), candidate(0.5, lexical=3.0)) == [1, 0]


def test_a_candidate_without_a_vector_counts_as_the_least_similar() -> None:
    signals = relevance([candidate(0.6), candidate(None), candidate(0.2)], Weights())
    assert signals.dense.tolist() == [1.0, 0.0, 0.0]


def test_a_turn_next_to_relevant_ones_is_lifted_and_one_far_from_them_is_not() -> None:
    pool = [
        candidate(0.9, thread="t", position=4),
        candidate(0.3, thread="t", position=5),
        candidate(0.3, thread="t", position=9),
        candidate(0.3, thread="u", position=5),
    ]
    scores = np.array([1.0, 0.0, 0.0, 0.0])
    assert neighbours(scores, pool).tolist() == [0.0, 0.5, 0.0, 0.0]
    assert order(*pool)[:2] == [0, 1]


def test_a_thread_is_as_relevant_as_its_best_turns() -> None:
    pool = [candidate(thread="t"), candidate(thread="t"), candidate(thread="u"), candidate()]
    assert threads(np.array([0.9, 0.3, 0.6, 0.6]), pool).tolist() == pytest.approx([0.4, 0.4, 0.2, 0.6])


def test_who_is_asked_about_comes_first_and_age_decides_between_equals() -> None:
    assert order(candidate(actor=0.0), candidate(actor=1.0)) == [1, 0]
    assert order(candidate(age_s=90 * 86_400.0), candidate(age_s=60.0)) == [1, 0]


def test_what_was_never_judged_has_no_learned_value() -> None:
    assert value.advantage({1: 1.0}, [], 0, 0) == 0
    assert value.advantage({}, [(1, 3, 3.0)], 0, 0) == 0


def test_learned_value_grows_with_judgements_and_stays_within_bounds() -> None:
    values = [value.advantage({1: 1.0}, [(1, n, float(n))], 0, 0) for n in (1, 2, 5, 100)]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] < 0.5
    assert value.advantage({1: 1.0}, [(1, 100, 0.0)], 0, 0) == pytest.approx(-values[-1])
    # Beyond five visits an intent adds no weight.
    assert values[2] == values[3]


def test_learned_value_falls_off_with_the_distance_of_the_intent() -> None:
    kernels = value.kernel(np.array([1.0, 0.84, value.KERNEL_FLOOR, 0.2]))
    assert kernels.tolist() == pytest.approx([1.0, 0.25, 0.0, 0.0])
    near, far = (value.advantage({1: k}, [(1, 3, 3.0)], 0, 0) for k in kernels[:2])
    assert 0 < far < near


def test_a_direct_judgement_counts_everywhere_and_less_where_an_intent_was_judged() -> None:
    assert value.advantage({}, [], 1, 1.0) == pytest.approx(0.125)
    assert value.advantage({1: 1.0}, [(1, 5, 0.0)], 1, 1.0) < 0


def test_learned_value_halves_with_its_half_life() -> None:
    assert value.faded(0.4, 10.0, 10.0) == pytest.approx(0.2)
    assert value.faded(0.4, -5.0, 10.0) == 0.4
    assert math.isclose(value.faded(-0.4, 20.0, 10.0), -0.1)
