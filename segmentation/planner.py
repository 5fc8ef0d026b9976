"""The search for a plan: fewest computed voxels within a memory budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from segmentation.plan import ShardPlan, axis_origins
from segmentation.region import Region
from segmentation.tiling import TileSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A number, or an array of the numbers of many candidates.
Voxels = Any

MEBIBYTE = 2**20
IN_FLIGHT = 3
SMALL_ENOUGH = 1.02
MAX_CELLS_PER_AXIS = 8
BATCH_VOXELS = 2**18
TILE_OVERHEAD_VOXELS = 2**14
TILE_EXTENTS = (16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a worker holds, in bytes, for the memory projection.

    Attributes
    ----------
    reserved : int
        Interpreter, libraries, device runtime and weights.
    read_voxel : int
        One voxel as read, all channels.
    write_voxel : int
        One voxel of the result and of the truth it is compared with.
    tile_voxel : int
        One voxel inside the network: input, live activations, output.
    cell_voxel : int
        One voxel of a cell while it is encoded, and of its bytes.
    """

    reserved: int
    read_voxel: int
    write_voxel: int
    tile_voxel: int
    cell_voxel: int = 0

    def shard_bytes(self, read_voxels: Voxels, write_voxels: Voxels, cell_voxels: int) -> Any:
        """Bytes of one shard that is in flight: read, computed or written."""
        own = read_voxels * self.read_voxel + write_voxels * self.write_voxel
        return own + cell_voxels * self.cell_voxel

    def projected(
        self,
        read: Voxels,
        write: Voxels,
        cell: int,
        tile: Voxels,
        batch: int,
        shards: int = IN_FLIGHT,
    ) -> Any:
        """Peak bytes of one worker; sizes in voxels, and how many shards there are in all."""
        in_flight = min(IN_FLIGHT, shards) * self.shard_bytes(read, write, cell)
        return self.reserved + in_flight + tile * batch * self.tile_voxel


def make_plan(
    *,
    shape: Sequence[int],
    region: Region,
    cell: Sequence[int],
    stride: Sequence[int],
    halo: Sequence[int],
    network_axes: int,
    needs: Needs,
    memory_bytes: int,
    tile: Sequence[int] | None = None,
    exact: bool = True,
) -> ShardPlan:
    """The plan that computes fewest voxels within a memory budget.

    A tile costs its voxels and a little for being one more tile. Every combination of tile
    extents and of cells per shard is priced; the amplification is a product over axes, so that
    this is quick. Of the plans within 2 % of the best, the one that needs least memory is taken.

    Parameters
    ----------
    shape, cell : sequence of int
        Mask volume and its write-grid cell.
    region : Region
        Wanted voxels.
    stride, halo : sequence of int
        Of the network, per axis of the mask (1 and 0 where it does not look).
    network_axes : int
        How many of the last axes the network sees; tiles are single along the others.
    needs : Needs
        Bytes a worker holds.
    memory_bytes : int
        Budget of one worker.
    tile : sequence of int, optional
        A tile that must be used: networks of fixed input, and those that are not exact, whose
        result must not depend on the budget.
    exact : bool
        See `TileSpec`.

    Raises
    ------
    ValueError
        If even the smallest plan exceeds the budget; the message says which budget would do.
    """
    shape, cell = tuple(shape), tuple(cell)
    axes = range(len(shape))
    multiples = [_cell_choices(region, cell, a) if exact else [1] for a in axes]
    seen = range(len(shape) - network_axes, len(shape))
    tiles = [
        ([tile[a]] if tile else _tile_choices(shape[a], cell[a], multiples[a], stride[a], halo[a]))
        if a in seen
        else [1]
        for a in axes
    ]
    prices = [
        {
            (t, m): _axis_price(region, shape, cell[a] * m, t, stride[a], halo[a], a, exact)
            for t in tiles[a]
            for m in multiples[a]
        }
        for a in axes
    ]
    choice = _best(prices, math.prod(cell), needs, memory_bytes)
    tile_shape = tuple(t for t, _ in choice)
    spec = TileSpec(tile_shape, tuple(halo), tuple(stride), exact)
    shard_shape = tuple(c * m for c, (_, m) in zip(cell, choice, strict=True))
    read, write, shards = _largest(prices, choice)
    base = int(needs.projected(read, write, math.prod(cell), spec.voxels, 1))
    batch = _batch(spec, write, (memory_bytes - base) // max(1, spec.voxels * needs.tile_voxel))
    projected = needs.projected(read, write, math.prod(cell), spec.voxels, batch, shards)
    return ShardPlan(shape, region, cell, shard_shape, spec, batch, int(projected))


def _batch(spec: TileSpec, write_voxels: int, spare_tiles: int) -> int:
    """Small tiles are computed several at a time, as far as memory and the shard allow."""
    wanted = max(1, BATCH_VOXELS // spec.voxels)
    tiles_in_shard = -(-write_voxels // spec.voxels)
    return max(1, min(wanted, tiles_in_shard, 1 + spare_tiles))


def _tile_choices(size: int, cell: int, multiples: list[int], stride: int, halo: int) -> list[int]:
    """Common extents, extents that fit a shard in one tile, and the whole axis."""
    padded = -(-size // stride) * stride
    least = 2 * halo + stride
    wanted = [*TILE_EXTENTS, *(cell * m + 2 * halo for m in multiples)]
    rounded = {-(-extent // stride) * stride for extent in wanted}
    return sorted({t for t in {least, *rounded} if least <= t < padded} | {padded})


def _cell_choices(region: Region, cell: tuple[int, ...], axis: int) -> list[int]:
    touched = -(-region.stop[axis] // cell[axis]) - region.start[axis] // cell[axis]
    return [m for m in (1, 2, 3, 4, 6, MAX_CELLS_PER_AXIS) if m == 1 or m <= touched]


@dataclass(frozen=True, slots=True)
class _Price:
    """One axis of one candidate: amplification, longest read and write, number of shards."""

    amplification: float
    read: int
    write: int
    shards: int


def _axis_price(
    region: Region,
    shape: tuple[int, ...],
    extent: int,
    tile: int,
    stride: int,
    halo: int,
    axis: int,
    exact: bool,
) -> _Price:
    spec = TileSpec((tile,), (halo,), (stride,), exact)
    line = Region((region.start[axis],), (region.stop[axis],))
    origins = list(axis_origins(line, (shape[axis],), (extent,), spec, 0))
    wanted = region.shape[axis]
    return _Price(
        amplification=sum(map(len, origins)) * tile / wanted,
        read=max(min(o[-1] + tile, shape[axis]) - o[0] for o in origins),
        write=min(extent, wanted),
        shards=len(origins),
    )


_Choice = tuple[tuple[int, int], ...]


def _best(
    prices: list[dict[tuple[int, int], _Price]], cell_voxels: int, needs: Needs, memory_bytes: int
) -> _Choice:
    """Of all combinations over the axes the one to take.

    Their prices are outer products of those along the axes: a large volume has some 10⁵.
    """
    axes = [_frontier(axis) for axis in prices]

    def over_axes(value: Callable[[tuple[int, int], _Price], float]) -> Any:
        lines = [np.array([value(c, p[c]) for c in a]) for p, a in zip(prices, axes, strict=True)]
        return reduce(np.multiply.outer, lines)

    tile = over_axes(lambda choice, _: choice[0])
    cost = over_axes(lambda _, price: price.amplification) * (1 + TILE_OVERHEAD_VOXELS / tile)
    read, write = over_axes(lambda _, p: p.read), over_axes(lambda _, p: p.write)
    # However few shards there are: else few large ones, for one worker, would be the cheapest.
    needed = needs.projected(read, write, cell_voxels, tile, 1)
    affordable = needed <= memory_bytes
    if not affordable.any():
        raise ValueError(
            f"memory {memory_bytes // MEBIBYTE} MiB is too little for one shard; "
            f"the smallest plan needs {-(-int(needed.min()) // MEBIBYTE)} MiB a worker (--memory)"
        )
    good = affordable & (cost <= cost[affordable].min() * SMALL_ENOUGH)
    least = np.argwhere(good & (needed == needed[good].min()))
    found = [tuple(a[i] for a, i in zip(axes, index, strict=True)) for index in least]
    return min(zip(cost[tuple(least.T)].tolist(), found, strict=True))[1]


def _frontier(axis: dict[tuple[int, int], _Price]) -> list[tuple[int, int]]:
    """Choices along one axis that none of the same tile beats in amplification and memory."""
    kept: list[tuple[int, int]] = []
    for choice in sorted(axis, key=lambda c: (c[0], axis[c].read, axis[c].amplification)):
        price = axis[choice]
        if not any(
            k[0] == choice[0]
            and axis[k].read <= price.read
            and axis[k].write <= price.write
            and axis[k].amplification <= price.amplification
            for k in kept
        ):
            kept.append(choice)
    return kept


def _largest(prices: list[dict[tuple[int, int], _Price]], choice: _Choice) -> tuple[int, int, int]:
    """Voxels of the largest read region and of the largest write region; number of shards."""
    chosen = [p[c] for p, c in zip(prices, choice, strict=True)]
    read = math.prod(price.read for price in chosen)
    write = math.prod(price.write for price in chosen)
    return read, write, math.prod(price.shards for price in chosen)
