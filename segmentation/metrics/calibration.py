"""What the probabilities of one class are worth: ranking, overlap, calibration, from integers.

Everything is a function of `LevelCounts`: how many voxels inside and outside the class have each
probability level. Sums are Python ints and every score is one division at the end, but for the
average precision, whose correctly rounded terms are summed by `math.fsum`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import mul
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True, slots=True)
class LevelCounts:
    """Voxels of one class and of the rest at every occupied probability level.

    Attributes
    ----------
    top : int
        The level of probability 1.
    levels : tuple of int
        Occupied levels, ascending.
    negatives, positives : tuple of int
        Voxels outside and inside the class at each of `levels`.
    """

    top: int
    levels: tuple[int, ...]
    negatives: tuple[int, ...]
    positives: tuple[int, ...]

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Self:
        """Take one class out of a histogram: int64 (2, L), outside first."""
        occupied = np.flatnonzero(counts.any(axis=0))
        negatives, positives = counts[:, occupied].tolist()
        return cls(counts.shape[1] - 1, tuple(occupied.tolist()), (*negatives,), (*positives,))

    @property
    def voxels(self) -> tuple[int, ...]:
        """Voxels at each of `levels`."""
        return tuple(map(sum, zip(self.negatives, self.positives, strict=True)))


def auroc(counts: LevelCounts) -> float | None:
    """Chance that a voxel of the class has a higher probability than one of the rest.

    Ties count one half; this is the area under the ROC curve (Hanley and McNeil 1982). None
    where there are no voxels inside or none outside.
    """
    below = twice = 0
    for negatives, positives in zip(counts.negatives, counts.positives, strict=True):
        twice += positives * (2 * below + negatives)
        below += negatives
    return _ratio(twice, 2 * sum(counts.positives) * below)


def average_precision(counts: LevelCounts) -> float | None:
    """Precision at each level, weighted by the recall gained there: no interpolation.

    None where the truth has no voxel of the class.
    """
    positives, voxels = counts.positives[::-1], counts.voxels[::-1]
    rows = zip(positives, accumulate(positives), accumulate(voxels), strict=True)
    precision = math.fsum(gained * hits / found for gained, hits, found in rows)
    return precision / sum(positives) if any(positives) else None


def brier(counts: LevelCounts) -> float | None:
    """Mean squared distance of the probability from the truth, 0 or 1 (Brier 1950)."""
    rows = zip(counts.levels, counts.negatives, counts.positives, strict=True)
    squares = sum(no * level**2 + yes * (counts.top - level) ** 2 for level, no, yes in rows)
    return _ratio(squares, counts.top**2 * sum(counts.voxels))


def soft_dice(counts: LevelCounts) -> float | None:
    """2 Σpt / (Σp + Σt) for probabilities p and truth t, 0 or 1: Dice without a threshold."""
    shared = sum(map(mul, counts.levels, counts.positives))
    predicted = sum(map(mul, counts.levels, counts.voxels))
    return _ratio(2 * shared, predicted + counts.top * sum(counts.positives))


def dice_at_half(counts: LevelCounts) -> float | None:
    """Dice of the voxels whose probability is one half or more."""
    taken = [2 * level >= counts.top for level in counts.levels]
    hits = sum(map(mul, taken, counts.positives))
    found = sum(map(mul, taken, counts.voxels))
    return _ratio(2 * hits, found + sum(counts.positives))


def best_threshold(counts: LevelCounts) -> tuple[float, float] | None:
    """Return the threshold of the highest Dice, and that Dice; None where the class is absent.

    A voxel is taken where ``probability >= threshold``. All levels are candidates, the
    comparison is exact, and of equally good thresholds the lowest is given.
    """
    support = sum(counts.positives)
    if not support:
        return None
    # The lowest threshold that takes levels[i:] is the level after levels[i - 1].
    lowest = (0, *(level + 1 for level in counts.levels[:-1]))
    hits = found = 0
    best = (0, 1, counts.top)
    for level, yes, voxels in zip(
        reversed(lowest), reversed(counts.positives), reversed(counts.voxels), strict=True
    ):
        hits, found = hits + yes, found + voxels
        if 2 * hits * best[1] >= best[0] * (found + support):
            best = (2 * hits, found + support, level)
    return best[2] / counts.top, best[0] / best[1]


def reliability(counts: LevelCounts) -> list[dict[str, Any]]:
    """Compare the mean probability with the share truly of the class, in bins of equal mass.

    Let n be the voxels at a level and w = min(n, W / 10) its weight, where W is the sum of all
    weights: a level alone never weighs more than one bin, so that the many voxels at probability
    0 or 1 leave nine bins to the rest. A level lies in bin ⌊10 (weight below it + w / 2) / W⌋,
    which is always one of ten bins, none of them empty. Levels are never split. Ten levels or
    fewer are one bin each.

    Returns
    -------
    list of dict
        Per bin: lowest and highest probability in it, mean probability, observed share, count.
    """
    return [
        {
            "low": low / counts.top,
            "high": high / counts.top,
            "mean_probability": levels / (counts.top * voxels),
            "observed": positives / voxels,
            "count": voxels,
        }
        for low, high, levels, positives, voxels in _bins(counts)
    ]


def calibration_errors(counts: LevelCounts) -> tuple[float | None, float | None]:
    """Return the expected and the maximum calibration error over the bins of `reliability`.

    The distance of mean probability from observed share, as a mean over the voxels and as the
    largest of all bins (Naeini et al. 2015). None, None where no voxel was counted.
    """
    gaps = [
        (abs(levels - counts.top * positives), counts.top * voxels)
        for _, _, levels, positives, voxels in _bins(counts)
    ]
    expected = _ratio(sum(gap for gap, _ in gaps), sum(whole for _, whole in gaps))
    return expected, max((gap / whole for gap, whole in gaps), default=None)


def _bins(counts: LevelCounts) -> list[tuple[int, int, int, int, int]]:
    """Return lowest level, highest level, sum of levels, positives and voxels of every bin."""
    places = iter(_places(counts.voxels))
    rows = zip(counts.levels, counts.positives, counts.voxels, strict=True)
    bins = [list(group) for _, group in groupby(rows, key=lambda _: next(places))]
    return [
        (
            rows[0][0],
            rows[-1][0],
            sum(level * voxels for level, _, voxels in rows),
            sum(positives for _, positives, _ in rows),
            sum(voxels for _, _, voxels in rows),
        )
        for rows in bins
    ]


def _places(voxels: Sequence[int]) -> list[int]:
    """Return the bin of every level; weights are in units of one voxel over (10 - capped)."""
    if len(voxels) <= BINS:
        return list(range(len(voxels)))
    fullest = sorted(voxels, reverse=True)
    capped = next(k for k in range(BINS) if fullest[k] * (BINS - k) <= sum(fullest[k:]))
    share = sum(fullest[capped:])
    weights = [min(count * (BINS - capped), share) for count in voxels]
    ends = accumulate(weights)
    return [(2 * end - weight) // (2 * share) for end, weight in zip(ends, weights, strict=True)]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
