"""Rules that hold for scores: what is thrown away, thrown together, or counted twice.

Each rule looks at the answers in one layout and returns a finding or nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segmentation.audit.finding import Finding
from segmentation.audit.probe_fixtures import (
    BAD,
    GOOD,
    HALF,
    INVERTED,
    MISSED,
    NO_PLANE,
    NOTHING,
    OTHERWISE,
    PERFECT,
    PERMUTED,
    SURE,
    TOGETHER,
)
from segmentation.audit.probe_words import table

if TYPE_CHECKING:
    from segmentation.audit.probe_reading import Reading
    from segmentation.audit.probe_subject import Subject
    from segmentation.audit.thresholds import MetricThresholds

EVALUATE = "`maskmill evaluate IMAGE.zarr --labels NAME --truth LABEL`"


def probabilities_cut(
    subject: Subject, found: Reading, thresholds: MetricThresholds
) -> Finding | None:
    """Right and wrong probabilities get the same: floats are compared as if they were classes."""
    tolerance = thresholds.tolerance
    alike = found.same(GOOD, BAD, tolerance) and found.same(GOOD, SURE, tolerance)
    if not alike or not found.value(PERFECT) - found.value(GOOD) > tolerance:
        return None
    if abs(found.value(GOOD)) <= tolerance:
        return _accuracy_of_floats(subject, found, tolerance)
    return _iou_of_floats(subject, found, tolerance)


def _iou_of_floats(subject: Subject, found: Reading, tolerance: float) -> Finding:
    flat, share = found.value(GOOD), found.share
    law = ""
    if abs(flat - (1 - share) / 2) <= tolerance:
        law = f", which is (1 − π)/2 for masks with a share π = {share:.4g} of ones"
    return Finding(
        "METRIC-IOU-ON-PROBS",
        "error",
        f"{subject.name} gives {flat:.4g} for right and for wrong probabilities alike{law}; the "
        f"right ones, thresholded at 0.5, score {found.value(PERFECT):.4g}.",
        f"right and wrong probabilities of 0.9 and 0.999 differ by at most {tolerance:g} "
        f"(metric.tolerance), 0 and 1 by {found.value(PERFECT) - found.value(INVERTED):.4g}",
        "Every probability below 1 is cut off to class 0. Use "
        "keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.5) for one channel, or "
        "keras.metrics.OneHotIoU for several, and ignore the old curve; "
        f"{EVALUATE} gives the true IoU of a mask.",
        "That the network is bad: it may well be good, this curve would not show it.",
        (table(subject.name, found, (GOOD, SURE, BAD, PERFECT, INVERTED, NOTHING)),),
    )


def _accuracy_of_floats(subject: Subject, found: Reading, tolerance: float) -> Finding:
    return Finding(
        "METRIC-ACCURACY-ON-PROBS",
        "error",
        f"{subject.name} gives {found.value(GOOD):.4g} for a prediction that is right in every "
        f"voxel with probability 0.9, whose accuracy at a threshold of 0.5 is "
        f"{found.expected(GOOD, 'accuracy'):.4g}.",
        f"probabilities of 0.9 and 0.999 differ from a wholly wrong prediction by at most "
        f"{tolerance:g} (metric.tolerance)",
        "It asks whether floats are equal, so that a voxel counts only once its sigmoid is "
        "exactly 0 or 1. Compile with the text 'accuracy', or with "
        f"keras.metrics.BinaryAccuracy(); {EVALUATE} gives the accuracy of a mask.",
        "That training and validation differ: a gap between two such curves is one of how large "
        "the logits are.",
        (table(subject.name, found, (GOOD, SURE, BAD, PERFECT, INVERTED)),),
    )


def pooled(subject: Subject, found: Reading, thresholds: MetricThresholds) -> Finding | None:
    """It is accuracy, or the IoU that follows from it, so that classes do not count."""
    several = found.layout.num_classes > 2 or found.layout.output == "channels"
    if not found.rises or found.layout.output == "plane" or not several:
        return None
    names = [name for name in (NOTHING, HALF, MISSED, PERMUTED) if found.asked(name)]
    accuracy = {name: found.expected(name, "accuracy") for name in names}
    laws = (
        ("the accuracy of the voxels", accuracy),
        ("a/(2 − a), a being the accuracy", {n: a / (2 - a) for n, a in accuracy.items()}),
    )
    for law, wanted in laws:
        gap = max(abs(found.value(name) - value) for name, value in wanted.items())
        if gap <= thresholds.alike:
            return _pooled(subject, found, law, f"{gap:.2g} (metric.alike: {thresholds.alike:g})")
    return None


def _pooled(subject: Subject, found: Reading, law: str, gap: str) -> Finding:
    case = PERMUTED if found.asked(PERMUTED) else NOTHING
    words = "all classes but background confused" if case == PERMUTED else "nothing found"
    share = found.expected(NOTHING, "accuracy")
    honest = subject.says("acc")
    capped = ""
    if found.value(NO_PLANE) < found.best - 0.1:
        capped = f" Masks without a background plane would cap it at {found.value(NO_PLANE):.3g}."
    return Finding(
        "EVAL-POOLED",
        "info" if honest else "warning",
        f"{subject.name} gives {found.value(case):.4g} to a prediction with {words}, whose mean "
        f"Dice of the classes is {found.expected(case, 'dice'):.2g}: it sums over the classes, and "
        f"the background has {share:.0%} of the voxels.",
        f"on whole masks it is {law}, to {gap}",
        "Sum over the axes of space alone, and average over the foreground classes afterwards; or "
        f"read the Dice of each class from {EVALUATE}." + capped,
        "That the masks are bad: a good network scores high here too, and so does a useless one.",
        (table(subject.name, found, (PERFECT, HALF, MISSED, PERMUTED, NOTHING, NO_PLANE)),),
    )


def wrong_union(subject: Subject, found: Reading, thresholds: MetricThresholds) -> Finding | None:
    """A perfect prediction is worth one half."""
    worst = 0.0 if found.rises else 1.0
    halved = abs(found.best - 0.5) <= thresholds.tolerance
    if not halved or abs(found.value(INVERTED) - worst) > thresholds.alike:
        return None
    advice = "Take the overlap once from the sum: union = sum(a) + sum(b) − sum(a·b)."
    if found.rises:
        advice += " It rises with overlap, so as a loss it would destroy it; minimise 1 − IoU."
    return Finding(
        "METRIC-WRONG-UNION",
        "error",
        f"{subject.name} gives {found.best:.4g} to a perfect prediction and "
        f"{found.value(HALF):.4g} to one that finds half of the class, whose IoU is 1 and "
        f"{found.expected(HALF, 'iou'):.4g}: its union counts the overlap twice.",
        f"a perfect prediction gets 0.5 within {thresholds.tolerance:g} (metric.tolerance), a "
        f"wholly wrong one {worst:g}",
        f"{advice} `maskmill train --loss cross-entropy+jaccard` has the right one.",
        "That predictions compared with it were ranked wrongly: it is half of a Dice, and rises "
        "with it.",
        (table(subject.name, found, (PERFECT, HALF, INVERTED, NOTHING)),),
    )


def batch_pooled(subject: Subject, found: Reading, thresholds: MetricThresholds) -> Finding | None:
    """A score that depends on which images share a batch."""
    gap = abs(found.value(TOGETHER) - found.value(OTHERWISE))
    if not found.rises or not gap > thresholds.tolerance:
        return None
    return Finding(
        "METRIC-BATCH-POOLED",
        "warning",
        f"{subject.name} gives {found.value(TOGETHER):.4g} or {found.value(OTHERWISE):.4g} for "
        "the same predictions of the same four images, depending on which two share a batch.",
        f"two ways to batch differ by {gap:.4g} (metric.tolerance: {thresholds.tolerance:g})",
        "Compute it image by image and average, or collect counts in a keras.metrics.Metric and "
        f"divide at the end. {EVALUATE} counts over all voxels, and image by image.",
        "That it is far off: with one image a batch, or all in one, it is well defined.",
        (table(subject.name, found, (TOGETHER, OTHERWISE)),),
    )
