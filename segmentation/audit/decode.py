"""Whole numbers behind printed accuracies: k of n, alone or carried on from call to call."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segmentation.audit.log import LoggedEvaluation

# Spacing of float32 just below 1: a printed accuracy cannot be nearer than that.
_FLOAT32 = 2.0**-24
MOST_CARRIED = 400


@dataclass(frozen=True, slots=True)
class Decoding:
    """A metric that was never reset, told apart into its calls.

    Attributes
    ----------
    carried_samples : int
        Samples that it held before the first call.
    carried_least, carried_most : int
        Of them right, as far as the numbers tell.
    first_least, first_most : int
        Right in the first call: what is carried and what is found there add up to a known sum.
    later : tuple of int
        Right in every further call.
    totals : tuple of (int, int)
        Right and all samples so far, as printed by every call.
    """

    carried_samples: int
    carried_least: int
    carried_most: int
    first_least: int
    first_most: int
    later: tuple[int, ...]
    totals: tuple[tuple[int, int], ...]


def whole(value: float, samples: int, digits: int) -> int | None:
    """Number right of so many samples that prints as this accuracy; None if there is none.

    Parameters
    ----------
    value : float
        Printed.
    samples : int
        It was computed of.
    digits : int
        Decimals printed.
    """
    nearest = round(value * samples)
    tolerance = 0.5 * 10.0**-digits + _FLOAT32
    return nearest if abs(nearest / samples - value) <= tolerance else None


def smallest_whole(values: Sequence[float], *, digits: int, most: int = 2000) -> int | None:
    """Fewest samples of which all these values are whole numbers; None if that is no evidence.

    Parameters
    ----------
    values : sequence of float
        Accuracies, printed with the same number of decimals.
    digits : int
        Decimals.
    most : int
        Samples up to which to look.

    Returns
    -------
    int or None
        None if no number fits, or one would fit by accident about as well.
    """
    distinct = set(values)
    for samples in range(1, most + 1):
        if all(whole(value, samples, digits) is not None for value in distinct):
            by_chance = samples * _chance(samples, digits) ** len(distinct)
            return samples if by_chance < 0.01 else None
    return None


def _chance(samples: int, digits: int) -> float:
    """Probability that an arbitrary value lies near enough to a whole number of samples."""
    return min(1.0, samples * (10.0**-digits + 2 * _FLOAT32))


def printed_digits(evaluations: Sequence[LoggedEvaluation]) -> int:
    """Decimals of all: Python leaves zeros at the end out, so the longest tells."""
    return max(one.digits for one in evaluations)


def decodes_alone(evaluations: Sequence[LoggedEvaluation]) -> bool:
    """Whether every accuracy is a whole number of its own samples, as far as these are known."""
    digits = printed_digits(evaluations)
    return all(
        one.samples is None or whole(one.accuracy, one.samples, digits) is not None
        for one in evaluations
    )


def decode_carried(
    evaluations: Sequence[LoggedEvaluation], most: int = MOST_CARRIED
) -> tuple[Decoding, ...]:
    """Every way to read accuracies as one metric that goes on from call to call.

    The metric prints (c + k₁ + … + kᵢ) / (m + n₁ + … + nᵢ), where c of m were carried in and kᵢ of
    nᵢ were right in call i.

    Parameters
    ----------
    evaluations : sequence of LoggedEvaluation
        In their order, all with known samples.
    most : int
        Largest m looked at.

    Returns
    -------
    tuple of Decoding
        One for every m that fits; empty if none does.
    """
    sizes = [one.samples for one in evaluations]
    known = [size for size in sizes if size is not None]
    if not known or len(known) < len(sizes):
        return ()
    found = (_decoding(evaluations, known, carried) for carried in range(most + 1))
    return tuple(one for one in found if one is not None)


def _decoding(
    evaluations: Sequence[LoggedEvaluation], sizes: Sequence[int], carried: int
) -> Decoding | None:
    totals: list[tuple[int, int]] = []
    samples, digits = carried, printed_digits(evaluations)
    for one, size in zip(evaluations, sizes, strict=True):
        samples += size
        right = whole(one.accuracy, samples, digits)
        if right is None:
            return None
        totals.append((right, samples))
    sums = [right for right, _ in totals]
    later = tuple(after - before for before, after in itertools.pairwise(sums))
    least, most = max(0, sums[0] - sizes[0]), min(carried, sums[0])
    fits = all(0 <= k <= n for k, n in zip(later, sizes[1:], strict=True))
    if not fits or least > most:
        return None
    return Decoding(carried, least, most, sums[0] - most, sums[0] - least, later, tuple(totals))


def expected_by_chance(evaluations: Sequence[LoggedEvaluation], most: int = MOST_CARRIED) -> float:
    """Number of m that would fit arbitrary accuracies, so that few of them are evidence."""
    expected, digits = 0.0, printed_digits(evaluations)
    for carried in range(most + 1):
        samples, probability = carried, 1.0
        for one in evaluations:
            samples += one.samples or 0
            probability *= _chance(samples, digits)
        expected += probability
    return expected
