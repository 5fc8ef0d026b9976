"""What became of the objects that were not found as they are.

The kinds are those of deepcell-toolbox (missed, gained, split, merge), defined by shares of areas::

     missed      invented      split          merge
    ( t )          ( m )      ( t t t )     ( t )( t )
                              [m]   [m]     [  m m  ]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segmentation.metrics.matching import Objects, Overlaps

    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

TENTHS = 10  # the share is one tenth, in whole voxels


def object_errors(overlap: Overlaps) -> dict[str, Any]:
    """Return the classes of the objects with an error, by the name of the error.

    * missed: truth objects of which at most 10 % lie in mask objects of their class
    * invented: mask objects of which at most 10 % lie in truth objects of their class
    * splits: truth objects that several mask objects share. Parts are the mask objects with more
      than 10 % of their own area in the truth object: less is the spill of a neighbour. It is split
      where its greatest part holds less than 90 % of what all parts hold: the rest is not crumbs
    * merges: the same with truth and mask exchanged

    Parameters
    ----------
    overlap : Overlaps
        Objects and the voxels they share.

    Returns
    -------
    dict
        int64 arrays "splits", "merges", "missed", "invented": one class per object counted.
    """
    truth, mask = overlap.pairs.T
    voxels = overlap.voxels
    flags = {
        "splits": (overlap.truth, _shared(truth, voxels, mask, overlap.mask.areas)),
        "merges": (overlap.mask, _shared(mask, voxels, truth, overlap.truth.areas)),
        "missed": (overlap.truth, _uncovered(overlap.truth, truth, voxels)),
        "invented": (overlap.mask, _uncovered(overlap.mask, mask, voxels)),
    }
    return {name: objects.classes[positions] for name, (objects, positions) in flags.items()}


def _shared(whole: Integers, voxels: Integers, part: Integers, part_areas: Integers) -> Integers:
    """Return the positions of the objects that several parts share."""
    real = TENTHS * voxels > part_areas[part]
    positions, index = np.unique(whole[real], return_inverse=True)
    held = np.zeros(positions.size, np.int64)
    greatest = np.zeros(positions.size, np.int64)
    np.add.at(held, index, voxels[real])
    np.maximum.at(greatest, index, voxels[real])
    return positions[TENTHS * greatest < (TENTHS - 1) * held]


def _uncovered(objects: Objects, positions: Integers, voxels: Integers) -> Flags:
    """Return for every object whether at most a tenth of it lies in objects of the other label."""
    covered = np.zeros_like(objects.areas)
    np.add.at(covered, positions, voxels)
    return np.asarray(TENTHS * covered <= objects.areas)
