"""Scores of two partitions of the same voxels: variation of information and Rand error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.ratios import ratio, values_and_reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.metrics.contingency import Contingency

    Counts = NDArray[np.int64]

NO_TRUTH = "the truth has no object"
NO_TRUTH_PAIR = "no two voxels of the truth lie in one object"
NO_MASK_PAIR = "no two voxels lie in one segment of the mask"
NO_PAIR = "no two voxels lie in one object of the truth or one segment of the mask"


def partition_scores(tables: Sequence[Contingency]) -> dict[str, Any]:
    """Score how the voxels of the truth objects are grouped, by what shares a segment with what.

    Voxels of truth id 0 are left out; mask id 0 is a segment like any other, one in each image.
    With n voxels, t in a truth object, m in a mask segment, c in both, N in all:

    * voi_split = H(mask | truth) = Σ c/N log2(t/c) bits: 0 if no truth object is in pieces
    * voi_merge = H(truth | mask) = Σ c/N log2(m/c) bits: 0 if no segment holds two truth objects
    * voi = their sum (Meilă, Journal of Multivariate Analysis 98, 2007)
    * rand_precision = Σ c(c-1) / Σ m(m-1): of the pairs of voxels in one segment, those that are in
      one truth object; merges lower it
    * rand_recall = Σ c(c-1) / Σ t(t-1): of the pairs in one truth object, those that are in one
      segment; splits lower it
    * adapted_rand_error = 1 - their harmonic mean (Arganda-Carreras et al., Frontiers in
      Neuroanatomy 9:142, 2015)

    ```
        truth 1 1 2 2      voi_split = 0.5   voi_merge = 0.69
        mask  7 8 8 8      rand_precision = 2/6   rand_recall = 2/4   adapted_rand_error = 0.6
    ```

    Parameters
    ----------
    tables : sequence of Contingency
        One per image; the same id in two images is two objects.

    Returns
    -------
    dict
        Floats, None where undefined, and the reasons under "undefined".
    """
    rows = np.concatenate([np.zeros((3, 0), np.int64), *map(_counts_and_areas, tables)], axis=1)
    counts, truth_areas, mask_areas = rows
    voxels = int(counts.sum())
    together = _voxel_pairs(counts, counts)
    in_truth = _voxel_pairs(counts, truth_areas)
    in_mask = _voxel_pairs(counts, mask_areas)
    match = ratio(2 * together, in_truth + in_mask)
    split, merge = _bits(counts, truth_areas), _bits(counts, mask_areas)
    return values_and_reasons(
        voi_split=(ratio(split, voxels), NO_TRUTH),
        voi_merge=(ratio(merge, voxels), NO_TRUTH),
        voi=(ratio(split + merge, voxels), NO_TRUTH),
        adapted_rand_error=(None if match is None else 1 - match, NO_PAIR),
        rand_precision=(ratio(together, in_mask), NO_MASK_PAIR),
        rand_recall=(ratio(together, in_truth), NO_TRUTH_PAIR),
    )


def _counts_and_areas(table: Contingency) -> Counts:
    """Return voxels, area of the truth object and area of the mask segment of each pair, as rows.

    Areas are those within the truth objects.
    """
    inside = table.truth != 0
    counts = table.counts[inside]
    return np.stack([counts, *(_areas(ids[inside], counts) for ids in (table.truth, table.mask))])


def _areas(ids: NDArray[np.uint64], counts: Counts) -> Counts:
    """Return for each pair the area of its object."""
    values, index = np.unique(ids, return_inverse=True)
    areas = np.zeros(values.size, np.int64)
    np.add.at(areas, index, counts)
    return np.asarray(areas[index])


def _voxel_pairs(counts: Counts, areas: Counts) -> int:
    """Return Σ a(a-1) over the objects, as Σ c(a-1): the counts of an object add up to its area.

    Python ints: the square of a segment of 4e9 voxels overflows 64 bits.
    """
    both = zip(counts.tolist(), areas.tolist(), strict=True)
    return sum(count * (area - 1) for count, area in both)


def _bits(counts: Counts, areas: Counts) -> float:
    """Return Σ c log2(a/c), rounded once: the order of the objects does not change a digit."""
    return math.fsum((counts * np.log2(areas / counts)).tolist())
