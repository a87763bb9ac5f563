"""Consistency is found where it was put, and not where it was not."""

import numpy as np
import pytest

from zprompt.analysis.consistency import Consistency, Items, compare, summarise
from zprompt.analysis.embeddings import Vectors, centred
from zprompt.analysis.intervals import Ints

COUNT, SIZE, VALUES, ROLES = 600, 24, 16, 2
RANDOM = np.random.default_rng(3)
ROLE = RANDOM.integers(0, ROLES, COUNT)
GROUP = ROLE * VALUES + RANDOM.integers(0, VALUES, COUNT)
NOISE = RANDOM.normal(size=(COUNT, SIZE)).astype(np.float32)
CENTRES = RANDOM.normal(size=(ROLES * VALUES, SIZE)).astype(np.float32)


def measure(vectors: Vectors, words: Ints | None = None) -> tuple[Consistency, ...]:
    words = np.arange(COUNT) if words is None else words
    return summarise(compare(Items(centred(vectors, ROLE), GROUP, words, ROLE), 0), ("one", "two"), 0)


def test_vectors_that_know_nothing_of_their_value_are_no_more_alike_than_the_control() -> None:
    [every, *_] = measure(NOISE)

    assert every.difference.value == pytest.approx(0, abs=0.01)
    assert every.control.value == pytest.approx(0, abs=0.01)


def test_vectors_that_share_a_value_are_more_alike_than_the_control() -> None:
    every, one, two = measure(NOISE + CENTRES[GROUP])

    assert every.cosine.value > 0.4
    assert every.control.value == pytest.approx(0, abs=0.01)
    assert every.difference.low > 0.3
    assert (every.role, one.role, two.role) == ("all", "one", "two")
    assert every.items == one.items + two.items == COUNT


def test_the_sum_over_pairs_is_that_of_the_pairs() -> None:
    words = RANDOM.integers(0, 20, COUNT)
    vectors = centred(NOISE, ROLE)
    figures = compare(Items(vectors, GROUP, words, ROLE), 0)

    mine = np.flatnonzero(GROUP == figures.group[5])
    differ = words[mine][:, None] != words[mine]
    assert figures.pairs[5] == differ.sum() / 2
    assert figures.cosine[5] == pytest.approx((vectors[mine] @ vectors[mine].T)[differ].mean(), abs=1e-5)


def test_pairs_of_the_same_words_do_not_count() -> None:
    same = CENTRES[GROUP]  # each value has one meaning, because it has one segment

    assert measure(same, words=GROUP) == ()
    assert measure(same)[0].cosine.value == pytest.approx(1)


def test_values_without_a_pair_are_left_out() -> None:
    alone = Items(centred(NOISE, ROLE), np.arange(COUNT), np.arange(COUNT), ROLE)

    assert summarise(compare(alone, 0), ("one", "two"), 0) == ()


def test_the_control_and_the_interval_follow_the_seed() -> None:
    items = Items(centred(NOISE, ROLE), GROUP, np.arange(COUNT), ROLE)

    first, again, other = (summarise(compare(items, seed), ("one", "two"), seed) for seed in (0, 0, 1))
    assert first == again != other


def test_a_vector_that_is_its_roles_mean_becomes_zero() -> None:
    assert not centred(np.ones((3, 4), np.float32), np.zeros(3, np.int64)).any()
