"""Findings on scores: each fires on its fixture and is silent on a clean twin.

The label maps and their scores are those of the research notes and can be checked by hand.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from segmentation.audit.evaluation_images import expected_minimum
from segmentation.audit.evaluation_probability import chance_error, claimed_error
from segmentation.audit.evaluation_skill import best_constants
from tests.test_segmentation.audits import found, result_of
from tests.test_segmentation.specimens import channel_pooled_dice, one_hot
from tests.test_segmentation.test_fixtures import F1, F1_CASES, NAMES

CELL = ("background", "cell")
SOURCE = {case: result_of(F1, prediction, NAMES) for case, (prediction, *_) in F1_CASES.items()}
PERFECT = result_of(F1, F1, NAMES)
# 1000 voxels, 300 of them of the class; half of it found.
BINARY = (np.arange(1000) < 300).astype(int).reshape(10, 100)
NOTHING, HALF = np.zeros_like(BINARY), (np.arange(1000) < 150).astype(int).reshape(10, 100)
EVEN = np.repeat([0, 1], (700, 300)).reshape(10, 100)
RARE = np.repeat([0, 1], (701, 299)).reshape(10, 100)


def chance(share: float, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).random((100, 100)) < share).astype(int)


def pooled_images(first: int, others: int) -> dict[str, Any]:
    """F2: one image with 10,000 voxels and nine with 50; so many of them are found."""
    truth = np.zeros((10, 100, 200), int)
    truth[0, :, :100] = 1
    truth[1:, 0, :50] = 1
    guess = np.zeros_like(truth)
    guess[0, :, :first] = 1
    guess[1:, 0, :others] = 1
    return result_of(truth, guess, CELL)


def sections(shares: Any) -> dict[str, Any]:
    """Sections of 100 voxels of the class each, of which so many are found."""
    truth = np.zeros((len(shares), 10, 20), int)
    truth[:, :, :10] = 1
    guess = np.zeros_like(truth)
    for plane, share in zip(guess, shares, strict=True):
        plane.reshape(-1)[np.flatnonzero(truth[0])[:share]] = 1
    return result_of(truth, guess, CELL, specimens=3)


EVENLY = (88, 90, 92, 91, 89, 90, 93, 87, 90, 91)


def calibrated(*bins: tuple[int, float, float]) -> dict[str, Any]:
    """Probabilities of one class: count, mean probability and observed share of every bin."""
    whole = sum(count for count, *_ in bins)
    ece = sum(count * abs(mean - seen) for count, mean, seen in bins) / whole
    rows = [{"mean_probability": m, "observed": o, "count": n} for n, m, o in bins]
    entry = {"name": "cell", "ece": ece, "reliability": rows}
    entry |= {"best_threshold": 0.5, "best_threshold_dice": 0.9, "dice_at_half": 0.9}
    return {**PERFECT, "probability": {"classes": [{}, entry]}}


def threshold(best: float) -> dict[str, Any]:
    result = calibrated((10_000, 0.5, 0.5))
    better = {"best_threshold": 0.3, "best_threshold_dice": best, "dice_at_half": 0.85}
    result["probability"]["classes"][1] |= better
    return result


def skipping(rate: float | None, skipped: int = 80) -> dict[str, Any]:
    """Skipped blocks; of the 10,000 voxels of two sampled ones so many were given a class."""
    counts = {"blocks": 100, "skipped_blocks": skipped, "sampled_blocks": 2, "false_blocks": 1}
    counts |= {"sampled_voxels": 10_000, "false_voxels": int(10_000 * (rate or 0))}
    return {**PERFECT, "skipping": {**counts, "false_skip_rate": rate}}


SURFACE = {"surface": {"tolerances": [1.0, 2.0]}, "voxel_size": [4.0, 1.0, 1.0]}
PAIRS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("EVAL-POOLED", "warning", SOURCE["class 4 missed"], PERFECT),
    ("EVAL-POOLED", "warning", SOURCE["all foreground is class 1"], PERFECT),
    ("EVAL-CLASS-MISSED", "error", SOURCE["class 4 missed"], PERFECT),
    ("EVAL-CLASS-CONFUSION", "warning", SOURCE["classes permuted"], SOURCE["class 4 missed"]),
    ("EVAL-NO-SKILL", "error", SOURCE["all background"], SOURCE["classes permuted"]),
    ("EVAL-NO-SKILL", "error", SOURCE["all background"], SOURCE["all foreground is class 1"]),
    ("EVAL-NO-SKILL", "error", result_of(BINARY, NOTHING, CELL), result_of(BINARY, HALF, CELL)),
    (
        "EVAL-NO-SKILL",
        "error",
        result_of(chance(0.3), chance(0.3, 1), CELL),
        result_of(chance(0.3), chance(0.3) * chance(0.9, 1), CELL),
    ),
    (
        "EVAL-BACKGROUND-DOMINANCE",
        "info",
        result_of(RARE, RARE, CELL),
        result_of(EVEN, EVEN, CELL),
    ),
    ("EVAL-AGGREGATION-DISPARITY", "warning", pooled_images(100, 0), pooled_images(90, 45)),
    ("EVAL-OUTLIER-IMAGES", "warning", sections((*EVENLY, 40)), sections((*EVENLY, 85))),
    ("EVAL-OUTLIER-IMAGES", "warning", sections((*EVENLY, 40)), sections((*EVENLY[:1], 40))),
    (
        "EVAL-SMALL-N",
        "warning",
        result_of(BINARY, HALF, CELL, specimens=2),
        result_of(BINARY, HALF, CELL, specimens=3),
    ),
    (
        "EVAL-CALIBRATION",
        "warning",
        calibrated((9000, 0.001, 0.0), (1000, 0.95, 0.55)),
        calibrated((9000, 0.001, 0.0), (1000, 0.95, 0.9)),
    ),
    ("EVAL-THRESHOLD", "info", threshold(0.88), threshold(0.86)),
    (
        "EVAL-MISSING-PREDICTION",
        "error",
        {**PERFECT, "shards": {"planned": 10, "done": 8, "skipped": 1, "failed": 1}},
        {**PERFECT, "shards": {"planned": 10, "done": 9, "skipped": 1, "failed": 0}},
    ),
    ("EVAL-UNITS", "error", {**PERFECT, **SURFACE, "unit": None}, {**PERFECT, **SURFACE}),
    ("EVAL-UNITS", "info", {**PERFECT, "unit": None}, PERFECT),
    ("INFER-FALSE-SKIP", "warning", skipping(0.0011), skipping(0.001)),
    ("INFER-FALSE-SKIP", "warning", skipping(None), skipping(None, skipped=0)),
    ("METRIC-LABELS-DROPPED", "error", {**PERFECT, "out_of_range": 17}, PERFECT),
]


@pytest.mark.parametrize(("code", "severity", "faulty", "clean"), PAIRS)
def test_fires_on_the_fault_and_is_silent_on_the_twin(
    code: str, severity: str, faulty: dict[str, Any], clean: dict[str, Any]
) -> None:
    assert found(faulty)[code].severity == severity
    assert code not in found(clean)


def test_a_good_mask_of_several_specimens_has_no_finding() -> None:
    assert found(result_of(EVEN, EVEN, CELL)) == {}


@pytest.mark.parametrize("case", F1_CASES)
def test_s0_1_the_pooled_score_of_every_fixture_hides_its_classes(case: str) -> None:
    finding = found(SOURCE[case])["EVAL-POOLED"]
    _, (soft, _, accuracy), dice, (macro, _) = F1_CASES[case]
    prediction = F1_CASES[case][0]
    assert channel_pooled_dice(one_hot(F1, 5), one_hot(prediction, 5)) == pytest.approx(soft)
    assert f"pooled Dice of {accuracy:.3f}" in finding.statement
    assert f"classes reach {macro:.3f}" in finding.statement
    shown = [row[-1] for row in finding.evidence[0].rows]
    assert shown == pytest.approx(dice, abs=5e-7)


def test_s0_2_permuted_classes_are_named_in_pairs() -> None:
    finding = found(SOURCE["classes permuted"])["EVAL-CLASS-CONFUSION"]
    assert "Dice of 1.000" in finding.statement
    assert "100% of a is called b" in finding.statement
    pairs = {row[:2]: row[2:] for row in finding.evidence[0].rows}
    assert pairs == {
        ("a", "b"): (1200, 1.0),
        ("b", "c"): (900, 1.0),
        ("c", "d"): (600, 1.0),
        ("d", "a"): (300, 1.0),
    }


# Measured on small U-Nets: learning rate and batch, the score of the source, the honest one.
@pytest.mark.parametrize(("pooled", "macro"), [(0.880, 0.485), (0.614, 0.161), (0.780, 0.266)])
def test_s0_4_the_gap_of_the_reproduced_trainings_is_found(pooled: float, macro: float) -> None:
    result = {**PERFECT, "pooled_dice": pooled, "macro_foreground_dice": macro}
    assert "EVAL-POOLED" in found(result)
    assert "EVAL-POOLED" not in found(result, pooled_gap=pooled - macro + 1e-9)


def test_s3_2_an_accuracy_of_the_background_share_is_no_skill() -> None:
    result = result_of(BINARY, NOTHING, CELL)
    finding = found(result)["EVAL-NO-SKILL"]
    assert result["accuracy"] == 0.7
    assert "accuracy 0.700 against 0.700" in finding.statement
    # The class everywhere: 2 · 0.3 / 1.3.
    assert "0.000 against 0.462" in finding.statement


def test_f2_pooled_and_mean_of_images_are_both_said() -> None:
    statement = found(pooled_images(100, 0))["EVAL-AGGREGATION-DISPARITY"].statement
    assert "Dice of 0.978" in statement
    assert "mean of 30 images is 0.100" in statement


def test_f3_a_structure_missed_in_one_tile_is_missed() -> None:
    """16 tiles; the mean of the smoothed Dice of the tiles is 0.9377 although nothing is found."""
    truth = np.zeros((16, 16, 16), int)
    truth[5] = 1
    nothing = np.zeros_like(truth)
    tiles = [channel_pooled_dice(t, p) for t, p in zip(truth, nothing, strict=True)]
    assert np.mean(tiles) == pytest.approx(0.9377, abs=5e-5)
    findings = found(result_of(truth, nothing, CELL))
    assert "cell (0 of 768 voxels)" in findings["EVAL-CLASS-MISSED"].statement
    assert findings["EVAL-NO-SKILL"].severity == "error"


def test_no_skill_is_a_warning_where_only_the_interval_reaches_the_constant() -> None:
    truth, good = chance(0.3), chance(0.3) * chance(0.35, 1)
    result = result_of(truth, good, CELL)
    # Dice near 2 · 0.35 / 1.35 = 0.52, above the 0.46 of the class everywhere.
    assert "EVAL-NO-SKILL" not in found(result)
    result["intervals"]["scores"][0]["low"] = 0.2
    assert "EVAL-NO-SKILL" not in found(result)  # foreground as such is found better than so
    weak = result_of(truth, chance(0.3) * chance(0.28, 1), CELL)
    # Dice near 0.44: below the constant, so it is an error whatever the interval.
    assert found(weak)["EVAL-NO-SKILL"].severity == "error"
    two = np.where(truth, 1 + chance(0.5, 2), 0)
    names = ("background", "a", "b")
    # Of each of two classes a third is found: Dice 0.5, and 0.26 / 2 = 0.13 for one everywhere;
    # all foreground everywhere would have 0.46, these masks have less.
    mask = two * chance(0.27, 3)
    unsure = result_of(two, mask, names)
    assert "EVAL-NO-SKILL" not in found(unsure)
    unsure["intervals"]["scores"][0]["low"] = 0.1
    assert found(unsure)["EVAL-NO-SKILL"].severity == "warning"


def test_constants_by_hand() -> None:
    constants = best_constants([700, 200, 100])
    # Accuracy of background; class 1 everywhere: 2 · 0.2 / 1.2, half of it as mean of two classes.
    assert constants.accuracy == 0.7
    assert constants.macro == pytest.approx(0.4 / 1.2 / 2)
    assert constants.foreground == pytest.approx(0.6 / 1.3)


def test_a_truth_of_one_class_cannot_show_skill() -> None:
    everything = np.ones((10, 10), int)
    assert "EVAL-NO-SKILL" not in found(result_of(everything, everything, CELL))


def test_the_expected_minimum_is_blom_s() -> None:
    values = [0.1 * number for number in range(1, 10)]
    centre, spread, expected = expected_minimum(values)
    assert centre == pytest.approx(np.median(values))
    assert spread == pytest.approx(stats.median_abs_deviation(values, scale="normal"))
    assert expected == pytest.approx(centre + spread * stats.norm.ppf((1 - 0.375) / 9.25))


def test_outliers_name_their_section_and_what_was_expected() -> None:
    finding = found(sections((*EVENLY, 40)))["EVAL-OUTLIER-IMAGES"]
    # 40 of 100 found: 2 · 40 / 140.
    assert "0.571" in finding.statement
    assert {row[0] for row in finding.evidence[0].rows} == {f"fly{i} 10" for i in range(3)}


def test_sections_are_looked_at_where_images_are_few() -> None:
    result = sections((*EVENLY, 40))
    result["images"] = result["groups"] = [result["images"][0] | {"index": None, "image": "fly"}]
    result["slices"]["rows"] = [row | {"image": 0} for row in result["slices"]["rows"][:11]]
    findings = found(result)
    assert "1 of 11 sections" in findings["EVAL-OUTLIER-IMAGES"].statement
    assert "z 10" in findings["EVAL-OUTLIER-IMAGES"].statement


def test_a_class_in_few_specimens_is_small_too() -> None:
    result = result_of(F1, F1, NAMES, specimens=4)
    for row in result["groups"][:2]:
        row["support"] = [*row["support"][:4], 0]
    assert "d (2)" in found(result)["EVAL-SMALL-N"].statement


def test_calibration_over_all_voxels_hides_that_of_what_is_claimed() -> None:
    """0.9 · 0.001 + 0.1 · 0.4 = 0.0409 over all, and 0.40 over what is called the class."""
    result = calibrated((9000, 0.001, 0.0), (1000, 0.95, 0.55))
    entry = result["probability"]["classes"][1]
    assert entry["ece"] == pytest.approx(0.0409)
    claimed, count = claimed_error(entry["reliability"])
    assert count == 1000
    assert claimed == pytest.approx(0.4, abs=0.01)
    assert "over the 1,000 that are called cell" in found(result)["EVAL-CALIBRATION"].statement


def test_the_calibration_error_of_chance_by_hand() -> None:
    bins = [{"count": 25, "mean_probability": 0.5, "observed": 0.6}]
    # Standard deviation √(0.25 / 25) = 0.1; its mean size √(2 / π) of that.
    assert chance_error(bins) == pytest.approx(0.1 * 0.7978846)
    draws = np.random.default_rng(0).binomial(25, 0.5, 20_000) / 25
    assert np.abs(draws - 0.5).mean() == pytest.approx(chance_error(bins), rel=0.02)


def test_without_truth_only_what_needs_none_is_said() -> None:
    result = {"classes": [], "shards": {"planned": 2, "done": 1, "skipped": 0, "failed": 1}}
    assert list(found(result)) == ["EVAL-MISSING-PREDICTION"]
    assert found({"voxels": 8, "shares": [], "shards": {"planned": 1, "done": 1}}) == {}


def test_findings_are_plain_json_and_the_same_every_time() -> None:
    result = SOURCE["all background"]
    texts = {
        json.dumps([f.to_dict() for f in found(result).values()], allow_nan=False) for _ in "ab"
    }
    assert len(texts) == 1
    severities = [entry["severity"] for entry in json.loads(texts.pop())]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
