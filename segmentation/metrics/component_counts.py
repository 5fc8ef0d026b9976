"""How much there is of every class: voxels, pieces, volume."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.metrics.matching import overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segmentation.metrics.contingency import Contingency
    from segmentation.metrics.matching import Classes, Objects


def component_counts(
    tables: Sequence[Contingency],
    *,
    class_names: Sequence[str],
    truth_classes: Sequence[Classes],
    mask_classes: Sequence[Classes],
    voxel_size: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """Return voxels, number of components and volume of every foreground class.

    Only what is not ignored counts: a component that lies in ignored voxels altogether is in no
    table, and in no number here.

    Parameters
    ----------
    tables : sequence of Contingency
        One per image.
    class_names : sequence of str
        Names of the classes 0..C-1, the background first.
    truth_classes, mask_classes : sequence of (integer array or mapping)
        Class by component id, per image.
    voxel_size : sequence of float, optional
        Extent of a voxel along each axis. A volume is in its unit to the power of the axes, and
        None without it.

    Returns
    -------
    list of dict
        One per foreground class, as in ``components`` of result.json.
    """
    overlap = overlaps(tables, truth_classes, mask_classes)
    return [
        {
            "value": value,
            "name": name,
            **_extent("truth", overlap.truth, value, voxel_size),
            **_extent("mask", overlap.mask, value, voxel_size),
        }
        for value, name in list(enumerate(class_names))[1:]
    ]


def _extent(
    label: str, objects: Objects, value: int, voxel_size: Sequence[float] | None
) -> dict[str, Any]:
    own = objects.classes == value
    voxels = int(objects.areas[own].sum())
    return {
        f"{label}_voxels": voxels,
        f"{label}_components": int(np.count_nonzero(own)),
        f"{label}_volume": None if voxel_size is None else voxels * math.prod(voxel_size),
    }
