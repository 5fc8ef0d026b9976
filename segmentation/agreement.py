"""How many voxels a lower precision leaves as they are in float32, on a small part of a shard.

The part is computed in float32 as well, in a tile of its own with its halo: ::

    |---------------- first tile of the shard ----------------|
    |halo|  kept                                         |halo|
    |halo|  part  |halo|        computed again, in float32
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.region import Region
from segmentation.shard import TileRun
from segmentation.tiling import Window, exact_windows

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from segmentation.normalize import IntensityTransform
    from segmentation.plan import Shard, ShardPlan
    from segmentation.predictor import Predictor
    from segmentation.shard import ShardOutput
    from segmentation.skipping import Selection
    from segmentation.tiling import TileSpec

# Voxels of the part along each axis of the network, by their number.
EXTENTS = {2: 256, 3: 48}


def agreement(
    output: ShardOutput,
    block: np.ndarray,
    shard: Shard,
    plan: ShardPlan,
    predictors: tuple[Predictor, Predictor],
    transform: IntensityTransform | None,
    *,
    device: AbstractContextManager[Any] | None = None,
    selection: Selection | None = None,
) -> tuple[int, int]:
    """Voxels that two predictors give the same class, and voxels compared.

    Parameters
    ----------
    output : ShardOutput
        What the first predictor says of the shard.
    predictors : (Predictor, Predictor)
        The second computes a part of the first tile. Where tiles are blended or blocks skipped,
        both compute the first tile of those that are computed, and the part of it that the shard
        writes is compared.
    block, shard, plan, transform, device, selection
        As of `segmentation.shard.segment_shard`.
    """
    first, second = (
        TileRun(block, shard, plan, one, transform, device or nullcontext(), selection)
        for one in predictors
    )
    if plan.spec.exact and selection is None:
        part = first_part(shard, plan, predictors[1])
        classes = output.classes[part.keep.relative_to(shard.write.start).slices]
        return _same(classes, second.classes_in(part))
    window = first.first_window()
    return _same(first.classes_in(window), second.classes_in(window))


def _same(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    return int(np.count_nonzero(first == second)), first.size


def first_part(shard: Shard, plan: ShardPlan, predictor: Predictor) -> Window:
    """A small tile within the first one of a shard, and what may be kept of it.

    A predictor of one size gets the first tile itself.
    """
    window, spec = next(exact_windows(shard.write, plan.shape, plan.spec)), plan.spec
    if predictor.fixed:
        return window
    axes = len(predictor.stride)
    extents = (*(1,) * (len(spec.tile) - axes), *(EXTENTS[axes],) * axes)
    spans = [_span(window, spec, axis, extent) for axis, extent in enumerate(extents)]
    tile, keep = (Region(*zip(*bounds, strict=True)) for bounds in zip(*spans, strict=True))
    return Window(tile, keep)


def _span(
    window: Window, spec: TileSpec, axis: int, extent: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tile and kept part along one axis; tiles of all windows of a plan have one size."""
    halo, stride = spec.halo[axis], spec.stride[axis]
    origin, end = window.tile.start[axis], window.tile.stop[axis]
    first = window.keep.start[axis]
    size = min(end - origin, -(-(extent + 2 * halo + stride) // stride) * stride)
    start = min(max(origin, first // stride * stride - halo), end - size)
    return (start, start + size), (first, min(window.keep.stop[axis], first + extent))
