"""Findings on a classifier's predictions: each fires on its fixture and is silent on a twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segmentation.audit.evaluation_samples import classification_findings
from segmentation.classification.scores import Predictions, classification_scores
from tests.test_segmentation.audits import by_code

NAMES = ("healthy", "ill")


def classified(
    confusion: Any, names: tuple[str, ...] = NAMES, *, sure: float = 0.98
) -> dict[str, Any]:
    """result.json of predictions that give this confusion, each with the same certainty."""
    pairs = [
        (truth, guess)
        for truth, row in enumerate(confusion)
        for guess, count in enumerate(row)
        for _ in range(count)
    ]
    rest = (1 - sure) / (len(names) - 1)
    probabilities = np.full((len(pairs), len(names)), rest)
    for row, (_, guess) in zip(probabilities, pairs, strict=True):
        row[guess] = sure
    ids = tuple(f"sample {number}" for number in range(len(pairs)))
    labels = np.array([truth for truth, _ in pairs], np.int64)
    return classification_scores(Predictions(ids, probabilities, labels, ids), names)


def found(result: dict[str, Any]) -> dict[str, Any]:
    return by_code(classification_findings(result))


# The test set of the fourth source case: 6 and 21 images, all called class 1.
SOURCE = classified([[0, 6], [0, 21]])
GOOD = classified([[49, 1], [1, 49]])
UNREADABLE = {"unreadable": [{"id": "a.png", "reason": "not an image"}]}
PAIRS = [
    ("EVAL-NO-SKILL", "error", SOURCE, GOOD),
    # 16 of 27 right at 13 and 14: the interval of the accuracy reaches below one half.
    ("EVAL-NO-SKILL", "warning", classified([[8, 5], [6, 8]]), classified([[12, 1], [1, 13]])),
    # 84 % right where 95 % are healthy is no fault if most of the ill are found.
    ("EVAL-NO-SKILL", "error", classified([[95, 0], [5, 0]]), classified([[80, 15], [1, 4]])),
    ("EVAL-CLASS-MISSED", "error", SOURCE, classified([[1, 5], [0, 21]])),
    ("MODEL-OUTPUT-COLLAPSE", "error", SOURCE, classified([[1, 5], [0, 21]])),
    ("MODEL-OUTPUT-COLLAPSE", "error", SOURCE, classified([[0, 2], [0, 98]])),
    ("EVAL-SMALL-N", "warning", SOURCE, classified([[20, 0], [0, 20]])),
    (
        "EVAL-CALIBRATION",
        "warning",
        classified([[35, 15], [15, 35]], sure=0.99),
        classified([[35, 15], [15, 35]], sure=0.7),
    ),
    ("EVAL-MISSING-PREDICTION", "error", GOOD | UNREADABLE, GOOD | {"unreadable": []}),
]


@pytest.mark.parametrize(("code", "severity", "faulty", "clean"), PAIRS)
def test_fires_on_the_fault_and_is_silent_on_the_twin(
    code: str, severity: str, faulty: dict[str, Any], clean: dict[str, Any]
) -> None:
    assert found(faulty)[code].severity == severity
    assert code not in found(clean)


def test_good_predictions_have_no_finding() -> None:
    assert found(GOOD) == {}
    assert found({"task": "classification", "samples": 3, "confusion": None}) == {}


def test_s4_11_the_source_case_shows_no_skill_on_six_negatives() -> None:
    findings = found(SOURCE)
    skill = findings["EVAL-NO-SKILL"]
    assert "accuracy of 0.778" in skill.statement
    assert "always answering ill has 0.778" in skill.statement
    assert "balanced accuracy is 0.500 where guessing has 0.500" in skill.statement
    assert skill.evidence[0].rows[0][2] == pytest.approx(0.592, abs=5e-4)
    assert "healthy has 6 (recall 0.00, from 0.00 to 0.39)" in findings["EVAL-SMALL-N"].statement
    healthy, ill = findings["EVAL-SMALL-N"].evidence[0].rows
    assert healthy[2:] == pytest.approx((0, 0, 0.390), abs=5e-4)
    assert ill[2:] == pytest.approx((1, 0.845, 1), abs=5e-4)
    assert "(0 of 6 samples)" in findings["EVAL-CLASS-MISSED"].statement
    assert "27 of 27 samples are called ill" in findings["MODEL-OUTPUT-COLLAPSE"].statement


def test_s4_12_another_share_of_the_classes_changes_the_accuracy_and_not_the_finding() -> None:
    """The same constant answer: 0.5 on the training's 50/50, 0.778 on the test's 22/78."""
    even, uneven = classified([[0, 50], [0, 50]]), SOURCE
    assert (even["accuracy"]["value"], uneven["accuracy"]["value"]) == (0.5, 21 / 27)
    for result in (even, uneven):
        finding = found(result)["EVAL-NO-SKILL"]
        assert finding.severity == "error"
        assert "balanced accuracy is 0.500" in finding.statement


def test_probabilities_that_are_right_in_few_samples_are_not_blamed() -> None:
    """The calibration error of 27 samples is above 0.1 by chance alone."""
    draws = np.random.default_rng(0)
    blamed, raw = 0, []
    for number in range(40):
        p = draws.uniform(0.02, 0.98, 27)
        labels = (draws.random(27) < p).astype(np.int64)
        ids = tuple(f"{number} {i}" for i in range(27))
        result = classification_scores(
            Predictions(ids, np.stack([1 - p, p], axis=1), labels, ids), NAMES
        )
        raw.append(result["calibration"]["ece"])
        blamed += "EVAL-CALIBRATION" in found(result)
    assert np.mean(raw) > 0.1
    assert blamed <= 8


def test_several_classes_are_judged_by_guessing_one_of_them() -> None:
    three = ("a", "b", "c")
    constant = found(classified([[30, 0, 0], [30, 0, 0], [30, 0, 0]], three))["EVAL-NO-SKILL"]
    assert "guessing has 0.333" in constant.statement
    good = classified([[25, 5, 0], [4, 25, 1], [0, 3, 27]], three, sure=0.86)
    assert found(good) == {}
