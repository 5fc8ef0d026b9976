"""Rules on masks that are out of the ordinary: values that are no class, and nothing at all."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding
from segmentation.audit.probe_fixtures import (
    EMPTY,
    FROM_ONE,
    INVERTED,
    PERFECT,
    PERMUTED,
    WHITE,
    WHITE_MISSED,
)
from segmentation.audit.probe_words import table

if TYPE_CHECKING:
    from segmentation.audit.probe_reading import Reading
    from segmentation.audit.probe_subject import Subject
    from segmentation.audit.thresholds import MetricThresholds

# Value of the class in masks that are black and white.
WHITE_LABEL = 255


def labels_dropped(
    subject: Subject, found: Reading, thresholds: MetricThresholds
) -> Finding | None:
    """A score that overlooks voxels whose label is no class."""
    overlooked = _overlooked(subject, found, thresholds.tolerance) if found.rises else None
    if overlooked is None:
        return None
    case, value = overlooked
    return Finding(
        "METRIC-LABELS-DROPPED",
        "error",
        f"{subject.name} gives {value:.4g} to a prediction that {case}: voxels whose label is no "
        "class are left out, and nothing is said.",
        f"a wrong prediction gets {found.best:.4g} within {thresholds.tolerance:g} "
        "(metric.tolerance), or a right one 0, where masks hold values beyond the classes",
        "Number the classes from 0, with `maskmill import-labels SOURCE IMAGE.zarr --name truth "
        "--classes …`, which refuses other values; `maskmill audit CATALOG.yaml` looks at yours.",
        "That your masks hold such values.",
        (table(subject.name, found, (WHITE, WHITE_MISSED, FROM_ONE, PERFECT)),),
    )


def _overlooked(subject: Subject, found: Reading, tolerance: float) -> tuple[str, float] | None:
    """Which prediction has a value it should not have; labels left out on purpose are none."""
    missed, last = found.value(WHITE_MISSED), found.layout.num_classes
    if subject.ignore_class != WHITE_LABEL:
        if missed >= found.best - tolerance:
            return "finds nothing in masks of 0 and 255", missed
        if abs(found.value(WHITE)) <= tolerance:
            return "is right in every voxel of masks of 0 and 255", found.value(WHITE)
    confused = found.value(PERMUTED) < found.best - tolerance
    if subject.ignore_class != last and confused:
        value = found.value(FROM_ONE)
        if value >= found.best - tolerance:
            return f"misses class {last} of labels 1 to {last}", value
    return None


def empty(subject: Subject, found: Reading, thresholds: MetricThresholds) -> Finding | None:
    """Nothing there and nothing found is no number, or as bad as it gets."""
    answer = next(one.value for one in found.results if one.probe.name == EMPTY)
    # Where a perfect prediction is no number either, it is not emptiness that matters.
    if answer is None or not isfinite(found.value(PERFECT)):
        return None
    # A metric that collects counts gives 0 only if all images together are empty.
    worst = found.same(EMPTY, INVERTED, thresholds.tolerance) and subject.kind == "function"
    if isfinite(answer) and not (worst and found.rises):
        return None
    shown = f"{answer:.4g}" if isfinite(answer) else "no number (NaN or infinite)"
    return Finding(
        "METRIC-EMPTY",
        "warning",
        f"{subject.name} gives {shown} where nothing is and nothing was found, which is right.",
        f"{shown} for empty masks and an empty prediction; a perfect one gets {found.best:.4g}",
        "Leave such images out of the mean and say how many there were, as `maskmill evaluate` "
        "does: an undefined score is neither 0 nor 1.",
        "That your data hold such images or tiles; `maskmill audit CATALOG.yaml` counts them.",
        (table(subject.name, found, (EMPTY, PERFECT, INVERTED)),),
    )
