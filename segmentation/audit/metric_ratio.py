"""The constant that keeps a ratio from being 0/0, found where there is little to see.

Where the truth is empty and n voxels are found, a ratio with a constant s costs k n / (n + s):
s/(n + s) is left of a Dice or an IoU that should be 0. Two values of n give s and the scale k; a
third has to agree, or the metric is of another kind.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding
from segmentation.audit.probe_fixtures import EMPTY, FALSE, INVERTED, NOTHING, PERFECT
from segmentation.audit.probe_words import table

if TYPE_CHECKING:
    from segmentation.audit.probe_reading import Reading
    from segmentation.audit.probe_subject import Subject
    from segmentation.audit.thresholds import MetricThresholds

# Relative error of the third probe up to which the formula holds.
AGREES = 1e-2
# Beyond this ratio of two costs they grow with the voxels, and there is no constant to find.
LINEAR = 1.95


def smoothing(found: Reading) -> tuple[float, float] | None:
    """Constant and scale of a smoothed ratio; None if it is no such thing.

    With c the cost of 5 and d that of 10 false voxels, d/c = 2 (5 + s)/(10 + s).
    """
    five, ten, twenty = (found.cost(name) for name in FALSE.values())
    if not isfinite(five + ten + twenty) or five <= 0:
        return None
    ratio = ten / five
    if not 1 <= ratio < LINEAR:
        return None
    constant = 10 * (ratio - 1) / (2 - ratio)
    scale = five * (5 + constant) / 5
    wanted = scale * 20 / (20 + constant)
    return (constant, scale) if abs(twenty - wanted) <= AGREES * wanted else None


def smoothed(subject: Subject, found: Reading, thresholds: MetricThresholds) -> Finding | None:
    """Its constant decides where little or nothing is there."""
    decoded = smoothing(found)
    if decoded is None or decoded[0] / (5 + decoded[0]) <= thresholds.smooth:
        return None
    constant, scale = decoded
    score = bool(found.rises)
    value = found.value(FALSE[5])
    right = "a Dice or IoU of 0" if score else f"a loss of {scale:.4g}"
    return Finding(
        "METRIC-SMOOTH",
        "warning" if score else "info",
        f"{subject.name} gives {value:.4g} to 5 false voxels where nothing is, instead of {right}: "
        f"its constant is {constant:.3g}{_scale_words(found, scale)}.",
        f"{constant:.3g}/(5 + {constant:.3g}) = {constant / (5 + constant):.3g} is above "
        f"{thresholds.smooth:g} (metric.smooth)",
        "In a score leave the constant out, and leave images out in which nothing is and nothing "
        "was found; never average it over tiles. `maskmill evaluate` has none."
        if score
        else "That is common in a loss; compare its values only with those of the same constant. "
        "The losses of `maskmill train` have none.",
        "That scores of large structures are wrong: there the constant hardly matters.",
        (table(subject.name, found, (EMPTY, *FALSE.values(), PERFECT, NOTHING, INVERTED)),),
    )


def _scale_words(found: Reading, scale: float) -> str:
    if found.rises or abs(scale - 1) < AGREES:
        return ""
    return f", and it is scaled by {scale:.3g} (everything missed costs {found.value(NOTHING):.3g})"
