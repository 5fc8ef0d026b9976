"""Intervals of scores over samples: independent ones, or groups of samples that belong together.

Samples that are groups of their own count as independent trials. Where groups hold several
samples, whole groups are drawn (cluster bootstrap); of fewer than 20 groups no interval is given.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from segmentation.metrics.intervals import FEWEST_FOR_BOOTSTRAP, check_level
from segmentation.metrics.resampling import REPLICATES, SEED, percentile_interval
from segmentation.metrics.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

EDGE = 1e-12
NOT_INDEPENDENT = "samples of one group resemble each other"


def proportion(hits: int, trials: int, level: float, note: str) -> dict[str, Any]:
    """Share of independent samples, with Wilson's interval; `note` says why there is none."""
    if not trials:
        return undefined(note)
    low, high = wilson(hits, trials, level)
    return {"value": hits / trials, "low": low, "high": high, "method": "Wilson", "note": None}


def mean_proportion(pairs: Sequence[tuple[int, int]], level: float, note: str) -> dict[str, Any]:
    """Mean of the shares of several kinds of independent samples, such as balanced accuracy.

    The distances of each share from the ends of its Wilson interval are added as squares
    (Zou and Donner 2008, "MOVER").

    Parameters
    ----------
    pairs : sequence of (int, int)
        Hits and trials of every kind.
    level : float
        Nominal coverage.
    note : str
        Why there is no value, for where a kind has no trials.
    """
    if not all(trials for _, trials in pairs):
        return undefined(note)
    parts = [proportion(hits, trials, level, note) for hits, trials in pairs]
    value = math.fsum(part["value"] for part in parts) / len(parts)
    below, above = (
        math.sqrt(math.fsum((part["value"] - part[end]) ** 2 for part in parts)) / len(parts)
        for end in ("low", "high")
    )
    low, high = max(0.0, value - below), min(1.0, value + above)
    return {"value": value, "low": low, "high": high, "method": "Wilson, MOVER", "note": None}


def area_interval(area: float, positives: int, negatives: int, level: float) -> tuple[float, float]:
    """Low and high of an area under the ROC curve of independent samples.

    The score-type interval of Newcombe (2006, Statistics in Medicine 25:559, method 5): the areas
    θ whose distance from the one found is within z standard errors, with Hanley and McNeil's
    variance at θ, and (m + n) / 2 - 1 in place of m - 1 and n - 1. It keeps its width at 1.

    Raises
    ------
    ValueError
        If there are no positives or no negatives, or the level is not in (0, 1).
    """
    check_level(level)
    if min(positives, negatives) < 1:
        raise ValueError(
            f"received {positives} positive and {negatives} negative samples; expected one of each"
        )
    z = float(ndtri((1 + level) / 2))
    extra = (positives + negatives) / 2 - 1

    def beyond(theta: float) -> float:
        pairs = (1 - theta) / (2 - theta) + theta / (1 + theta)
        variance = theta * (1 - theta) * (1 + extra * pairs) / (positives * negatives)
        return abs(area - theta) - z * math.sqrt(variance)

    # At exactly 0 and 1 the variance vanishes, and every distance with it.
    inner = min(max(area, EDGE), 1 - EDGE)
    low = 0.0 if area <= EDGE else float(brentq(beyond, 0.0, inner))
    high = 1.0 if area >= 1 - EDGE else float(brentq(beyond, inner, 1.0))
    return low, high


def cluster_interval(
    score: Callable[[NDArray[np.int64]], float | None],
    groups: Sequence[str],
    level: float,
    note: str,
) -> dict[str, Any]:
    """Score of all samples, with the percentile interval of 2000 draws of whole groups.

    Parameters
    ----------
    score : callable
        Gets how often every sample counts, int64 (samples,); None where it is undefined.
    groups : sequence of str
        Group of every sample; the order of the samples changes no digit.
    level : float
        Nominal coverage.
    note : str
        Why there is no value, for where there is none.

    Returns
    -------
    dict
        "value", "low", "high", "method" and "note".
    """
    value = score(np.ones(len(groups), np.int64))
    names = sorted(set(groups))
    if value is None or len(names) < FEWEST_FOR_BOOTSTRAP:
        return undefined(note if value is None else _too_few(len(names))) | {"value": value}
    drawn = [score(weights) for weights in group_weights(groups)]
    defined = np.array([one for one in drawn if one is not None])
    low, high = percentile_interval(defined, level, len(names))
    lost = len(drawn) - len(defined)
    left = f"{lost} of {len(drawn)} draws lack a class and are left out" if lost else None
    return {"value": value, "low": low, "high": high, "method": "cluster bootstrap", "note": left}


def group_weights(groups: Sequence[str]) -> Iterator[NDArray[np.int64]]:
    """How often every sample counts in each of 2000 draws of whole groups, with a fixed seed."""
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    generator = np.random.default_rng(SEED)
    for _ in range(REPLICATES):
        drawn = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
        yield drawn[places]


def undefined(note: str | None) -> dict[str, Any]:
    """No value and no interval, and why."""
    return {"value": None, "low": None, "high": None, "method": None, "note": note}


def _too_few(groups: int) -> str:
    return (
        f"no interval: {NOT_INDEPENDENT}, and {groups} groups are fewer than the "
        f"{FEWEST_FOR_BOOTSTRAP} that a cluster bootstrap needs"
    )
