"""How unlike a part is to the training part, compared with random divisions of the same groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Measure = Callable[[NDArray[np.int64], NDArray[np.int64]], float]
# Differences of rounding do not count.
CLOSE = 1e-12


def divergence(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Jensen–Shannon divergence of two distributions, in bits: 0 to 1 (Lin 1991).

    Parameters
    ----------
    first, second : float64, shape (classes,)
        Counts or shares; 0 if one of them is empty.
    """
    if not first.sum() or not second.sum():
        return 0.0
    p, q = first / first.sum(), second / second.sum()
    return (_relative(p, (p + q) / 2) + _relative(q, (p + q) / 2)) / 2


def _relative(p: NDArray[np.float64], m: NDArray[np.float64]) -> float:
    """Kullback–Leibler divergence in bits, where m is positive wherever p is."""
    inside = p > 0
    return float((p[inside] * np.log2(p[inside] / m[inside])).sum())


def distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Kolmogorov–Smirnov distance of two samples: the largest gap of their step functions."""
    values = np.concatenate([first, second])
    steps = [
        np.searchsorted(np.sort(one), values, side="right") / len(one) for one in (first, second)
    ]
    return float(np.abs(steps[0] - steps[1]).max())


def resplit_probability(
    groups: Sequence[str],
    train: Sequence[int],
    part: Sequence[int],
    measure: Measure,
    *,
    splits: int,
) -> float | None:
    """Share of random divisions in which the two parts differ as much, or more.

    The groups of both parts together are divided anew, with as many in the part as it has now.
    The division that is there counts as one of them, so that the result is never 0.

    Parameters
    ----------
    groups : sequence of str
        Of all items.
    train, part : sequence of int
        Numbers of the items.
    measure : callable
        Of the numbers of the items in the one and in the other.
    splits : int
        Random divisions.

    Returns
    -------
    float or None
        None if a group is in both parts, so that they are not independent.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for number in (*train, *part):
        members[groups[number]].append(number)
    held = {groups[number] for number in part}
    if held & {groups[number] for number in train}:
        return None
    names, random = sorted(members), np.random.default_rng(0)
    observed = measure(np.array(train, np.int64), np.array(part, np.int64)) - CLOSE
    as_much = 1
    for _ in range(splits):
        drawn = [names[place] for place in random.permutation(len(names))]
        inside, outside = drawn[: len(held)], drawn[len(held) :]
        as_much += measure(_numbers(members, outside), _numbers(members, inside)) >= observed
    return as_much / (splits + 1)


def _numbers(members: dict[str, list[int]], names: Sequence[str]) -> NDArray[np.int64]:
    return np.array(sorted(n for name in names for n in members[name]), np.int64)
