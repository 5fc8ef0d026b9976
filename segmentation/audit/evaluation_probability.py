"""Findings on probabilities: whether they are shares, and where to cut them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from segmentation.audit.finding import Curves, Finding, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from segmentation.audit.thresholds import EvaluationThresholds

CLAIMED = 0.5


def probability_findings(
    result: Mapping[str, Any], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """Findings on the probabilities of a segmentation.

    Parameters
    ----------
    result : mapping
        result.json; without ``probability`` there are none.
    thresholds : EvaluationThresholds
        When something is a finding.
    """
    classes = (result.get("probability") or {"classes": ()})["classes"][1:]
    judged = [(entry["name"], entry["ece"], entry["reliability"]) for entry in classes]
    yield from calibration_findings(judged, thresholds, unit="voxels")
    yield from _threshold(classes, thresholds)


def claimed_error(bins: Sequence[Mapping[str, Any]]) -> tuple[float | None, int]:
    """Calibration error of what is claimed: bins of a mean probability of one half or more.

    Over all voxels the many that are surely background hide it. What chance makes in so few
    cases is taken off.

    Returns
    -------
    tuple
        Mean distance of probability from observed share, weighted by counts; None where
        nothing is claimed. And how much is claimed.
    """
    kept = [one for one in bins if one["mean_probability"] >= CLAIMED]
    count = sum(one["count"] for one in kept)
    if not count:
        return None, 0
    far = (one["count"] * abs(one["mean_probability"] - one["observed"]) for one in kept)
    return _beyond_chance(math.fsum(far) / count, kept), count


def chance_error(bins: Sequence[Mapping[str, Any]]) -> float:
    """Calibration error expected of probabilities that are right, in so few cases.

    In a bin of n cases of probability p the observed share has the standard deviation
    √(p (1 - p) / n), and the mean distance of a normal variable is √(2 / π) of it.
    """
    count = sum(one["count"] for one in bins)
    spread = (
        math.sqrt(one["count"] * one["mean_probability"] * (1 - one["mean_probability"]))
        for one in bins
    )
    return math.sqrt(2 / math.pi) * math.fsum(spread) / count if count else 0.0


def _beyond_chance(error: float | None, bins: Sequence[Mapping[str, Any]]) -> float | None:
    return None if error is None else max(0.0, error - chance_error(bins))


def calibration_findings(
    classes: Sequence[tuple[str, float | None, Sequence[Mapping[str, Any]]]],
    thresholds: EvaluationThresholds,
    *,
    unit: str,
) -> Iterator[Finding]:
    """EVAL-CALIBRATION: probabilities that are not shares.

    Parameters
    ----------
    classes : sequence of (str, float or None, bins)
        Name, expected calibration error and reliability of every class that is judged.
    thresholds : EvaluationThresholds
        ``calibration``.
    unit : str
        What is counted: "voxels" or "samples".
    """
    rows = [
        (name, _beyond_chance(error, bins), *claimed_error(bins)) for name, error, bins in classes
    ]
    poor = [row for row in rows if max(row[1] or 0.0, row[2] or 0.0) > thresholds.calibration]
    if not poor:
        return
    name, error, claimed, count = max(poor, key=lambda row: max(row[1] or 0.0, row[2] or 0.0))
    said = f"{error or 0.0:.3f} over all {unit}"
    if claimed is not None:
        said += f" and {claimed:.3f} over the {count:,} that are called {name}"
    lines = tuple(
        (one, tuple((bin_["mean_probability"], bin_["observed"]) for bin_ in bins))
        for one, _, bins in classes
    )
    yield Finding(
        code="EVAL-CALIBRATION",
        severity="warning",
        statement=f"The probabilities of {name} are not the share of {unit} that are {name}: they "
        f"are off by {said}.",
        rule="The mean distance of probability from observed share is above "
        f"{thresholds.calibration:g} for a class, over all {unit} or over those with a probability "
        f"of at least {CLAIMED:g}; measured {said}.",
        advice="Do not read the probabilities as certainty. Segment with the mean of several folds "
        "(`maskmill train … --folds 5`), and choose thresholds on validation data.",
        proves_not="It says nothing of the masks: the most probable class can still be right.",
        evidence=(
            Curves("Probability against what is true", "probability", "share", lines),
            Table(
                "Calibration error", ("class", "all", "called so", f"{unit} called so"), (*rows,)
            ),
        ),
    )


def _threshold(
    classes: Sequence[Mapping[str, Any]], thresholds: EvaluationThresholds
) -> Iterator[Finding]:
    """EVAL-THRESHOLD: another threshold than one half would have given better masks."""
    rows = [
        (
            entry["name"],
            entry["dice_at_half"],
            entry["best_threshold"],
            entry["best_threshold_dice"],
            entry["best_threshold_dice"] - entry["dice_at_half"],
        )
        for entry in classes
        if entry["best_threshold_dice"] is not None and entry["dice_at_half"] is not None
    ]
    better = [row for row in rows if row[4] > thresholds.threshold_gain]
    if not better:
        return
    name, half, best, dice, gain = max(better, key=lambda row: row[4])
    yield Finding(
        code="EVAL-THRESHOLD",
        severity="info",
        statement=f"With a threshold of {best:.2f} instead of 0.5, {name} would have a Dice of "
        f"{dice:.3f} instead of {half:.3f} on these images.",
        rule="The best threshold gains more than "
        f"{thresholds.threshold_gain:g} of Dice over 0.5 (measured {gain:.3f}).",
        advice="Choose the threshold on validation images (`maskmill evaluate … --split validation "
        "--probabilities`), never on those that the final score comes from.",
        proves_not="The gain is that of a threshold chosen on the same images; on others it is "
        "smaller, and may be none.",
        evidence=(
            Table(
                "Thresholds",
                ("class", "Dice at 0.5", "best threshold", "Dice there", "gain"),
                tuple(rows),
            ),
        ),
    )
