"""What a resized label has lost: components of which nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from segmentation.audit.finding import Finding, Table, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.audit.thresholds import DataThresholds


def lost_components(
    before: NDArray[np.integer], after: NDArray[np.integer], value: int
) -> tuple[int, int]:
    """Connected components of a class, and how many of them left no voxel where they were.

    Parameters
    ----------
    before, after : integer arrays
        The label and its resized form; both show the same box, with any number of voxels.
    value : int
        Of the class. Components connect over faces, edges and corners.
    """
    structure = np.ones((3,) * before.ndim)
    labelled, number = ndimage.label(before == value, structure)
    places = [np.arange(n) * m // n for n, m in zip(before.shape, after.shape, strict=True)]
    kept = np.unique(labelled[(after == value)[np.ix_(*places)]])
    return int(number), int(number - np.count_nonzero(kept))


def resize_findings(
    before: NDArray[np.integer],
    after: NDArray[np.integer],
    class_names: Sequence[str],
    thresholds: DataThresholds,
) -> list[Finding]:
    """Classes of which resizing has removed components.

    Parameters
    ----------
    before, after : integer arrays
        The label and its resized form.
    class_names : sequence of str
        By value, the background first.
    thresholds : DataThresholds
        What share of the components may vanish.
    """
    rows = tuple(
        (name, *lost_components(before, after, value))
        for value, name in enumerate(class_names)
        if value
    )
    lost = [
        (name, gone / n) for name, n, gone in rows if n and gone / n > thresholds.lost_components
    ]
    if not lost:
        return []
    worst = max(share for _, share in lost)
    sizes = " to ".join(" × ".join(map(str, one.shape)) for one in (before, after))
    return [
        Finding(
            "DATA-RESIZE-LOSS",
            "warning",
            f"Resizing the label from {sizes} voxels has removed {worst:.0%} of the components of "
            f"{listed([name for name, _ in lost])}.",
            f"found if more than {thresholds.lost_components:.0%} of the components of a class "
            f"have no voxel left where they were; measured {worst:.0%}",
            "Keep the resolution and train on crops instead: `maskmill train --crop 256,256` needs "
            "no resizing.",
            "That what is left keeps its shape: thin parts can be broken without vanishing.",
            (Table("Components", ("class", "before", "lost"), rows),),
        )
    ]
