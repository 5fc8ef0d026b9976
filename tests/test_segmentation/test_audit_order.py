"""Runs along a list, and random divisions, against counting by hand and independent libraries."""

from itertools import combinations, groupby

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from segmentation.audit.order import drift_probability, runs_probability, sorted_probability
from segmentation.audit.resplits import distance, divergence, resplit_probability

# Five and five: 252 orders. Two of them have 2 runs; 8 have 3: 4 cuts of one kind, either first.
FIVE = [
    ("aaaaabbbbb", 2 / 252),
    ("aabbbbbaaa", 10 / 252),
    ("ababababab", 1.0),
    ("aaaa", 1.0),
    ("", 1.0),
    ("ab", 1.0),
]


@pytest.mark.parametrize(("kinds", "expected"), FIVE)
def test_runs_by_hand(kinds, expected):
    assert runs_probability([kind == "a" for kind in kinds]) == pytest.approx(expected)


@pytest.mark.parametrize(("ones", "others"), [(1, 4), (3, 5), (4, 4), (6, 2)])
def test_runs_by_counting_all_orders(ones, others):
    size = ones + others
    orders = [[n in places for n in range(size)] for places in combinations(range(size), ones)]
    runs = [len(list(groupby(order))) for order in orders]
    for order, number in zip(orders, runs, strict=True):
        expected = sum(other <= number for other in runs) / len(runs)
        assert runs_probability(order) == pytest.approx(expected)


def test_several_kinds_are_corrected_for():
    assert sorted_probability([0] * 5 + [1] * 5) == runs_probability([True] * 5 + [False] * 5)
    # Twelve in threes: the kind in the middle, 3 of 9, has 3 runs, those at the ends have 2.
    three = sorted_probability([0] * 3 + [1] * 3 + [2] * 3)
    assert three == pytest.approx(3 * 2 / 84)
    assert sorted_probability([1] * 9) == 1.0


def test_numbers_drift_about_their_median():
    assert drift_probability(range(10)) == pytest.approx(2 / 252)
    assert drift_probability([3.0] * 10) == 1.0
    assert drift_probability([1.0, float("nan")]) == 1.0
    assert drift_probability([]) == 1.0


def test_divergence_and_distance_are_those_of_scipy():
    random = np.random.default_rng(0)
    for _ in range(20):
        first, second = random.integers(0, 50, (2, 5)).astype(float)
        assert divergence(first, second) == pytest.approx(jensenshannon(first, second, base=2) ** 2)
        one, other = random.normal(size=7).round(1), random.normal(size=11).round(1)
        assert distance(one, other) == pytest.approx(ks_2samp(one, other).statistic)
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0
    assert divergence(np.zeros(2), np.ones(2)) == 0.0


def test_random_divisions_keep_groups_whole():
    """Two of six groups are extreme: 1 of 15 divisions puts both into the part of two."""
    groups = [name for name in "abcdef" for _ in range(2)]
    values = np.repeat([0, 0, 0, 0, 9, 9], 2)

    def measure(first, second):
        assert {*first, *second} == {*range(12)}
        assert not {n // 2 for n in first} & {n // 2 for n in second}
        return abs(values[first].mean() - values[second].mean())

    chance = resplit_probability(groups, range(8), range(8, 12), measure, splits=2000)
    assert chance == pytest.approx(1 / 15, abs=0.02)
    assert resplit_probability(groups, range(8), range(8, 12), measure, splits=50) == (
        resplit_probability(groups, range(8), range(8, 12), measure, splits=50)
    )
    assert resplit_probability(groups, range(9), range(9, 12), measure, splits=5) is None
