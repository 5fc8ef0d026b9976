"""Dice of many groups at once, and the bootstrap that draws whole groups with a fixed seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtrit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

REPLICATES = 2000
SEED = 0


def foreground_dice(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Dice of every group, as `segmentation.metrics.scores.scores` defines it.

    Parameters
    ----------
    confusions : int64, shape (groups, C, C)
        Rows truth, columns prediction.

    Returns
    -------
    float64, shape (C, groups)
        Row 0 is the macro-foreground Dice, row c the Dice of class c; NaN where undefined.
    """
    return _dice(_hits_and_sizes(confusions))


def pooled_dice_replicates(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Dice of 2000 bootstrap samples of groups: as many as there are, with replacement.

    Counts are summed over the drawn groups, weight times count, before any division. Groups are
    sorted first, so that the seed draws the same ones in whatever order they came.

    Parameters
    ----------
    confusions : int64, shape (groups, C, C)
        At least one group.

    Returns
    -------
    float64, shape (C, 2000)
        Rows as in `foreground_dice`; NaN where a sample has no voxel of the class.
    """
    keys = confusions.reshape(len(confusions), -1).T
    counts = _hits_and_sizes(confusions[np.lexsort(keys)])
    return _dice(np.stack([counts @ weights for weights in _weights(len(confusions))], axis=-1))


def mean_replicates(values: Sequence[float]) -> NDArray[np.float64]:
    """Mean of 2000 bootstrap samples of the values, which are sorted first: float64 (2000,)."""
    ordered = np.sort(np.asarray(values, np.float64))
    return np.array(
        [math.fsum(ordered * weights) / len(ordered) for weights in _weights(len(ordered))]
    )


def percentile_interval(
    replicates: NDArray[np.float64], level: float, groups: int
) -> tuple[float, float]:
    """Lowest and highest of the replicates, without a share of them at either end.

    (1 - level) / 2 of them would make the interval too narrow: replicates of n groups vary less
    than samples of the population, by √((n - 1) / n), and have no tails of Student's t. So the
    share left out is Φ(-√(n / (n - 1)) t), with t the quantile (1 + level) / 2 for n - 1 degrees
    of freedom: the expanded percentile interval (Hesterberg, arXiv:1411.5279).

    Parameters
    ----------
    replicates : float64, shape (replicates,)
        Of a score.
    level : float
        Nominal coverage.
    groups : int
        Groups that were drawn from; at least 2.
    """
    tail = float(ndtr(-math.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, (1 + level) / 2)))
    low, high = np.quantile(replicates, [tail, 1 - tail]).tolist()
    return low, high


def _weights(groups: int) -> Iterator[NDArray[np.int64]]:
    """Yield how often each group is drawn, for every replicate: multinomial weights."""
    generator = np.random.default_rng(SEED)
    for _ in range(REPLICATES):
        yield np.bincount(generator.integers(0, groups, groups), minlength=groups)


def _hits_and_sizes(confusions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, per foreground class and group, TP and 2 TP + FP + FN: shape (2, C - 1, groups)."""
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    sizes = confusions.sum(axis=1) + confusions.sum(axis=2)
    return np.stack([hits.T[1:], sizes.T[1:]])


def _dice(hits_and_sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide, and put the mean over the classes that have voxels on top."""
    hits, sizes = hits_and_sizes
    table = np.full((len(hits) + 1, hits.shape[1]), np.nan)
    np.divide(2 * hits, sizes, out=table[1:], where=sizes > 0)
    present = (sizes > 0).sum(axis=0)
    total = table[1:].sum(axis=0, where=sizes > 0)
    np.divide(total, present, out=table[0], where=present > 0)
    return table
