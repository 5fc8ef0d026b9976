"""Scores of surfaces: the share within a tolerance, and percentiles of the distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.ratios import ratio
from segmentation.metrics.surfels import surfel_areas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.metrics.label_block import SurfaceOptions
    from segmentation.metrics.surface_counts import SurfaceCounts

PERCENTILES = {"hd50": 50, "hd95": 95}
NO_SURFACE = "neither truth nor mask has a surface of this class"
MISSED = "missed, the worst there is: the mask has no surface of this class"
INVENTED = "invented, the worst there is: the truth has no surface of this class"

# Sums of areas carry rounding; a share that lacks less than this of a percentile has reached it.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class _Directed:
    """Distances from one surface to the other, ascending, and the area at each."""

    distances: NDArray[np.float64]
    areas: NDArray[np.float64]

    @property
    def area(self) -> float:
        return float(self.areas.sum())

    def within(self, tolerance: float) -> float:
        return float(self.areas[self.distances <= tolerance].sum())

    def percentile(self, percent: float) -> float:
        """Smallest distance within which that share of the area is; infinity beyond the cap."""
        if not len(self.areas):
            return math.inf
        wanted = percent / 100 * self.area * (1 - ROUNDING)
        index = int(np.searchsorted(np.cumsum(self.areas), wanted))
        return float(self.distances[index])


def surface_scores(
    counts: SurfaceCounts,
    *,
    options: SurfaceOptions,
    tolerances: Sequence[float],
    class_names: Sequence[str],
) -> list[dict[str, Any]]:
    """Score the surfaces of every foreground class.

    * nsd: per tolerance the share of both surfaces, by area, that is no farther than it from the
      other one (surface Dice; Nikolov et al. 2021, DOI 10.2196/26151)
    * hd50, hd95: the distance within which 50 % or 95 % of a surface, by area, is of the other
      one, the larger of the two directions (robust Hausdorff distance, the same source)
    * truth_area, mask_area: area of the surfaces (2D: length of the contours), in unit² (unit)
    * censored_share: share of both surfaces, by area, that is farther than the cap
    * excluded: surfels left out because they touch an ignored voxel

    A structure that only one side has scores nsd 0; its distances are None, and stand for the
    worst. Where neither has it, all scores are None. Each None has its reason under "undefined".

    Parameters
    ----------
    counts : SurfaceCounts
        Merged counts of all shards.
    options : SurfaceOptions
        What they were counted with.
    tolerances : sequence of float
        In the unit of the voxel size, from 0 to the cap.
    class_names : sequence of str
        Names of the classes 0..C-1, the background first.

    Returns
    -------
    list of dict
        One per class 1..C-1, plain ints, floats, strings, lists and None.

    Raises
    ------
    ValueError
        If a tolerance is not within 0 and the cap, or the numbers of classes differ.
    """
    _check(counts, options, tolerances, class_names)
    table = surfel_areas(options.voxel_size)
    classes = []
    for value, name in list(enumerate(class_names))[1:]:
        truth, mask = (_directed(counts, value, direction, table) for direction in (0, 1))
        excluded = int(counts.excluded[value].sum())
        scores = _scores(truth, mask, tolerances)
        reason = _reason(truth, mask, options.cap, excluded)
        reasons = {
            key: reason
            for key, score in scores.items()
            if score is None or (isinstance(score, list) and None in score)
        }
        classes.append(
            {"value": value, "name": name, **scores, "excluded": excluded, "undefined": reasons}
        )
    return classes


def _check(
    counts: SurfaceCounts,
    options: SurfaceOptions,
    tolerances: Sequence[float],
    class_names: Sequence[str],
) -> None:
    if not len(class_names) == options.num_classes == len(counts.excluded):
        raise ValueError(
            f"received {len(class_names)} class names and counts of {len(counts.excluded)} classes "
            f"for {options.num_classes} classes; give one name per class, the background first"
        )
    for tolerance in tolerances:
        if not 0 <= tolerance <= options.cap:
            raise ValueError(
                f"tolerance {tolerance} is not within 0 and the cap {options.cap}, beyond which "
                "distances are not told apart; count the surfaces with a larger cap"
            )


def _directed(
    counts: SurfaceCounts, value: int, direction: int, table: NDArray[np.float64]
) -> _Directed:
    rows = np.flatnonzero((counts.value == value) & (counts.direction == direction))
    rows = rows[np.argsort(counts.squared[rows], kind="stable")]
    areas = counts.count[rows] * table[counts.code[rows]]
    return _Directed(np.sqrt(counts.squared[rows]), areas)


def _scores(truth: _Directed, mask: _Directed, tolerances: Sequence[float]) -> dict[str, Any]:
    total = truth.area + mask.area
    distances = {
        name: max(truth.percentile(percent), mask.percentile(percent))
        for name, percent in PERCENTILES.items()
    }
    return {
        "nsd": [ratio(truth.within(limit) + mask.within(limit), total) for limit in tolerances],
        **{name: far if math.isfinite(far) else None for name, far in distances.items()},
        "truth_area": truth.area,
        "mask_area": mask.area,
        "censored_share": ratio(
            sum(float(side.areas[np.isinf(side.distances)].sum()) for side in (truth, mask)), total
        ),
    }


def _reason(truth: _Directed, mask: _Directed, cap: float, excluded: int) -> str:
    """Why scores of this class are None, if any is."""
    if truth.area and mask.area:
        return f"more than the cap of {cap:g}"
    one = MISSED if truth.area else INVENTED
    reason = one if truth.area or mask.area else NO_SURFACE
    return reason + (", except beside ignored voxels" if excluded else "")
