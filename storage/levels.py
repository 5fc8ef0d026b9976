"""Plan of the resolution levels of a new image: shapes, transforms, chunks. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.ome import Level
from storage.write_grid import SHARD_BYTES, SHARDS_WANTED, choose_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from storage.write_grid import WriteGrid

MAX_LEVELS = 8
SMALLEST_PLANE = 256
# z is halved while its voxels are at most this much longer than those in plane.
NEARLY_ISOTROPIC = 1.5
# From this ratio on a stack is one of sections, and a chunk holds one section.
SECTIONS = 3.0
SLAB_BYTES = 2**28
THINNEST_CUBE = 16


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """One level to be made.

    Attributes
    ----------
    level : Level
        Path and transforms.
    shape : tuple of int
        Voxels per axis.
    """

    level: Level
    shape: tuple[int, ...]


def plan_levels(
    shape: Sequence[int], axes: str, voxel_size: Sequence[float]
) -> tuple[LevelPlan, ...]:
    """Levels halved in y and x, and in z once its voxels are not much longer.

    Parameters
    ----------
    shape : sequence of int
        Voxels per axis of the finest level.
    axes : str
        Axis letters.
    voxel_size : sequence of float
        Per axis; 1.0 for t and c.

    Returns
    -------
    tuple of LevelPlan
        At least one, at most eight; the last one is the first whose plane is at most 256 wide
        and high. Windows start at the first voxel, so level coordinates are shifted by
        ``0.5 · (factor - 1)`` voxels of the finest level.
    """
    factors = (1,) * len(axes)
    levels = []
    for number in range(MAX_LEVELS):
        level_shape = tuple(-(-size // f) for size, f in zip(shape, factors, strict=True))
        scale = tuple(size * f for size, f in zip(voxel_size, factors, strict=True))
        shift = tuple(0.5 * (f - 1) * size for size, f in zip(voxel_size, factors, strict=True))
        levels.append(LevelPlan(Level(str(number), scale, shift), level_shape))
        plane = [size for axis, size in zip(axes, level_shape, strict=True) if axis in "yx"]
        if max(plane) <= SMALLEST_PLANE:
            break
        factors = _next_factors(factors, axes, level_shape, scale)
    return tuple(levels)


def _next_factors(
    factors: tuple[int, ...], axes: str, shape: tuple[int, ...], scale: tuple[float, ...]
) -> tuple[int, ...]:
    in_plane = max(size for axis, size in zip(axes, scale, strict=True) if axis in "yx")
    return tuple(
        f * 2
        if count > 1 and (axis in "yx" or (axis == "z" and size < NEARLY_ISOTROPIC * in_plane))
        else f
        for f, axis, count, size in zip(factors, axes, shape, scale, strict=True)
    )


def is_sections(axes: str, voxel_size: Sequence[float]) -> bool:
    """Whether z is so much coarser than the plane that chunks should hold one section."""
    sizes = dict(zip(axes, voxel_size, strict=True))
    return "z" in sizes and sizes["z"] >= SECTIONS * max(sizes["y"], sizes["x"])


def import_layout(
    shape: Sequence[int],
    axes: str,
    itemsize: int,
    *,
    sections: bool,
    plane_bytes: int,
    slab_bytes: int,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and shard shape that let an import read every section once.

    An import holds as many sections as a shard has, so the larger the sections, the thinner the
    shards; they grow in plane instead.

    Parameters
    ----------
    shape : sequence of int
        Voxels per axis.
    axes : str
        Axis letters.
    itemsize : int
        Bytes a voxel.
    sections : bool
        See `is_sections`.
    plane_bytes : int
        Bytes that reading one section yields: all channels of an interleaved file.
    slab_bytes : int
        Bytes of voxels that may be in memory; one layer of shards stays within them if it can.
    """
    if "z" not in axes:
        return choose_chunks(shape, axes, itemsize)
    z = axes.index("z")
    thickness = slab_bytes // plane_bytes
    thickness = 2 ** max(0, thickness.bit_length() - 1)
    if thickness >= min(64, shape[z]) and math.prod(shape) * itemsize <= slab_bytes:
        return choose_chunks(shape, axes, itemsize, planar=sections)
    thin = tuple(min(n, thickness) if i == z else n for i, n in enumerate(shape))
    planar = sections or thickness < THINNEST_CUBE
    chunks, shards = choose_chunks(thin, axes, itemsize, planar=planar)
    least, most = SHARD_BYTES
    target = min(most, max(least, math.prod(shape) * itemsize // SHARDS_WANTED))
    return chunks, _grow_in_plane(shards, shape, axes, target // itemsize)


def _grow_in_plane(
    shards: tuple[int, ...], shape: Sequence[int], axes: str, voxels: int
) -> tuple[int, ...]:
    """Double the shorter side of a shard's plane while it stays within a number of voxels."""
    grown = list(shards)
    while math.prod(grown) * 2 <= voxels:
        sides = [axes.index(a) for a in "yx" if grown[axes.index(a)] < shape[axes.index(a)]]
        if not sides:
            break
        grown[min(sides, key=lambda i: grown[i])] *= 2
    return tuple(grown)


def slabs(
    grid: WriteGrid, order: Sequence[int], itemsize: int, limit: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Boxes of whole cells that cover an array, each at most `limit` bytes (or one cell).

    Parameters
    ----------
    grid : WriteGrid
        Array and its cells.
    order : sequence of int
        Axes from the slowest to the fastest in the file that is read. Boxes span the fastest
        axes whole, so that what lies together in the file is read once.
    itemsize : int
        Bytes a voxel.
    limit : int
        Bytes of voxels in a box.
    """
    steps = list(grid.cell)
    for axis in reversed(order):
        clipped = [min(step, size) for step, size in zip(steps, grid.shape, strict=True)]
        cells = max(1, limit // (math.prod(clipped) * itemsize))
        if cells < grid.grid_shape[axis]:
            steps[axis] *= cells
            break
        steps[axis] *= grid.grid_shape[axis]
    yield from _boxes(grid.shape, tuple(steps), tuple(order))


def _boxes(
    shape: tuple[int, ...], steps: tuple[int, ...], order: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Boxes of a step size over an array, the first axis of `order` the slowest."""
    counts = [-(-shape[axis] // steps[axis]) for axis in order]
    for number in range(math.prod(counts)):
        start = [0] * len(shape)
        rest = number
        for axis, count in zip(reversed(order), reversed(counts), strict=True):
            rest, place = divmod(rest, count)
            start[axis] = place * steps[axis]
        stop = [min(a + s, size) for a, s, size in zip(start, steps, shape, strict=True)]
        yield tuple(start), tuple(stop)
