"""The search for a plan: fewest computed voxels within a memory budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from segmentation.plan import ShardPlan, axis_origins
from segmentation.region import Region
from segmentation.tiling import TileSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    lone_voxel : int
        The same in a tile that is computed alone, in float32, for comparison; 0 if none is.
    """

    reserved: int
    read_voxel: int
    write_voxel: int
    tile_voxel: int
    lone_voxel: int = 0

    def shard_bytes(self, read_voxels: int, write_voxels: int, cell_voxels: int) -> int:
        """Bytes of the shards one worker has in flight (one read, one computed, one written)."""
        per_shard = read_voxels * self.read_voxel + write_voxels * self.write_voxel
        return IN_FLIGHT * (per_shard + 2 * cell_voxels * self.write_voxel)

    def projected(self, read: int, write: int, cell: int, tile: int, batch: int) -> int:
        """Peak bytes of one worker; arguments in voxels."""
        in_network = tile * max(batch * self.tile_voxel, self.lone_voxel)
        return self.reserved + self.shard_bytes(read, write, cell) + in_network


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
    found = list(_candidates(prices, cell, region, needs))
    affordable = [c for c in found if c[1] <= memory_bytes]
    if not affordable:
        least = min(c[1] for c in found)
        raise ValueError(
            f"memory {memory_bytes // MEBIBYTE} MiB is too little for one shard; "
            f"the smallest plan needs {-(-least // MEBIBYTE)} MiB a worker (--memory)"
        )
    best = min(c[0] for c in affordable)
    _, _, choice = min(
        (c for c in affordable if c[0] <= best * SMALL_ENOUGH), key=lambda c: (c[1], c[0], c[2])
    )
    tile_shape = tuple(t for t, _ in choice)
    spec = TileSpec(tile_shape, tuple(halo), tuple(stride), exact)
    shard_shape = tuple(c * m for c, (_, m) in zip(cell, choice, strict=True))
    read, write = _largest(prices, choice, region, cell)
    room = memory_bytes - needs.projected(read, write, math.prod(cell), 0, 0)
    batch = _batch(spec, write, room // max(1, spec.voxels * needs.tile_voxel))
    projected = needs.projected(read, write, math.prod(cell), spec.voxels, batch)
    return ShardPlan(shape, region, cell, shard_shape, spec, batch, projected)


def _batch(spec: TileSpec, write_voxels: int, tiles_in_memory: int) -> int:
    """Small tiles are computed several at a time, as far as memory and the shard allow."""
    wanted = max(1, BATCH_VOXELS // spec.voxels)
    tiles_in_shard = -(-write_voxels // spec.voxels)
    return max(1, min(wanted, tiles_in_shard, tiles_in_memory))


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
    """One axis of one candidate: amplification, longest read and longest write."""

    amplification: float
    read: int
    write: int


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
    )


_Choice = tuple[tuple[int, int], ...]


def _candidates(
    prices: list[dict[tuple[int, int], _Price]],
    cell: tuple[int, ...],
    region: Region,
    needs: Needs,
) -> Iterator[tuple[float, int, _Choice]]:
    """Cost, projected bytes and choice of every combination over the axes."""
    for choice in product(*(_frontier(axis) for axis in prices)):
        amplification = math.prod(p[c].amplification for p, c in zip(prices, choice, strict=True))
        read, write = _largest(prices, choice, region, cell)
        tile = math.prod(t for t, _ in choice)
        cost = amplification * (1 + TILE_OVERHEAD_VOXELS / tile)
        yield cost, needs.projected(read, write, math.prod(cell), tile, 1), choice


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


def _largest(
    prices: list[dict[tuple[int, int], _Price]],
    choice: _Choice,
    region: Region,
    cell: tuple[int, ...],
) -> tuple[int, int]:
    """Voxels of the largest read region and of the largest write region."""
    read = math.prod(p[c].read for p, c in zip(prices, choice, strict=True))
    write = math.prod(p[c].write for p, c in zip(prices, choice, strict=True))
    return read, write
