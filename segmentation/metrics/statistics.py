"""How far a score may be trusted: intervals over specimens or images, never over slices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betaincinv, ndtri

from segmentation.metrics.intervals import (
    FEWEST_FOR_BOOTSTRAP,
    FEWEST_FOR_INTERVAL,
    check_level,
    counted,
    score_interval,
)
from segmentation.metrics.resampling import (
    REPLICATES,
    SEED,
    foreground_dice,
    pooled_dice_replicates,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

UNITS = ("specimen", "image")


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927), which stays honest near 0 and 1.

    Parameters
    ----------
    successes, trials : int
        Independent trials, such as objects found out of all objects; at least one trial.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    tuple of float
        Low and high; 0 and 0.39 for no success in six trials.

    Raises
    ------
    ValueError
        If there is no trial, the successes are not among them, or the level is not in (0, 1).
    """
    check_level(level)
    _check_trials(successes, trials)
    square = float(ndtri((1 + level) / 2)) ** 2
    centre = (successes + square / 2) / (trials + square)
    spread = successes * (trials - successes) / trials + square / 4
    half = math.sqrt(square * spread) / (trials + square)
    low = centre - half if successes else 0.0
    return low, centre + half if successes < trials else 1.0


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper & Pearson 1934): never covers less than `level`.

    Parameters
    ----------
    successes, trials : int
        Trials drawn at random; at least one.
    level : float
        Coverage, in (0, 1).

    Returns
    -------
    tuple of float
        Low and high; 0 and 0.46 for no success in six trials.

    Raises
    ------
    ValueError
        If there is no trial, the successes are not among them, or the level is not in (0, 1).
    """
    check_level(level)
    _check_trials(successes, trials)
    tail, failures = (1 - level) / 2, trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    return low, float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0


def _check_trials(successes: int, trials: int) -> None:
    """Refuse successes that are not among the trials."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            f"received {successes} successes in {trials} trials; expected at least one trial, and "
            "from none to all of them successful"
        )


def group_intervals(
    confusions: NDArray[np.int64], class_names: Sequence[str], *, unit: str, level: float = 0.95
) -> dict[str, Any]:
    """Dice with its interval over independent groups, in the shape of result.json "intervals".

    ==============  =============================================================================
    groups          estimate and interval
    ==============  =============================================================================
    fewer than 3    mean of the groups' scores; no interval
    3 to 19         mean and t interval of the logits of the groups' scores, transformed back
    20 or more      score of all groups pooled, and the expanded percentile interval of 2000
                    bootstrap replicates, each the pooled score of groups drawn with replacement
    ==============  =============================================================================

    What counts for a score are the groups in which it is defined. The order of the groups changes
    no digit.

    Parameters
    ----------
    confusions : int64, shape (groups, C, C)
        One matrix per group, rows truth.
    class_names : sequence of str
        Names of the classes 0..C-1, the background first.
    unit : {"specimen", "image"}
        What a group is. Slices of one specimen resemble each other and are no groups.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    dict
        Plain JSON. The rows under "scores" are macro-foreground Dice and the Dice of every
        foreground class; "groups" of a row are those in which the score is defined, "undefined"
        the others.

    Raises
    ------
    ValueError
        If the matrices do not fit the names, there is none, the unit is no known one, or the
        level is not in (0, 1).
    """
    check_groups(confusions, class_names, unit)
    check_level(level)
    groups = len(confusions)
    bootstrap = groups >= FEWEST_FOR_BOOTSTRAP
    rows = zip(
        score_labels(class_names),
        foreground_dice(confusions),
        foreground_dice(confusions.sum(axis=0, keepdims=True))[:, 0].tolist(),
        pooled_dice_replicates(confusions) if bootstrap else np.empty((len(class_names), 0)),
        strict=True,
    )
    method, note = _method(groups, unit, level)
    return {
        "unit": unit,
        "groups": groups,
        "level": level,
        "method": method,
        "note": note,
        "scores": [
            {**label, **score_interval(scores, pooled, replicates, unit=unit, level=level)}
            for label, scores, pooled, replicates in rows
        ],
    }


def score_labels(class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the keys that say which score a row is: the macro first, then each class."""
    return [
        {"score": "macro_foreground_dice", "value": None, "name": "Macro-foreground Dice"},
        *(
            {"score": "dice", "value": value, "name": name}
            for value, name in enumerate(class_names)
            if value
        ),
    ]


def check_groups(confusions: NDArray[np.int64], class_names: Sequence[str], unit: str) -> None:
    """Refuse matrices that do not fit the names, and units that may not be resampled."""
    if unit not in UNITS:
        raise ValueError(
            f"the unit of resampling is {unit!r}; expected 'specimen' or 'image': slices of one "
            "specimen resemble each other and make intervals far too narrow"
        )
    expected = (len(class_names), len(class_names))
    integer = confusions.dtype.kind in "iu"
    if not integer or confusions.shape[1:] != expected or not len(confusions):
        raise ValueError(
            f"confusions have shape {confusions.shape} and dtype {confusions.dtype}; expected "
            f"integers of shape ({unit}s, {expected[0]}, {expected[1]}), one row and one column "
            f"per class name, and at least one {unit}"
        )


def _method(groups: int, unit: str, level: float) -> tuple[str | None, str]:
    """Return the method by which most rows go, and the sentence that describes it."""
    share = f"{100 * level:g} %"
    if groups < FEWEST_FOR_INTERVAL:
        return None, (
            f"An interval cannot be estimated from {counted(groups, unit)}; slices of one {unit} "
            "resemble each other and are no substitute."
        )
    if groups < FEWEST_FOR_BOOTSTRAP:
        return "t", (
            f"Mean and {share} t interval of the scores of {counted(groups, unit)}, on the logit "
            "scale and transformed back."
        )
    return "bootstrap", (
        f"Score of {counted(groups, unit)} pooled, and the {share} percentile interval of "
        f"{REPLICATES} bootstrap replicates that draw whole {unit}s (seed {SEED})."
    )
