"""Whether a sequence is sorted or drifts: a test that needs no assumption on the values."""

from __future__ import annotations

from itertools import pairwise
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def runs_probability(values: Sequence[bool]) -> float:
    """Probability of so few runs, or fewer, if the order were random.

    A run is a stretch of equal values. With n₁ and n₂ of the two kinds, all orders are equally
    likely; those with r runs are counted (Wald and Wolfowitz, Annals of Mathematical Statistics
    11, 1940). The result is exact.

    Parameters
    ----------
    values : sequence of bool
        In order.

    Returns
    -------
    float
        1 where all values are equal.
    """
    ones = sum(map(bool, values))
    others = len(values) - ones
    if not ones or not others:
        return 1.0
    runs = 1 + sum(a != b for a, b in pairwise(map(bool, values)))
    ways = sum(_ways(ones, others, number) for number in range(2, runs + 1))
    return ways / comb(ones + others, ones)


def _ways(ones: int, others: int, runs: int) -> int:
    """Orders with so many runs: the cuts of both kinds, for either kind in front."""
    half, odd = divmod(runs, 2)
    if not odd:
        return 2 * comb(ones - 1, half - 1) * comb(others - 1, half - 1)
    return comb(ones - 1, half) * comb(others - 1, half - 1) + comb(ones - 1, half - 1) * comb(
        others - 1, half
    )


def sorted_probability(kinds: Sequence[int]) -> float:
    """The same for several kinds: each against the others, the least, times the kinds (Bonferroni).

    With two kinds both say the same, and nothing is multiplied.
    """
    found = sorted(set(kinds))
    if len(found) < 2:
        return 1.0
    asked = found[:1] if len(found) == 2 else found
    return min(1.0, len(asked) * min(runs_probability([k == one for k in kinds]) for one in asked))


def drift_probability(values: Sequence[float]) -> float:
    """The same for numbers: those above the median against the others."""
    numbers = np.asarray(values, np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        return 1.0
    return runs_probability((numbers > np.median(numbers)).tolist())
