"""A few sections of an image, so that looking at a large volume costs little."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from segmentation.region import Region
from segmentation.shard import read_block

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segmentation.shard import VoxelArray

MOST_WINDOWS = 8
WINDOW_SIDE = 1024


def windows(region: Region, most: int = MOST_WINDOWS, side: int = WINDOW_SIDE) -> list[Region]:
    """Middles of sections of a box, at even distances.

    Parameters
    ----------
    region : Region
        Along the axes …, y, x.
    most : int
        Sections at most.
    side : int
        Voxels along y and x at most.

    Returns
    -------
    list of Region
        One section each.
    """
    leading = region.shape[:-2]
    total = math.prod(leading)
    kept = min(total, most)
    plane = [_middle(a, b, side) for a, b in zip(region.start[-2:], region.stop[-2:], strict=True)]
    found = []
    for number in ((2 * k + 1) * total // (2 * kept) for k in range(kept)):
        offset = np.unravel_index(number, leading) if leading else ()
        place = [int(i) + a for i, a in zip(offset, region.start, strict=False)]
        start, stop = (tuple(bound) for bound in zip(*plane, strict=True))
        found.append(Region((*place, *start), (*(p + 1 for p in place), *stop)))
    return found


def _middle(start: int, stop: int, side: int) -> tuple[int, int]:
    spare = max(0, stop - start - side)
    return start + spare // 2, stop - (spare - spare // 2)


def image_window(
    image: VoxelArray, window: Region, channel_axis: int | None
) -> NDArray[np.float64]:
    """Mean of the channels of one section, float64 (y, x)."""
    block = read_block(image, window, channel_axis, None)
    mean: NDArray[np.float64] = block.mean(axis=-1, dtype=np.float64)
    return mean.reshape(window.shape[-2:])


def label_window(label: VoxelArray, window: Region) -> NDArray[np.generic]:
    """Label of one section, (y, x)."""
    found: NDArray[np.generic] = np.asarray(label[window.slices])
    return found.reshape(window.shape[-2:])
