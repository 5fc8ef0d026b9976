from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from segmentation.metrics.comparison import check_comparable, compare_groups
from segmentation.metrics.paired import (
    holm,
    mcnemar_exact,
    minimum_detectable_difference,
    sign_flip_p,
)
from segmentation.metrics.resampling import foreground_dice

NAMES = ("background", "membrane", "vesicle")
eighths = st.integers(-8, 8).map(lambda eighth: eighth / 8)
tenths = st.integers(-10, 10).map(lambda tenth: tenth / 10)
uneven = st.integers(-997, 997).map(lambda part: part / 997)


def groups_like(seed: int, groups: int, hits: int = 40) -> NDArray[np.int64]:
    """Groups of different size with three classes, all of them present."""
    generator = np.random.default_rng(seed)
    size = generator.integers(50, 5000, (groups, 1, 1))
    counts = generator.integers(1, 20, (groups, 3, 3)) * size
    return np.asarray(counts + size * hits * np.eye(3, dtype=np.int64), np.int64)


def compare(first: Any, second: Any, **options: Any) -> dict[str, Any]:
    result = compare_groups(first, second, NAMES, **{"unit": "specimen", **options})
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result


# Holm by hand: sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, then never falling.
def test_holm_by_hand() -> None:
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], alpha: float) -> None:
    rejected = set()
    for step, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        if p_values[index] * (len(p_values) - step) > alpha:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(p_values)) if p <= alpha} == rejected


@settings(max_examples=60, deadline=None)
@given(st.lists(eighths | tenths | uneven, min_size=2, max_size=10))
def test_sign_flips_agree_with_scipy(differences: list[float]) -> None:
    # Whole numbers, as SciPy takes sums that are equal but for rounding for different ones.
    whole = np.rint(np.array(differences) * 8 * 10 * 997)
    np.testing.assert_allclose(whole / (8 * 10 * 997), differences, atol=1e-12)
    expected = stats.permutation_test(
        (whole,),
        lambda sample, axis: np.sum(sample, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**10,
    )
    assert sign_flip_p(differences) == pytest.approx(expected.pvalue, abs=1e-12)


def test_smallest_p_of_a_sign_flip() -> None:
    # 2 of 2^5 patterns are as extreme as five wins; 0.1 + 0.2 and 0.3 tie in spite of rounding
    assert sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5]) == 2 / 32
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1
    assert sign_flip_p([0.0, 0.0]) == 1
    assert sign_flip_p([0.25] * 15) == 2 / 2**15


def test_random_flips_come_close_to_all_flips() -> None:
    differences = np.random.default_rng(4).normal(0.3, 1, 16)
    signs = 1 - 2 * ((np.arange(2**16)[:, None] >> np.arange(16)) & 1)
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    assert sign_flip_p(differences.tolist()) == pytest.approx(exact, abs=0.006)
    # 100,000 patterns and the observed one, of which only the observed one is so extreme
    assert sign_flip_p([1.0] * 60) == 1 / 100_001


@settings(max_examples=25, deadline=None)
@given(st.lists(tenths, min_size=1, max_size=18), st.randoms())
def test_order_and_exchange_change_no_digit_of_p(differences: list[float], random: Any) -> None:
    p = sign_flip_p(differences)
    assert sign_flip_p(random.sample(differences, len(differences))) == p
    assert sign_flip_p([-difference for difference in differences]) == p


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_agrees_with_the_binomial_test(first_only: int, second_only: int) -> None:
    both = first_only + second_only
    expected = stats.binomtest(first_only, both).pvalue if both else 1
    assert mcnemar_exact(first_only, second_only) == pytest.approx(expected, rel=1e-9)


def test_minimum_detectable_difference_is_found_four_times_in_five() -> None:
    generator = np.random.default_rng(2)
    spread = np.array([-1.0, 1.0] * 5) / math.sqrt(10 / 9)  # standard deviation 1 of ten values
    difference = minimum_detectable_difference(spread.tolist())
    quantiles = stats.t.ppf(0.975, 9) + stats.t.ppf(0.8, 9)
    assert difference == pytest.approx(quantiles / math.sqrt(10))
    samples = generator.normal(difference, 1, (4000, 10))
    assert np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(
        0.8, abs=0.03
    )
    assert minimum_detectable_difference(spread.tolist(), power=0.9) > difference


def test_paired_differences_of_few_groups() -> None:
    first, second = groups_like(1, 6), groups_like(2, 6, hits=30)
    result = compare(first, second, names=("new", "old"))
    assert (result["first"], result["second"], result["groups"]) == ("new", "old", 6)
    table = foreground_dice(first), foreground_dice(second)
    for row, a, b in zip(result["scores"], *table, strict=True):
        assert row["first"] == pytest.approx(a.mean())
        assert row["second"] == pytest.approx(b.mean())
        expected = stats.ttest_rel(a, b).confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
        assert row["difference"] == pytest.approx((a - b).mean())
        assert (row["wins"], row["ties"], row["losses"]) == (sum(a > b), 0, sum(a < b))
        assert row["p"] == sign_flip_p((a - b).tolist())
        assert row["test"] == "sign-flip permutation, exact"
        assert row["minimum_detectable_difference"] == minimum_detectable_difference(a - b)
    headline, *classes = result["scores"]
    assert headline["p_holm"] is None
    assert [row["p_holm"] for row in classes] == holm([row["p"] for row in classes])


def test_many_groups_are_resampled() -> None:
    first, second = groups_like(1, 40), groups_like(2, 40, hits=36)
    row = compare(first, second)["scores"][0]
    differences = foreground_dice(first)[0] - foreground_dice(second)[0]
    expected = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=2000,
        method="percentile",
        confidence_level=1 - 2 * stats.norm.cdf(-math.sqrt(40 / 39) * stats.t.ppf(0.975, 39)),
        rng=np.random.default_rng(8),
    ).confidence_interval
    width = expected.high - expected.low
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected), abs=0.1 * width)
    assert row["test"] == "sign-flip permutation, 100,000 random flips"


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([2, 7, 16, 22]), st.randoms())
def test_order_of_the_groups_changes_no_digit(groups: int, random: Any) -> None:
    first, second = groups_like(5, groups), groups_like(6, groups)
    order = random.sample(range(groups), groups)
    assert compare(first[order], second[order]) == compare(first, second)


def test_pairs_are_kept_together() -> None:
    first = groups_like(1, 8)
    second = first + np.array([[0, 0, 0], [0, 50, 0], [0, 0, 50]])
    assert compare(second, first)["scores"][0]["p"] == 2 / 2**8
    assert compare(second[::-1], first)["scores"][0]["p"] > 0.05


def test_two_groups_have_differences_but_no_test() -> None:
    result = compare(groups_like(1, 2), groups_like(2, 2))
    assert result["note"] == (
        "2 specimens are too few for an interval or a test; slices of one specimen resemble each "
        "other and are no substitute."
    )
    for row in result["scores"]:
        assert row["difference"] == pytest.approx(row["first"] - row["second"])
        nothing = ("low", "high", "p", "p_holm", "test", "minimum_detectable_difference", "note")
        assert [row[key] for key in nothing] == [None] * 7
        assert row["wins"] + row["ties"] + row["losses"] == 2
    assert compare(groups_like(1, 1), groups_like(2, 1))["note"].startswith("1 specimen is too few")


def test_the_smallest_possible_p_is_told_where_it_is_large() -> None:
    few, enough, many = (
        compare(groups_like(1, groups), groups_like(2, groups))["note"] for groups in (5, 6, 1100)
    )
    assert few.endswith("With 5 specimens no p can be below 0.0625.")
    assert "no p can be" not in enough + many


def test_groups_without_the_class_are_left_out() -> None:
    first, second = groups_like(1, 22), groups_like(2, 22)
    for absent, matrices in ((slice(0, 3), first), (slice(2, 4), second)):
        matrices[absent, 2] = matrices[absent, :, 2] = 0
    _, kept, row = compare(first, second)["scores"]
    assert kept["note"] is None
    assert row["wins"] + row["losses"] == 18
    assert row["note"] == (
        "4 specimens left out: undefined for one of the two or both; t interval of the 18 "
        "specimens left"
    )
    first[2:, 2] = first[2:, :, 2] = 0
    row = compare(first, second)["scores"][2]
    assert row["difference"] is row["p"] is None
    assert row["note"].endswith("no interval and no test: only 0 specimens left")


def test_equal_results_tie_everywhere() -> None:
    first = groups_like(1, 4)
    for row in compare(first, first)["scores"]:
        assert (row["difference"], row["ties"], row["p"]) == (0, 4, 1)
        assert row["note"].startswith("all differences are equal")


MEASURED = {
    "truth": "file:///truth.zarr 7c1e",
    "units": ["fly1", "fly2", "fly3"],
    "classes": ["background", "membrane"],
    "voxel_size": (50.0, 4.0, 4.0),
    "unit": "nanometer",
}


def test_what_was_measured_alike_may_be_compared() -> None:
    check_comparable(MEASURED, json.loads(json.dumps(MEASURED)))
    unknown = {**MEASURED, "voxel_size": None, "unit": None}
    check_comparable(unknown, unknown)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": "other"}, "different truth: 'file:///truth.zarr 7c1e' and 'other'"),
        ({"classes": ["background"]}, r"different classes: \['background', 'membrane'\]"),
        ({"voxel_size": None}, r"different voxel size: \[50.0, 4.0, 4.0\] and None"),
        ({"unit": "micrometer"}, "different unit of length: 'nanometer' and 'micrometer'"),
        ({"units": ["fly3", "fly2", "fly1"]}, "specimens or images in another order"),
        (
            {"units": ["fly1", "a", "b", "c", "d"]},
            "fly2, fly3 only in the first, a, b, c and 1 more only in the second",
        ),
        ({"units": ["fly1", "fly2"]}, "fly3 only in the first, none only in the second"),
        (
            {"truth": 1, "unit": None},
            "different truth: .*; different unit of length: .*Evaluate both masks",
        ),
    ],
)
def test_refuses_to_compare_what_was_measured_otherwise(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_comparable(MEASURED, {**MEASURED, **change})


def test_refuses_to_compare_what_is_not_recorded() -> None:
    partial = {key: value for key, value in MEASURED.items() if key != "truth"}
    with pytest.raises(ValueError, match="truth not recorded for both"):
        check_comparable(partial, partial)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: compare(groups_like(1, 4), groups_like(1, 3)), "4 specimens of first and 3"),
        (lambda: compare(groups_like(1, 4), groups_like(1, 4), unit="slice"), "is 'slice'"),
        (lambda: compare(groups_like(1, 4), groups_like(1, 4), level=0), "the level is 0"),
        (lambda: compare(groups_like(1, 4), groups_like(1, 4)[:, :2, :2]), r"shape \(4, 2, 2\)"),
        (lambda: sign_flip_p([]), "no differences"),
        (lambda: mcnemar_exact(-1, 2), "counts -1 and 2"),
        (lambda: minimum_detectable_difference([1.0]), "at least 2 values"),
        (lambda: minimum_detectable_difference([1.0, 2.0], power=80), "the power is 80"),
    ],
)
def test_refuses_what_cannot_be_tested(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
