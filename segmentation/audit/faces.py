"""Where the tiles and the shards of a plan meet."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from segmentation.tiling import axis_tiles, axis_windows

if TYPE_CHECKING:
    from segmentation.plan import ShardPlan


def tile_faces(plan: ShardPlan) -> tuple[tuple[int, ...], ...]:
    """Where kept parts of tiles meet: along each axis the first voxel behind every face.

    Along an axis that the network does not see there are none.

    Parameters
    ----------
    plan : ShardPlan
        Of the run.
    """
    return tuple(
        tuple(sorted(_axis_faces(plan, axis))) if plan.spec.tile[axis] > 1 else ()
        for axis in range(len(plan.shape))
    )


def shard_faces(plan: ShardPlan, axis: int) -> tuple[int, ...]:
    """Where shards meet along an axis: the first voxel of every shard but the first."""
    extent, start, stop = plan.shard_shape[axis], plan.region.start[axis], plan.region.stop[axis]
    first = (start // extent + 1) * extent
    return tuple(range(first, stop, extent))


def _axis_faces(plan: ShardPlan, axis: int) -> set[int]:
    spec, start, stop = plan.spec, plan.region.start[axis], plan.region.stop[axis]
    borders = [start, *shard_faces(plan, axis), stop]
    faces = set(borders[1:-1])
    padded = spec.padded(plan.shape)[axis]
    for low, high in itertools.pairwise(borders):
        if spec.exact:
            windows = axis_windows(
                low,
                high,
                padded=padded,
                tile=spec.tile[axis],
                halo=spec.halo[axis],
                stride=spec.stride[axis],
            )
            faces |= {keep for _, keep, _ in windows}
        else:
            faces |= set(axis_tiles(low, high, plan.shape[axis], spec, axis))
    return {face for face in faces if start < face < stop}
