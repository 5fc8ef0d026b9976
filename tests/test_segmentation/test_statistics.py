from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import special, stats

from segmentation.metrics.confusion import ConfusionMatrix
from segmentation.metrics.intervals import score_interval, t_interval
from segmentation.metrics.resampling import SEED, foreground_dice
from segmentation.metrics.scores import scores
from segmentation.metrics.statistics import clopper_pearson, group_intervals, wilson

NAMES = ("background", "membrane", "vesicle")
matrices = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 6), st.just(3), st.just(3)),
    elements=st.sampled_from([0, 0, 1, 7, 10**12]),
)


def with_dice(values: Any, voxels: int = 10**9) -> NDArray[np.int64]:
    """One matrix of two classes per value, whose Dice is that value to nine digits."""
    hits = np.rint(np.asarray(values) * voxels).astype(np.int64)
    missed = voxels - hits
    return np.moveaxis(np.array([[hits * 0 + 10**10, missed], [missed, hits]]), -1, 0)


def some_groups(groups: int, seed: int = 3) -> NDArray[np.int64]:
    """Groups of different size with three classes, all of them present."""
    generator = np.random.default_rng(seed)
    size = generator.integers(50, 5000, (groups, 1, 1))
    return generator.integers(1, 20, (groups, 3, 3)) * size + size * 40 * np.eye(3, dtype=int)


def rows_of(confusions: Any, unit: str = "specimen", **options: Any) -> list[dict[str, Any]]:
    result = group_intervals(confusions, NAMES[: len(confusions[0])], unit=unit, **options)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    rows: list[dict[str, Any]] = result["scores"]
    return rows


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 6, 0, 0.39), (6, 6, 0.61, 1), (21, 21, 0.845, 1), (21, 27, 0.592, 0.894)],
)
def test_wilson_as_published(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-4)


@given(st.integers(1, 10**6), st.data(), st.floats(0.5, 0.999))
def test_wilson_agrees_with_scipy(trials: int, data: st.DataObject, level: float) -> None:
    successes = data.draw(st.integers(0, trials))
    expected = stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    assert wilson(successes, trials, level) == pytest.approx((expected.low, expected.high))
    assert wilson(0, trials)[0] == 0
    assert wilson(trials, trials)[1] == 1


@given(st.integers(1, 10**6), st.data(), st.floats(0.5, 0.999))
def test_clopper_pearson_agrees_with_scipy(trials: int, data: st.DataObject, level: float) -> None:
    successes = data.draw(st.integers(0, trials))
    expected = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
    found = clopper_pearson(successes, trials, level)
    assert found == pytest.approx((expected.low, expected.high))


def test_clopper_pearson_of_none_is_the_rule_of_thumb() -> None:
    """No success in n: at most 1 - 0.025 to the power of 1/n."""
    assert clopper_pearson(0, 6) == (0.0, pytest.approx(1 - 0.025 ** (1 / 6)))
    assert clopper_pearson(6, 6) == (pytest.approx(0.025 ** (1 / 6)), 1.0)


@given(st.lists(st.integers(-999, 999), min_size=2, max_size=19, unique=True), st.randoms())
def test_t_interval_agrees_with_scipy_in_any_order(thousandths: list[int], random: Any) -> None:
    values = [thousandth / 1000 for thousandth in thousandths]
    mean, low, high = t_interval(values)
    expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    random.shuffle(values)
    assert t_interval(values) == (mean, low, high)


@given(matrices)
def test_dice_of_many_groups_is_the_dice_of_each(confusions: NDArray[np.int64]) -> None:
    for counts, column in zip(confusions, foreground_dice(confusions).T, strict=True):
        expected = scores(ConfusionMatrix(counts), NAMES)
        dice = [None if math.isnan(value) else value for value in column.tolist()]
        assert dice[1:] == [entry["dice"] for entry in expected["classes"][1:]]
        macro = expected["macro_foreground_dice"]
        assert dice[0] == (macro if macro is None else pytest.approx(macro, abs=1e-15))


@pytest.mark.parametrize("unit", ["specimen", "image"])
def test_fewer_than_three_groups_have_no_interval(unit: str) -> None:
    result = group_intervals(with_dice([0.5, 0.8]), NAMES[:2], unit=unit)
    assert result["method"] is None
    assert result["note"] == (
        f"An interval cannot be estimated from 2 {unit}s; slices of one {unit} resemble each "
        "other and are no substitute."
    )
    for row in result["scores"]:
        assert row["estimate"] == pytest.approx(0.65)
        assert row["low"] is row["high"] is row["note"] is None
    assert [row["name"] for row in result["scores"]] == ["Macro-foreground Dice", "membrane"]
    assert "from 1 " + unit + ";" in group_intervals(with_dice([0.5]), NAMES[:2], unit=unit)["note"]


@given(st.lists(st.floats(0.01, 0.99), min_size=3, max_size=19), st.floats(0.5, 0.99))
def test_t_interval_of_the_logits(values: list[float], level: float) -> None:
    confusions = with_dice(values)
    logits = special.logit(foreground_dice(confusions)[1])
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * np.std(logits, ddof=1)
    half /= math.sqrt(len(values))
    ends = special.expit([logits.mean(), logits.mean() - half, logits.mean() + half])
    for row in rows_of(confusions, level=level):
        assert [row["estimate"], row["low"], row["high"]] == pytest.approx(ends, abs=1e-9)
        assert 0 < row["low"] <= row["estimate"] <= row["high"] < 1


def test_scores_without_a_logit_go_by_the_plain_scale() -> None:
    row = rows_of(with_dice([1, 1, 0.7, 1]))[1]
    mean, low, _ = t_interval([1, 1, 0.7, 1])
    assert (row["estimate"], row["low"], row["high"]) == pytest.approx((mean, low, 1))
    assert row["note"].startswith("a score of exactly 0 or 1 has no logit")
    equal = rows_of(with_dice([1, 1, 1]))[1]
    assert (equal["estimate"], equal["low"], equal["high"]) == (1, 1, 1)
    assert equal["note"] == "all scores are equal: an interval without width promises too much"


def pooled_by_hand(confusions: NDArray[np.int64]) -> list[Any]:
    result = scores(ConfusionMatrix(confusions.sum(axis=0)), NAMES)
    return [result["macro_foreground_dice"], *(c["dice"] for c in result["classes"][1:])]


def test_bootstrap_pools_the_drawn_groups_before_it_divides() -> None:
    confusions = some_groups(24)
    ordered = np.array(sorted(confusions.tolist(), key=lambda m: np.ravel(m).tolist()[::-1]))
    generator = np.random.default_rng(SEED)
    drawn = [pooled_by_hand(ordered[generator.integers(0, 24, 24)]) for _ in range(2000)]
    tail = stats.norm.cdf(-math.sqrt(24 / 23) * stats.t.ppf(0.975, 23))
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    rows = rows_of(confusions)
    assert [row["estimate"] for row in rows] == pytest.approx(pooled_by_hand(confusions), abs=1e-15)
    assert [row["low"] for row in rows] == pytest.approx(low.tolist(), abs=1e-14)
    assert [row["high"] for row in rows] == pytest.approx(high.tolist(), abs=1e-14)


def test_bootstrap_agrees_with_scipy_but_for_chance() -> None:
    confusions = some_groups(30)
    expected = stats.bootstrap(
        (np.arange(30),),
        lambda index: foreground_dice(confusions[index].sum(axis=0, keepdims=True))[0, 0],
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        confidence_level=1 - 2 * stats.norm.cdf(-math.sqrt(30 / 29) * stats.t.ppf(0.975, 29)),
        rng=np.random.default_rng(8),
    ).confidence_interval
    row = rows_of(confusions, "image")[0]
    width = expected.high - expected.low
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected), abs=0.1 * width)


@settings(max_examples=20)
@given(st.sampled_from([2, 5, 19, 20, 26]), st.integers(0, 99), st.randoms())
def test_order_of_the_groups_changes_no_digit(groups: int, seed: int, random: Any) -> None:
    confusions = some_groups(groups, seed)
    order = random.sample(range(groups), groups)
    expected = group_intervals(confusions, NAMES, unit="specimen")
    assert group_intervals(confusions[order], NAMES, unit="specimen") == expected
    assert expected["method"] == (None if groups < 3 else "t" if groups < 20 else "bootstrap")


# (groups, groups that have class 2) -> (interval?, part of the note)
@pytest.mark.parametrize(
    ("groups", "present", "interval", "note"),
    [
        (5, 0, False, "neither truth nor prediction"),
        (5, 2, False, "no interval: defined in only 2 specimens"),
        (5, 3, True, ""),
        (25, 1, False, "no interval: defined in only 1 specimen"),
        (25, 7, True, "mean and t interval of the 7 specimens in which it is defined"),
        (25, 20, True, ""),
    ],
)
def test_a_score_goes_by_the_groups_that_have_it(
    groups: int, present: int, interval: bool, note: str
) -> None:
    confusions = some_groups(groups)
    confusions[present:, 2] = confusions[present:, :, 2] = 0
    macro, _, row = rows_of(confusions)
    assert (row["groups"], row["undefined"]) == (present, groups - present)
    assert (macro["groups"], macro["undefined"]) == (groups, 0)
    assert (row["low"] is not None, row["high"] is not None) == (interval, interval)
    assert (row["estimate"] is None) == (present == 0)
    assert note in (row["note"] or "")
    assert bool(row["note"]) == bool(note)


def test_replicates_without_the_class_are_left_out_and_counted() -> None:
    drawn = np.concatenate([np.linspace(0, 1, 1001), np.full(999, np.nan)])
    row = score_interval(np.full(20, 0.5), 0.4, drawn, unit="image", level=0.95)
    tail = stats.norm.cdf(-math.sqrt(20 / 19) * stats.t.ppf(0.975, 19))
    assert (row["estimate"], row["low"], row["high"]) == pytest.approx((0.4, tail, 1 - tail))
    assert row["note"] == "999 of 2000 replicates have no voxel of it and are left out"


def test_groups_cover_and_slices_do_not() -> None:
    """Five stacks of 50 slices that share 70 % of their variance, on the logit scale."""
    generator = np.random.default_rng(0)
    covered = naive = 0
    trials = 600
    for _ in range(trials):
        stacks = 1 + math.sqrt(0.7) * generator.normal(size=(5, 1))
        slices = stacks + math.sqrt(0.3) * generator.normal(size=(5, 50))
        row = rows_of(with_dice(special.expit(slices.mean(axis=1))))[1]
        covered += row["low"] <= special.expit(1) <= row["high"]
        _, low, high = t_interval(slices.ravel().tolist())
        naive += low <= 1 <= high
    assert 0.92 < covered / trials < 0.98
    assert 0.15 < naive / trials < 0.30


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: wilson(0, 0), "0 successes in 0 trials"),
        (lambda: wilson(4, 3), "4 successes in 3 trials"),
        (lambda: clopper_pearson(4, 3), "4 successes in 3 trials"),
        (lambda: wilson(-1, 3), "-1 successes"),
        (lambda: wilson(1, 3, 95), "the level is 95"),
        (lambda: t_interval([0.5]), "at least 2 values; received 1"),
        (lambda: rows_of(some_groups(4), "slice"), "is 'slice'; expected 'specimen' or 'image'"),
        (lambda: rows_of(some_groups(4)[0]), r"shape \(3, 3\)"),
        (lambda: rows_of(some_groups(4), level=1), "the level is 1"),
        (lambda: rows_of(some_groups(4).astype(float)), "dtype float64"),
        (
            lambda: group_intervals(some_groups(4)[:0], NAMES, unit="image"),
            "at least one image",
        ),
        (
            lambda: group_intervals(some_groups(4), NAMES[:2], unit="image"),
            r"shape \(4, 3, 3\).* expected integers of shape \(images, 2, 2\)",
        ),
    ],
)
def test_refuses_what_has_no_interval(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
