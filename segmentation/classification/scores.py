"""Scores of a classifier: one prediction a sample, against its true class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.classification.intervals import (
    area_interval,
    cluster_interval,
    mean_proportion,
    proportion,
    undefined,
)
from segmentation.classification.predictions import Predictions, worst_errors
from segmentation.classification.ranking import Areas, calibration
from segmentation.metrics.ratios import ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def classification_scores(
    predictions: Predictions, class_names: Sequence[str], *, level: float = 0.95
) -> dict[str, Any]:
    """Every score of a classifier, in the shape of result.json.

    Samples without truth do not count. With two classes, class 1 is the positive one:
    sensitivity is its recall, specificity the recall of class 0.

    Parameters
    ----------
    predictions : Predictions
        At least one sample with truth.
    class_names : sequence of str
        Names of the classes 0, 1, …
    level : float
        Nominal coverage of the intervals.

    Returns
    -------
    dict
        Plain JSON. Scores with an interval are dicts of "value", "low", "high", "method" and
        "note"; without an interval, low and high are None and the note says why.

    Raises
    ------
    ValueError
        If no sample has a truth, or names and probabilities disagree on the number of classes.
    """
    known, count = predictions.known(), len(class_names)
    if not known.names or known.probabilities.shape[1] != count:
        raise ValueError(
            f"{len(known.names)} samples with truth, probabilities of shape "
            f"{predictions.probabilities.shape} and {count} class names; expected at least one "
            "sample with truth, and one probability for each class"
        )
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (known.labels, known.classes), 1)
    positive = {"positive": {"value": 1, "name": class_names[1]}} if count == 2 else {}
    return {
        "classes": [_class_row(confusion, value, name) for value, name in enumerate(class_names)],
        "confusion": confusion.tolist(),
        "scored": len(known.names),
        "groups": len(set(known.groups)),
        "level": level,
        **positive,
        **_with_intervals(known, confusion, class_names, level),
        "calibration": calibration(known),
        "baseline": _baseline(confusion, class_names),
        "errors": worst_errors(known),
    }


def _class_row(confusion: NDArray[np.int64], value: int, name: str) -> dict[str, Any]:
    hits, support = int(confusion[value, value]), int(confusion[value].sum())
    predicted = int(confusion[:, value].sum())
    return {
        "value": value,
        "name": name,
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, support + predicted),
        "support": support,
        "predicted": predicted,
    }


def _with_intervals(
    known: Predictions, confusion: NDArray[np.int64], class_names: Sequence[str], level: float
) -> dict[str, Any]:
    """Scores with their intervals, by what the groups allow."""
    pairs = [(int(row[value]), int(row.sum())) for value, row in enumerate(confusion)]
    notes = [
        "" if trials else f"no sample of {name} in the truth"
        for name, (_, trials) in zip(class_names, pairs, strict=True)
    ]
    single = len(set(known.groups)) == len(known.groups)
    return (_independent if single else _clustered)(known, pairs, notes, level)


def _independent(
    known: Predictions, pairs: list[tuple[int, int]], notes: list[str], level: float
) -> dict[str, Any]:
    missing = "; ".join(filter(None, notes))
    found = {
        "accuracy": proportion(sum(hits for hits, _ in pairs), len(known.names), level, ""),
        "balanced_accuracy": mean_proportion(pairs, level, missing),
    }
    if len(pairs) == 2:
        found["sensitivity"] = proportion(*pairs[1], level, notes[1])
        found["specificity"] = proportion(*pairs[0], level, notes[0])
    return found | {"auroc": _area(known, pairs, level, missing)}


def _area(
    known: Predictions, pairs: list[tuple[int, int]], level: float, missing: str
) -> dict[str, Any]:
    value = Areas(known)(np.ones(len(known.names), np.int64))
    if value is None:
        return undefined(missing)
    if len(pairs) > 2:
        note = "no interval: it is the mean of several areas, each of one class against the rest"
        return undefined(note) | {"value": value}
    low, high = area_interval(value, pairs[1][1], pairs[0][1], level)
    return {"value": value, "low": low, "high": high, "method": "Newcombe", "note": None}


def _clustered(
    known: Predictions, pairs: list[tuple[int, int]], notes: list[str], level: float
) -> dict[str, Any]:
    right, labels, count = known.classes == known.labels, known.labels, len(pairs)

    def recall(weights: NDArray[np.int64], value: int) -> float | None:
        of_class = weights * (labels == value)
        return ratio(int((of_class * right).sum()), int(of_class.sum()))

    def balanced(weights: NDArray[np.int64]) -> float | None:
        recalls = [recall(weights, value) for value in range(count)]
        defined = [one for one in recalls if one is not None]
        return math.fsum(defined) / count if len(defined) == count else None

    missing = "; ".join(filter(None, notes))
    scores: dict[str, tuple[Any, str]] = {
        "accuracy": (lambda weights: ratio(int(weights @ right), int(weights.sum())), ""),
        "balanced_accuracy": (balanced, missing),
    }
    if count == 2:
        scores["sensitivity"] = (lambda weights: recall(weights, 1), notes[1])
        scores["specificity"] = (lambda weights: recall(weights, 0), notes[0])
    scores["auroc"] = (Areas(known), missing)
    return {
        name: cluster_interval(score, known.groups, level, note)
        for name, (score, note) in scores.items()
    }


def _baseline(confusion: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, Any]:
    """What always predicting the most frequent class would score."""
    support = confusion.sum(axis=1)
    value = int(support.argmax())
    name = class_names[value]
    return {"value": value, "name": name, "accuracy": int(support[value]) / int(support.sum())}
