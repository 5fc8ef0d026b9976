"""Interval of one score over independent groups: t, t of the logits, or bootstrap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit, stdtrit

from segmentation.metrics.resampling import percentile_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FEWEST_FOR_INTERVAL = 3
FEWEST_FOR_BOOTSTRAP = 20

DEFINED_NOWHERE = "neither truth nor prediction has a voxel of it anywhere"
NO_LOGIT = "a score of exactly 0 or 1 has no logit: plain mean and t interval, cut to 0–1"
NO_SPREAD = "all scores are equal: an interval without width promises too much"


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error s / √n; the order of the values changes no digit.

    Raises
    ------
    ValueError
        If there are fewer than two values.
    """
    count = len(values)
    if count < 2:
        raise ValueError(f"a standard error needs at least 2 values; received {count}")
    mean = math.fsum(values) / count
    squares = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(squares / (count - 1) / count)


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent values, and low and high of its interval by Student's t.

    Raises
    ------
    ValueError
        If there are fewer than two values, or the level is not in (0, 1).
    """
    check_level(level)
    mean, error = mean_and_error(values)
    half = float(stdtrit(len(values) - 1, (1 + level) / 2)) * error
    return mean, mean - half, mean + half


def score_interval(
    scores: NDArray[np.float64],
    pooled: float,
    replicates: NDArray[np.float64],
    *,
    unit: str,
    level: float,
) -> dict[str, Any]:
    """Estimate one score by as much method as the groups in which it is defined allow.

    Parameters
    ----------
    scores : float64, shape (groups,)
        NaN where undefined.
    pooled : float
        The score of all groups together.
    replicates : float64, shape (replicates,)
        Bootstrap replicates of the pooled score; empty below 20 groups.
    unit : str
        What a group is, for the note.
    level : float
        Nominal coverage.

    Returns
    -------
    dict
        "estimate", "low", "high", "groups" with the score, "undefined" ones and "note".
    """
    defined: list[float] = scores[~np.isnan(scores)].tolist()
    if len(defined) >= FEWEST_FOR_BOOTSTRAP:
        row = _bootstrap(pooled, replicates, level, len(defined))
    elif len(defined) >= FEWEST_FOR_INTERVAL:
        row = _logit_t(defined, level)
    else:
        row = _plain_mean(defined)
    notes = [_change_of_method(len(defined), len(scores), unit), row.pop("note")]
    return {
        **row,
        "groups": len(defined),
        "undefined": len(scores) - len(defined),
        "note": "; ".join(filter(None, notes)) or None,
    }


def _change_of_method(defined: int, groups: int, unit: str) -> str | None:
    """Say why a row goes by another method than the one all groups would allow."""
    if defined < FEWEST_FOR_INTERVAL <= groups and defined:
        return f"no interval: defined in only {counted(defined, unit)}"
    if FEWEST_FOR_INTERVAL <= defined < FEWEST_FOR_BOOTSTRAP <= groups:
        return f"mean and t interval of the {counted(defined, unit)} in which it is defined"
    return None


def _plain_mean(scores: list[float]) -> dict[str, Any]:
    mean = math.fsum(scores) / len(scores) if scores else None
    return {
        "estimate": mean,
        "low": None,
        "high": None,
        "note": None if scores else DEFINED_NOWHERE,
    }


def _logit_t(scores: list[float], level: float) -> dict[str, Any]:
    """Go by the logits where every score has one, else by the scores themselves."""
    if min(scores) > 0 and max(scores) < 1:
        interval = expit(t_interval(logit(scores).tolist(), level)).tolist()
        note = None
    else:
        interval = [min(max(value, 0.0), 1.0) for value in t_interval(scores, level)]
        note = NO_LOGIT
    if min(scores) == max(scores):
        note = NO_SPREAD
    return dict(zip(("estimate", "low", "high"), interval, strict=True), note=note)


def _bootstrap(
    pooled: float, replicates: NDArray[np.float64], level: float, groups: int
) -> dict[str, Any]:
    """Take the percentiles of the replicates in which the score is defined."""
    defined = replicates[~np.isnan(replicates)]
    low, high = percentile_interval(defined, level, groups)
    lost = len(replicates) - len(defined)
    note = f"{lost} of {len(replicates)} replicates have no voxel of it and are left out"
    return {"estimate": pooled, "low": low, "high": high, "note": note if lost else None}


def counted(groups: int, unit: str) -> str:
    """Return '1 specimen' or '5 specimens'."""
    return f"{groups} {unit}" if groups == 1 else f"{groups} {unit}s"


def check_level(level: float) -> None:
    """Refuse a coverage that is no share."""
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}; expected a share between 0 and 1, such as 0.95")
