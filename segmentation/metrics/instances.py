"""Scores of objects: how many were found, how well, and what became of the others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.matching import matches, overlaps
from segmentation.metrics.object_errors import object_errors
from segmentation.metrics.ratios import ratio, values_and_reasons
from segmentation.metrics.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.metrics.contingency import Contingency
    from segmentation.metrics.matching import Classes, Overlaps, Positions

NO_OBJECTS = "neither truth nor mask has an object of this class"
NO_TRUTH = "the truth has no object of this class"
NO_MASK = "the mask has no object of this class"
NO_MATCH = "no object was matched"
INTERVAL_NOTE = (
    "Wilson interval of the counts at IoU 0.5; objects of one image are not independent, so that "
    "this is the narrowest interval that can be believed"
)


def instance_scores(
    tables: Sequence[Contingency],
    *,
    class_names: Sequence[str],
    thresholds: Sequence[float],
    truth_classes: Sequence[Classes] | None = None,
    mask_classes: Sequence[Classes] | None = None,
) -> list[dict[str, Any]]:
    """Score the objects of every foreground class over all images together.

    Only objects of one class match, where their IoU is strictly above the threshold; see `matches`.
    With TP matched pairs, FP mask objects and FN truth objects without a match:

    * average_precision = TP / (TP + FP + FN), f1 = 2 TP / (2 TP + FP + FN)
    * precision = TP / (TP + FP), recall = TP / (TP + FN)
    * at IoU 0.5: sq = mean_matched_iou = the sum of matched IoU / TP, rq = f1, pq = sq rq = the
      sum of matched IoU / (TP + FP/2 + FN/2) (Kirillov et al., Panoptic Segmentation, CVPR 2019)

    missed, invented, splits and merges count objects as `object_errors` defines them.

    The images are pooled: their objects are counted together. A score whose denominator is 0 is
    None, and its reason stands under "undefined"; a class that the truth has and the mask misses
    scores 0.

    Parameters
    ----------
    tables : sequence of Contingency
        One per image.
    class_names : sequence of str
        Names of the classes 0..C-1, the background first; without classes the one name of the
        objects. Objects of other classes are not scored, but no voxel of theirs is taken away.
    thresholds : sequence of float
        IoU thresholds, from 0 to below 1.
    truth_classes, mask_classes : sequence of (integer array or mapping), optional
        Class by object id, per image; class 0 is no object. Without them the objects have no class.

    Returns
    -------
    list of dict
        One per foreground class, as in ``instances.classes`` of result.json; "value" is None where
        there are no classes.

    Raises
    ------
    ValueError
        If the names do not fit, or see `overlaps` and `matches`.
    """
    has_classes = truth_classes is not None
    names = _foreground(class_names, has_classes=has_classes)
    overlap = overlaps(tables, truth_classes, mask_classes)
    found = {threshold: matches(overlap, threshold) for threshold in (*thresholds, 0.5)}
    errors = object_errors(overlap)
    return [
        {
            "value": value if has_classes else None,
            "name": name,
            **_panoptic(overlap, found[0.5], value),
            "matches": [{"threshold": t, **_match(overlap, found[t], value)} for t in thresholds],
            **{error: _count(objects, value) for error, objects in errors.items()},
        }
        for value, name in names
    ]


def object_hits(
    table: Contingency,
    threshold: float = 0.5,
    *,
    truth_classes: Classes | None = None,
    mask_classes: Classes | None = None,
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return which truth objects of one image were found, to compare two masks object by object.

    Parameters
    ----------
    table : Contingency
        The image; its truth ids are the same for every mask.
    threshold : float
        IoU that a match lies above.
    truth_classes, mask_classes : integer array or mapping, optional
        Class by object id; class 0 is no object.

    Returns
    -------
    ids : uint64, shape (n,)
        Truth objects with a voxel that is not ignored, ascending.
    hits : bool, shape (n,)
        Whether the object has a match of its class.
    """
    overlap = overlaps(
        [table],
        None if truth_classes is None else [truth_classes],
        None if mask_classes is None else [mask_classes],
    )
    hits = np.zeros(overlap.truth.areas.size, bool)
    hits[overlap.pairs[matches(overlap, threshold), 0]] = True
    is_object = overlap.truth.classes != 0
    ids = np.unique(table.truth[table.truth != 0])
    return ids[is_object[1:]], hits[is_object]


def _foreground(class_names: Sequence[str], *, has_classes: bool) -> list[tuple[int, str]]:
    """Return value and name of the foreground classes; objects without classes are class 1."""
    if has_classes:
        return list(enumerate(class_names))[1:]
    if len(class_names) != 1:
        raise ValueError(
            f"received {len(class_names)} class names for objects without classes; give one name"
        )
    return [(1, class_names[0])]


def _match(overlap: Overlaps, matched: Positions, value: int) -> dict[str, Any]:
    """Score the matches of one class at one threshold."""
    hits = _count(overlap.truth.classes[overlap.pairs[matched, 0]], value)
    misses = _count(overlap.truth.classes, value) - hits
    false_alarms = _count(overlap.mask.classes, value) - hits
    return {
        "true_positives": hits,
        "false_positives": false_alarms,
        "false_negatives": misses,
        **values_and_reasons(
            average_precision=(ratio(hits, hits + misses + false_alarms), NO_OBJECTS),
            f1=(ratio(2 * hits, 2 * hits + misses + false_alarms), NO_OBJECTS),
            precision=(ratio(hits, hits + false_alarms), NO_MASK),
            recall=(ratio(hits, hits + misses), NO_TRUTH),
        ),
    }


def _panoptic(overlap: Overlaps, matched: Positions, value: int) -> dict[str, Any]:
    """Score one class by its matches at IoU 0.5."""
    own = matched[overlap.truth.classes[overlap.pairs[matched, 0]] == value]
    # fsum rounds once: the order of the objects does not change a digit.
    iou = math.fsum(overlap.iou[own].tolist())
    truth, mask = _count(overlap.truth.classes, value), _count(overlap.mask.classes, value)
    matched_iou = (ratio(iou, own.size), NO_MATCH)
    return {
        "truth_objects": truth,
        "mask_objects": mask,
        **values_and_reasons(
            pq=(ratio(2 * iou, truth + mask), NO_OBJECTS),
            sq=matched_iou,
            rq=(ratio(2 * own.size, truth + mask), NO_OBJECTS),
            mean_matched_iou=matched_iou,
        ),
        "recall_interval": _interval(own.size, truth),
        "precision_interval": _interval(own.size, mask),
    }


def _interval(hits: int, objects: int) -> dict[str, Any] | None:
    if not objects:
        return None
    low, high = wilson(hits, objects)
    return {"low": low, "high": high, "note": INTERVAL_NOTE}


def _count(classes: NDArray[np.int64], value: int) -> int:
    return int(np.count_nonzero(classes == value))
