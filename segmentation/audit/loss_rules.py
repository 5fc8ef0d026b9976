"""Rules that hold for losses, and for whatever raises or gives no number."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding, listed
from segmentation.audit.probe_fixtures import (
    COMMON,
    EMPTY,
    FALSE,
    HALF,
    INVERTED,
    ODD_LABELS,
    PERFECT,
    RARE,
    UNSURE,
)
from segmentation.audit.probe_words import table

if TYPE_CHECKING:
    from segmentation.audit.probe_reading import Reading
    from segmentation.audit.probe_subject import Subject
    from segmentation.audit.thresholds import MetricThresholds

# Share of the cost of a sure error that doubt costs, from which on a loss does not reward being
# right about one's doubt. Soft accuracy: 0.5; squared error: 0.25 or more; cross-entropy: 0.04.
LINEAR = 0.45


def is_loss(subject: Subject) -> bool:
    """Whether it is meant to be made small: a Keras loss, or one by its name."""
    return subject.kind == "loss" or subject.says("loss")


def direction(subject: Subject, found: Reading, thresholds: MetricThresholds) -> Finding | None:
    """A loss that is smallest where all is wrong."""
    if not is_loss(subject) or not found.rises:
        return None
    return Finding(
        "METRIC-DIRECTION",
        "error",
        f"{subject.name} is a loss, and gives {found.best:.4g} to a perfect prediction but "
        f"{found.value(INVERTED):.4g} to one that is wrong in every voxel: to minimise it makes "
        "masks worse.",
        f"it rises with quality, by {found.best - found.value(INVERTED):.4g} from all wrong to all "
        f"right (metric.tolerance: {thresholds.tolerance:g})",
        "Return 1 minus it, or minus it. `maskmill train --loss cross-entropy+dice` has losses "
        "that fall.",
        "That it is wrong as a score: as one, to be maximised, it may be right.",
        (table(subject.name, found, (PERFECT, HALF, INVERTED)),),
    )


def class_blind(subject: Subject, found: Reading, thresholds: MetricThresholds) -> Finding | None:
    """A loss that costs the same whether errors wipe out a rare class or lie in the background."""
    rare, common = found.value(RARE), found.value(COMMON)
    size = max(abs(rare), abs(common))
    if found.rises or not abs(rare - common) < thresholds.class_blind * size:
        return None
    linear = found.cost(UNSURE) >= LINEAR * found.cost(INVERTED)
    dice = [found.expected(name, "dice") for name in (RARE, COMMON)]
    return Finding(
        "TRAIN-LOSS-CLASSBLIND",
        "warning" if linear else "info",
        f"{subject.name} is {rare:.4g} where 100 wrong voxels are all there is of a class, and "
        f"{common:.4g} where they are background; the mean Dice of the classes is {dice[0]:.2f} "
        f"and {dice[1]:.2f}.",
        f"they differ by {abs(rare - common) / size:.2g} of its size (metric.class_blind: "
        f"{thresholds.class_blind:g})",
        "Take a loss that is computed class by class, or one whose voxels weigh by how rare their "
        "class is: `maskmill train --loss cross-entropy+dice`, whose default weights do both."
        if linear
        else "Where a class is rare, add a loss computed class by class, or weights: `maskmill "
        "train --loss cross-entropy+dice`.",
        "That a rare class will be missed: where it is easily seen, such a loss finds it too.",
        (table(subject.name, found, (RARE, COMMON, PERFECT, UNSURE, INVERTED)),),
    )


def fails(subject: Subject, found: Reading, thresholds: MetricThresholds) -> Finding | None:
    """It raises on some masks, or gives no number for a prediction without doubt."""
    asked = [one for one in found.results if one.probe.name not in ODD_LABELS]
    raised = [one for one in asked if one.value is None]
    empties = {EMPTY, *FALSE.values()}
    odd = [
        one.probe.name
        for one in asked
        if one.value is not None and not isfinite(one.value) and one.probe.name not in empties
    ]
    if not raised and not odd:
        return None
    names = [one.probe.name for one in raised] or odd
    what = f"raises ({raised[0].error})" if raised else "gives no number (NaN or infinite)"
    advice = (
        "Make it answer for every mask a batch can hold"
        if raised
        else "Add a small constant inside the logarithm, or clip the probabilities: a sigmoid in "
        "float32 becomes exactly 0 or 1"
    )
    return Finding(
        "METRIC-FAILS",
        "error" if raised else "warning",
        f"{subject.name} {what} on {len(names)} of {len(asked)} probes: {listed(names)}.",
        f"{len(names)} probes without a finite value; 0 are allowed",
        f"{advice}; then run `maskmill audit --metric` again.",
        "That this has happened in your training; NaN in its log would show it.",
        (table(subject.name, found, names),),
    )
