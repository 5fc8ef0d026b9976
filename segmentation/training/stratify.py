"""Search for an even division: groups with voxels of several classes, parts with shares.

The search minimises one cost. What weighs most is a part without groups, then a class that is
absent from a part, then how far the shares of classes, voxels and groups are from those wanted.
A greedy start in the order of the rarest classes (after the stratification of multi-label data by
Sechidis et al., ECML 2011) is improved by seeded moves and swaps; few groups are tried in all ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ALL_WAYS = 4096
STARTS = 6
CANDIDATES = 256
ROUNDS = 400
PATIENCE = 6
DIGITS = 9
NO_GROUP = 1000.0
NO_VOXEL = 10.0
WEIGHT_OF_GROUPS = 0.5


@dataclass(frozen=True, slots=True)
class Division:
    """What is to be divided, and how far a division is from what is wanted.

    Attributes
    ----------
    features : float64, shape (groups, 2 C + 2)
        Of each group: its share of the voxels of every class, whether it has the class, its share
        of all voxels, and its share of the groups. All of them add up over a part.
    shares : float64, shape (parts,)
        Wanted; 1 in all.
    weights : float64, shape (parts,)
        How grave it is that a class is absent from a part.
    """

    features: NDArray[np.float64]
    shares: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of(
        cls, counts: NDArray[np.int64], shares: Sequence[float], weights: Sequence[float]
    ) -> Division:
        """The division of groups with these voxels, int64 (groups, classes)."""
        counts = counts[:, counts.sum(axis=0) > 0].astype(np.float64)
        sizes = counts.sum(axis=1, keepdims=True)
        groups = np.full((len(counts), 1), 1 / len(counts))
        columns = (
            counts / counts.sum(axis=0),
            (counts > 0).astype(np.float64),
            sizes / max(sizes.sum(), 1.0),
            groups,
        )
        return cls(np.hstack(columns), np.asarray(shares, float), np.asarray(weights, float))

    def totals(self, assigned: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sums over the parts, (…, parts, features); groups with part -1 are in none."""
        inside = assigned[..., None] == np.arange(len(self.shares))
        sums: NDArray[np.float64] = np.einsum(
            "...gp,gf->...pf", inside.astype(float), self.features
        )
        return sums

    def cost(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cost of some divisions, (…); rounded, so that equal ones are equal on any machine."""
        classes = (self.features.shape[1] - 2) // 2
        off = np.abs(totals - self.shares[:, None])
        uneven = off[..., :classes].sum(axis=-1) / max(classes, 1)
        uneven = uneven + off[..., -2] + WEIGHT_OF_GROUPS * off[..., -1]
        absent = (totals[..., classes : 2 * classes] < 0.5).sum(axis=-1)
        empty = totals[..., -1] < 0.5 / len(self.features)
        part = uneven + NO_VOXEL * self.weights * absent + NO_GROUP * empty
        rounded: NDArray[np.float64] = np.round(part.sum(axis=-1), DIGITS)
        return rounded


def assign_groups(
    counts: NDArray[np.int64],
    shares: Sequence[float],
    *,
    fixed: NDArray[np.int64],
    weights: Sequence[float],
    seed: int,
) -> NDArray[np.int64]:
    """The part of every group.

    Parameters
    ----------
    counts : int64, shape (groups, classes)
        Voxels.
    shares : sequence of float
        Wanted for each part; 1 in all.
    fixed : int64, shape (groups,)
        Part of the groups that stay where they are; -1 for the others.
    weights : sequence of float
        Per part, how grave it is that a class is absent.
    seed : int
        Same seed, same parts.

    Returns
    -------
    int64, shape (groups,)
        Part numbers.
    """
    division = Division.of(counts, shares, weights)
    rng = np.random.default_rng(seed)
    free = rng.permutation(np.flatnonzero(fixed < 0))
    if len(shares) ** len(free) <= ALL_WAYS:
        return _best_of_all(division, fixed, free)
    starts = [_greedy(division, fixed, free)]
    for _ in range(STARTS - 1):
        start = fixed.copy()
        start[free] = rng.integers(len(shares), size=len(free))
        starts.append(start)
    found = [_improved(division, start, free, rng) for start in starts]
    costs = division.cost(np.stack([division.totals(assigned) for assigned in found]))
    return found[int(np.argmin(costs))]


def _best_of_all(
    division: Division, fixed: NDArray[np.int64], free: NDArray[np.int64]
) -> NDArray[np.int64]:
    ways = np.array(list(product(range(len(division.shares)), repeat=len(free))), np.int64)
    assigned = np.repeat(fixed[None], len(ways), axis=0)
    assigned[:, free] = ways
    best: NDArray[np.int64] = assigned[int(np.argmin(division.cost(division.totals(assigned))))]
    return best


def _greedy(
    division: Division, fixed: NDArray[np.int64], free: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Groups of the rarest class first, each to the part where it costs least."""
    assigned = fixed.copy()
    totals = division.totals(fixed)
    classes = (division.features.shape[1] - 2) // 2
    has = division.features[:, classes : 2 * classes]
    rarity = np.where(has > 0, has.sum(axis=0), np.inf).min(axis=1, initial=np.inf)
    for group in free[np.lexsort((-division.features[free, -2], rarity[free]))]:
        options = np.repeat(totals[None], len(totals), axis=0)
        options[range(len(totals)), range(len(totals))] += division.features[group]
        part = int(np.argmin(division.cost(options)))
        assigned[group], totals = part, options[part]
    return assigned


def _improved(
    division: Division,
    assigned: NDArray[np.int64],
    free: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The best of some moves and swaps, again and again, until none has been better for long."""
    assigned = assigned.copy()
    cost, idle = float(division.cost(division.totals(assigned))), 0
    for _ in range(ROUNDS):
        first, second = free[rng.integers(len(free), size=(2, CANDIDATES))]
        swap = rng.random(CANDIDATES) < 0.5
        anywhere = rng.integers(len(division.shares), size=CANDIDATES)
        to_first = np.where(swap, assigned[second], anywhere)
        to_second = np.where(swap, assigned[first], assigned[second])
        totals = division.totals(assigned) + _moved(division, assigned, first, to_first)
        costs = division.cost(totals + _moved(division, assigned, second, to_second))
        best = int(np.argmin(costs))
        if costs[best] < cost:
            assigned[second[best]], assigned[first[best]] = to_second[best], to_first[best]
            cost, idle = float(costs[best]), 0
        elif (idle := idle + 1) == PATIENCE:
            break
    return assigned


def _moved(
    division: Division,
    assigned: NDArray[np.int64],
    groups: NDArray[np.int64],
    parts: NDArray[np.int64],
) -> NDArray[np.float64]:
    """What moving each of some groups to a part adds to the sums: (candidates, parts, features)."""
    numbers = np.arange(len(division.shares))
    sign = (parts[:, None] == numbers).astype(float) - (assigned[groups][:, None] == numbers)
    moved: NDArray[np.float64] = sign[:, :, None] * division.features[groups][:, None, :]
    return moved
