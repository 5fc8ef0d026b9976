"""A coarser resolution level laid over the finest one: which of its voxels see a box.

::

    finest   | . . | . . | . . | . |        factor 2; the last window is clipped
    coarser  |  0  |  1  |  2  | 3 |        voxels 1 to 5 of the finest are seen by 0, 1 and 2

Levels made elsewhere may have factors that are no whole numbers, or end before the finest one
does: a box is then looked at a voxel further out, or is not seen at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class CoarseLevel:
    """A level along the axes of the mask.

    Attributes
    ----------
    shape : tuple of int
        Its voxels per axis.
    factors : tuple of float
        Voxels of the finest level that one of its voxels stands for, along each axis.
    """

    shape: tuple[int, ...]
    factors: tuple[float, ...]

    def span(self, axis: int, start: int, stop: int) -> tuple[int, int] | None:
        """Voxels of the level that see [start, stop) of the finest one along an axis.

        Returns
        -------
        tuple of int or None
            First voxel, and first one beyond; None if the level ends before `stop`.
        """
        factor, size = self.factors[axis], self.shape[axis]
        if stop >= size * factor + 0.5:
            return None
        # Where windows are not whole, or were smoothed, the neighbours may hold what is in the box.
        more = 0 if float(factor).is_integer() else 1
        first, last = math.floor(start / factor) - more, math.ceil(stop / factor) + more
        return max(0, first), min(size, last)


def coarse_level(
    finest: Sequence[int], shape: Sequence[int], ratios: Sequence[float], axes: Sequence[str]
) -> CoarseLevel:
    """A level whose metadata and shape agree.

    Parameters
    ----------
    finest, shape : sequence of int
        Voxels per axis of the finest level and of this one.
    ratios : sequence of float
        Voxel size of this level over that of the finest one, as the metadata has it.
    axes : sequence of str
        Their names, for the message.

    Raises
    ------
    ValueError
        If along an axis the level has not as many voxels as its voxel size asks for.
    """
    factors = map(_factor, finest, shape, ratios, axes)
    return CoarseLevel(tuple(shape), tuple(factors))


def _factor(finest: int, size: int, ratio: float, axis: str) -> float:
    whole = max(1, round(ratio))
    # Scales are rounded when they are written; one that the shapes give exactly is meant.
    is_whole = abs(ratio - whole) <= abs(ratio - finest / size)
    if is_whole and finest // whole <= size <= -(-finest // whole):
        return float(whole)
    if ratio > 0 and abs(finest / ratio - size) < 1:
        return ratio
    raise ValueError(
        f"has {size} voxels along {axis}, but by its voxel size {ratio:g} of the {finest} of the "
        "finest level make one; correct its scale, or choose another level"
    )
