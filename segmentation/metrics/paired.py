"""Paired differences of one score: interval, test, and what could have been found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import bdtr, stdtrit

from segmentation.metrics.intervals import (
    FEWEST_FOR_BOOTSTRAP,
    FEWEST_FOR_INTERVAL,
    check_level,
    counted,
    mean_and_error,
    t_interval,
)
from segmentation.metrics.resampling import SEED, mean_replicates, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_FOR_EXACT = 15
FLIPS = 100_000
# Sums of differences closer than this, relative to the sum of sizes, differ by rounding alone.
ROUNDING = 1e-12
# Signs held at a time: 2 MiB as float64.
BLOCK = 2**18
# Two scores closer than this differ by rounding alone: a tie.
TIE = 1e-12
EXACT = "sign-flip permutation, exact"
RANDOM = f"sign-flip permutation, {FLIPS:,} random flips"
NO_SPREAD = "all differences are equal: interval and detectable difference promise too much"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values of one family for their number (Holm 1979), in their order.

    The smallest is multiplied by n, the next by n - 1, and so on; none falls below a smaller
    one's result, and none exceeds 1.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of a mean difference of 0, by flipping signs.

    Without a difference between the two, each paired difference is as likely with the other
    sign; p is the share of sign patterns whose sum is at least as far from 0 as the observed one.
    All patterns are counted for up to 15 differences, so that p is never below 2 / 2ⁿ. For more,
    100,000 random patterns with a fixed seed and the observed one are (Phipson and Smyth 2010).
    The order of the differences and an exchange of the two sides change no digit.

    Raises
    ------
    ValueError
        If there is no difference.
    """
    if not len(differences):
        raise ValueError("received no differences; a test needs at least one pair")
    sizes = np.sort(np.abs(np.asarray(differences, np.float64)))
    total = math.fsum(sizes)
    observed = abs(math.fsum(differences)) - ROUNDING * total
    if len(sizes) <= MOST_FOR_EXACT:
        return float(np.mean(np.abs(_all_sums(sizes)) >= observed))
    return (1 + _random_hits(sizes, total, observed)) / (1 + FLIPS)


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """Two-sided exact p of McNemar's test: as many right by the first only as by the second only.

    Twice the smaller tail of the binomial distribution with probability one half, at most 1; 1
    where the two never differ.

    Raises
    ------
    ValueError
        If a count is negative.
    """
    if min(first_only, second_only) < 0:
        raise ValueError(f"received counts {first_only} and {second_only}; counts start at 0")
    tail = bdtr(min(first_only, second_only), first_only + second_only, 0.5)
    return min(1.0, 2 * float(tail))


def minimum_detectable_difference(
    differences: Sequence[float], level: float = 0.95, power: float = 0.8
) -> float:
    """Smallest true mean difference that so many pairs of this spread would mostly have shown.

    (t₁ + t₂) s / √n, with s the standard deviation of the n differences and t₁, t₂ the quantiles
    (1 + level) / 2 and power of Student's t with n - 1 degrees of freedom (Bloom 1995).

    Raises
    ------
    ValueError
        If there are fewer than two differences, or level or power is not in (0, 1).
    """
    check_level(level)
    if not 0 < power < 1:
        raise ValueError(f"the power is {power}; expected a share between 0 and 1, such as 0.8")
    _, error = mean_and_error(differences)
    freedom = len(differences) - 1
    return float(stdtrit(freedom, (1 + level) / 2) + stdtrit(freedom, power)) * error


def paired_row(
    first: NDArray[np.float64], second: NDArray[np.float64], *, unit: str, level: float
) -> dict[str, Any]:
    """Compare one score over the groups in which both have it: a row without its label.

    Parameters
    ----------
    first, second : float64, shape (groups,)
        NaN where undefined.
    unit : str
        What a group is, for the note.
    level : float
        Nominal coverage.
    """
    paired = ~(np.isnan(first) | np.isnan(second))
    differences: list[float] = (first - second)[paired].tolist()
    return {
        "first": _mean(first[paired].tolist()),
        "second": _mean(second[paired].tolist()),
        "difference": _mean(differences),
        **_interval(differences, level),
        "wins": sum(difference > TIE for difference in differences),
        "ties": sum(abs(difference) <= TIE for difference in differences),
        "losses": sum(difference < -TIE for difference in differences),
        **_test(differences, level),
        "note": _row_note(differences, len(first), unit),
    }


def _interval(differences: list[float], level: float) -> dict[str, float | None]:
    """Return low and high of the mean difference, None below three pairs."""
    if len(differences) < FEWEST_FOR_INTERVAL:
        return {"low": None, "high": None}
    if len(differences) < FEWEST_FOR_BOOTSTRAP:
        _, low, high = t_interval(differences, level)
        return {"low": max(low, -1.0), "high": min(high, 1.0)}
    low, high = percentile_interval(mean_replicates(differences), level, len(differences))
    return {"low": low, "high": high}


def _test(differences: list[float], level: float) -> dict[str, Any]:
    """Return p, how it was found, and what difference would have been found."""
    if len(differences) < FEWEST_FOR_INTERVAL:
        return {"p": None, "p_holm": None, "test": None, "minimum_detectable_difference": None}
    return {
        "p": sign_flip_p(differences),
        "p_holm": None,
        "test": EXACT if len(differences) <= MOST_FOR_EXACT else RANDOM,
        "minimum_detectable_difference": minimum_detectable_difference(differences, level),
    }


def _row_note(differences: list[float], groups: int, unit: str) -> str | None:
    """Say what sets a row apart from the others."""
    notes = []
    if left_out := groups - len(differences):
        notes.append(f"{counted(left_out, unit)} left out: undefined for one of the two or both")
    if len(differences) < FEWEST_FOR_INTERVAL <= groups:
        notes.append(f"no interval and no test: only {counted(len(differences), unit)} left")
    if FEWEST_FOR_INTERVAL <= len(differences) < FEWEST_FOR_BOOTSTRAP <= groups:
        notes.append(f"t interval of the {counted(len(differences), unit)} left")
    if len(differences) >= FEWEST_FOR_INTERVAL and max(differences) - min(differences) <= TIE:
        notes.append(NO_SPREAD)
    return "; ".join(notes) or None


def _all_sums(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums under every pattern of signs."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return sums


def _random_hits(sizes: NDArray[np.float64], total: float, observed: float) -> int:
    """Count the random patterns whose sum is at least as far from 0 as the observed one."""
    generator = np.random.default_rng(SEED)
    width = -(-len(sizes) // 8)
    rows = max(1, BLOCK // len(sizes))
    hits = 0
    for done in range(0, FLIPS, rows):
        packed = generator.bytes(min(rows, FLIPS - done) * width)
        bits = np.frombuffer(packed, np.uint8).reshape(-1, width)
        positive = np.unpackbits(bits, axis=1, count=len(sizes)).astype(np.float64) @ sizes
        hits += int((np.abs(2 * positive - total) >= observed).sum())
    return hits


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
