"""Parts that differ more than chance would make them: in classes, and in intensities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from segmentation.audit.finding import Finding, Table
from segmentation.audit.resplits import distance, divergence, resplit_probability
from segmentation.audit.split_classes import part_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from segmentation.audit.resplits import Measure
    from segmentation.audit.survey import Survey
    from segmentation.audit.thresholds import DataThresholds

FEATURES = ("mean", "sd", "low", "high")


def shift_findings(survey: Survey, thresholds: DataThresholds) -> list[Finding]:
    """Validation and test parts that are not like the training part.

    How often so large a difference comes about by chance is counted in random divisions of the
    same groups, of which as many go to the part as it has. With two parts each has to be twice as
    improbable (Bonferroni).

    Parameters
    ----------
    survey : Survey
        Items and their parts.
    thresholds : DataThresholds
        How unusual, and how large, a difference has to be.
    """
    parts, train = list(survey.scored()), survey.folds[0]["train"]
    least = (1 - thresholds.null_quantile) / max(1, len(parts))
    found: list[Finding] = []
    for part, numbers in parts if train else []:
        found += _prior(survey, part, numbers, least, thresholds)
        found += _intensity(survey, part, numbers, least, thresholds)
    return found


def _prior(
    survey: Survey,
    part: str,
    numbers: Sequence[int],
    least: float,
    thresholds: DataThresholds,
) -> Iterator[Finding]:
    counts = np.array([item.counts for item in survey.items], np.float64)
    train = survey.folds[0]["train"]
    shares = [_shares(counts[list(rows)].sum(axis=0)) for rows in (train, numbers)]
    change = shares[1] - shares[0]
    worst = int(np.abs(change).argmax())
    size = abs(float(change[worst]))
    if size < thresholds.least_shift:
        return

    def measure(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
        return divergence(counts[first].sum(axis=0), counts[second].sum(axis=0))

    chance = _probability(survey, train, numbers, measure, thresholds)
    if size > thresholds.prior_shift or (chance is not None and chance < least):
        before, after = (float(one[worst]) for one in shares)
        yield Finding(
            "SPLIT-PRIOR-SHIFT",
            "warning",
            f"The {part} part has other shares of the classes than the train part: "
            f"{survey.class_names[worst]} goes from {before:.1%} to {after:.1%}, so that "
            "accuracies of the two cannot be compared.",
            f"found if a share differs by more than {thresholds.prior_shift:.0%} (measured "
            f"{size:.1%}), or by {thresholds.least_shift:.0%} and in fewer than {least:.1%} of "
            f"{thresholds.null_splits} random divisions as much ({_in_words(chance)})",
            "Leave the split to maskmill (no field split), which spreads the classes; otherwise "
            "compare Dice, or sensitivity and specificity, of each class, not accuracy.",
            "That a score is wrong: those of a single class do not depend on its share as accuracy "
            "does.",
            (part_table(survey),),
        )


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = counts / max(1.0, float(counts.sum()))
    return found


def _probability(
    survey: Survey,
    train: Sequence[int],
    numbers: Sequence[int],
    measure: Measure,
    thresholds: DataThresholds,
) -> float | None:
    groups = [item.group for item in survey.items]
    return resplit_probability(groups, train, numbers, measure, splits=thresholds.null_splits)


def _in_words(chance: float | None) -> str:
    return "groups are divided, so that this is not known" if chance is None else f"{chance:.1%}"


def _intensity(
    survey: Survey,
    part: str,
    numbers: Sequence[int],
    least: float,
    thresholds: DataThresholds,
) -> Iterator[Finding]:
    values = _features(survey)
    if values is None:
        return
    train = survey.folds[0]["train"]
    shifts = [_moved(column, train, numbers) for column in values.T]
    worst = int(np.argmax(shifts))
    if shifts[worst] < thresholds.intensity_shift:
        return

    def measure(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
        return max(distance(values[first, k], values[second, k]) for k in range(len(FEATURES)))

    chance = _probability(survey, train, numbers, measure, thresholds)
    if chance is not None and chance < least:
        medians = [np.median(values[list(rows)], axis=0).tolist() for rows in (train, numbers)]
        rows = (("train", *medians[0]), (part, *medians[1]))
        heads = ("part", "mean", "SD", "1 % below", "99 % below")
        yield Finding(
            "SPLIT-INTENSITY-SHIFT",
            # Where maskmill drew the parts, chance is the cause, once in twenty divisions.
            "warning" if survey.fixed else "info",
            f"The images of the {part} part are of other intensities than those of the train part: "
            f"the median {heads[1 + worst]} goes from {medians[0][worst]:.4g} to "
            f"{medians[1][worst]:.4g}.",
            f"found if a median differs by {thresholds.intensity_shift:g} standard deviations "
            f"between items (measured {shifts[worst]:.2g}), and in fewer than {least:.1%} of "
            f"{thresholds.null_splits} random divisions the distributions differ as much "
            f"(Kolmogorov–Smirnov; measured {chance:.1%})",
            "Find out whether staining, microscope or exposure changed; leave the split to "
            "maskmill, and train with --augment standard, which varies brightness and contrast."
            if survey.fixed
            else "The parts were drawn by chance: use `maskmill train --folds 5`, which scores "
            "every group, or another --seed, chosen before any score is seen.",
            "That the network fails there: `maskmill train` scales every image by its percentiles.",
            (Table("Medians of the images", heads, rows),),
        )


def _features(survey: Survey) -> NDArray[np.float64] | None:
    """Intensities of all items, (items, features); None if some are not known."""
    rows = [
        [getattr(item.intensities, name) for name in FEATURES]
        for item in survey.items
        if item.intensities is not None
    ]
    found = np.array(rows, np.float64)
    return found if len(rows) == len(survey.items) and np.isfinite(found).all() else None


def _moved(column: NDArray[np.float64], train: Sequence[int], numbers: Sequence[int]) -> float:
    """Difference of the medians, in standard deviations within the two parts."""
    first, second = column[list(train)], column[list(numbers)]
    spread = np.sqrt(
        (first.var() * len(first) + second.var() * len(second)) / (len(first) + len(second))
    )
    moved = abs(float(np.median(first) - np.median(second)))
    if spread:
        return moved / float(spread)
    return float("inf") if moved else 0.0
