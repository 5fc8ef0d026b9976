"""Tiles that give the untiled network's output, voxel for voxel.

A tile may be trusted where its own border cannot be seen: ``halo`` voxels inside it, except
where its border is the true border of the volume, which the untiled network sees as well. ::

    volume  0                                                size   padded
            |-------- tile --------|                            |......|
            |  kept            |halo|
                       |-------- tile --------|
                       |halo|  kept      |halo|
                                      |-------- tile ------------------|
                                      |halo|          kept      |

Tile origins are multiples of the network stride: pooling windows then fall where the untiled
network puts them. A size the stride does not divide is padded at its end, once for the whole
volume, by repeating the last voxel. All tiles have one shape; the last one moves inwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from segmentation.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PADDING_RULE: Final = "edge"
BLEND_SIGMA = 1 / 8


@dataclass(frozen=True, slots=True)
class TileSpec:
    """How a network is laid over a volume, along every axis of the mask.

    Attributes
    ----------
    tile : tuple of int
        Input window of the network, in voxels; 1 along axes the network does not see.
    halo : tuple of int
        Context read and thrown away on each side.
    stride : tuple of int
        Network stride; origins, tile and halo are multiples of it.
    exact : bool
        Whether the kept voxels equal the untiled network's. Otherwise tiles overlap by half
        and are blended with Gaussian weights.
    """

    tile: tuple[int, ...]
    halo: tuple[int, ...]
    stride: tuple[int, ...]
    exact: bool = True

    def __post_init__(self) -> None:
        for name in ("tile", "halo"):
            value = getattr(self, name)
            if any(v % s for v, s in zip(value, self.stride, strict=True)):
                need = tuple(-(-v // s) * s for v, s in zip(value, self.stride, strict=True))
                raise ValueError(
                    f"{name} {value} is not a multiple of the network stride {self.stride}; "
                    f"use {need}"
                )

    @property
    def voxels(self) -> int:
        """Voxels in one tile."""
        return math.prod(self.tile)

    def padded(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of the volume after padding at its end to the stride, and to one tile."""
        return tuple(
            max(-(-size // s) * s, t)
            for size, s, t in zip(shape, self.stride, self.tile, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for records."""
        return {
            "tile": list(self.tile),
            "halo": list(self.halo),
            "stride": list(self.stride),
            "exact": self.exact,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TileSpec:
        """Inverse of `to_dict`."""
        return cls(
            tuple(data["tile"]), tuple(data["halo"]), tuple(data["stride"]), bool(data["exact"])
        )


@dataclass(frozen=True, slots=True)
class Window:
    """One tile and the part of its output that is kept, in voxels of the volume."""

    tile: Region
    keep: Region


def axis_windows(
    start: int, stop: int, *, padded: int, tile: int, halo: int, stride: int
) -> list[tuple[int, int, int]]:
    """Tiles along one axis whose kept parts cover [start, stop) without overlap.

    Parameters
    ----------
    start, stop : int
        Wanted voxels.
    padded : int
        Extent of the padded volume.
    tile, halo, stride : int
        As in `TileSpec`.

    Returns
    -------
    list of tuple
        (tile origin, first kept voxel, first voxel not kept).

    Raises
    ------
    ValueError
        If the tile has no core and is not the whole axis.
    """
    if tile < padded and tile < 2 * halo + stride:
        raise ValueError(
            f"tile {tile} has no core inside its halo {halo}; use at least {2 * halo + stride}"
        )
    last = padded - tile
    # No tile needs to reach further than the halo beyond the wanted voxels.
    furthest = max(0, min(last, -(-stop // stride) * stride + halo - tile))
    windows = []
    position = start
    while position < stop:
        origin = max(0, min(position // stride * stride - halo, furthest))
        end = padded if origin == last else origin + tile - halo
        windows.append((origin, position, min(end, stop)))
        position = end
    return windows


def exact_windows(write: Region, shape: Sequence[int], spec: TileSpec) -> Iterator[Window]:
    """Tiles that cover a region exactly, each voxel kept once."""
    padded = spec.padded(shape)
    per_axis = [
        axis_windows(a, b, padded=p, tile=t, halo=h, stride=s)
        for a, b, p, t, h, s in zip(
            write.start, write.stop, padded, spec.tile, spec.halo, spec.stride, strict=True
        )
    ]
    for choice in product(*per_axis):
        origin = tuple(c[0] for c in choice)
        yield Window(
            Region(origin, tuple(o + t for o, t in zip(origin, spec.tile, strict=True))),
            Region(tuple(c[1] for c in choice), tuple(c[2] for c in choice)),
        )


def blend_origins(
    start: int, stop: int, *, padded: int, tile: int, halo: int, stride: int
) -> list[int]:
    """Tile origins half a tile apart that cover [start, stop) grown by the halo."""
    low = max(0, start // stride * stride - halo)
    high = max(low, min(padded, -(-stop // stride) * stride + halo) - tile)
    high = min(high, padded - tile)
    low = min(low, high)
    step = max(stride, tile // 2 // stride * stride)
    return sorted({*range(low, high, step), high})


def blend_windows(write: Region, shape: Sequence[int], spec: TileSpec) -> Iterator[Region]:
    """Overlapping tiles over a region, for networks that cannot be tiled exactly."""
    padded = spec.padded(shape)
    per_axis = [
        blend_origins(a, b, padded=p, tile=t, halo=h, stride=s)
        for a, b, p, t, h, s in zip(
            write.start, write.stop, padded, spec.tile, spec.halo, spec.stride, strict=True
        )
    ]
    for origin in product(*per_axis):
        yield Region(origin, tuple(o + t for o, t in zip(origin, spec.tile, strict=True)))


def tiles_of(write: Region, shape: Sequence[int], spec: TileSpec) -> Iterator[Region]:
    """The tiles a region needs, in the order in which they are computed."""
    if spec.exact:
        return (window.tile for window in exact_windows(write, shape, spec))
    return blend_windows(write, shape, spec)


def axis_tiles(start: int, stop: int, size: int, spec: TileSpec, axis: int) -> list[int]:
    """Tile origins that [start, stop) needs along one axis; a region needs their product."""
    tile, halo, stride = spec.tile[axis], spec.halo[axis], spec.stride[axis]
    padded = max(-(-size // stride) * stride, tile)
    if not spec.exact:
        return blend_origins(start, stop, padded=padded, tile=tile, halo=halo, stride=stride)
    windows = axis_windows(start, stop, padded=padded, tile=tile, halo=halo, stride=stride)
    return [origin for origin, _, _ in windows]


def read_region(write: Region, shape: Sequence[int], spec: TileSpec) -> Region:
    """Voxels of the volume that the tiles of a write region need."""
    origins = [
        axis_tiles(a, b, size, spec, axis)
        for axis, (a, b, size) in enumerate(zip(write.start, write.stop, shape, strict=True))
    ]
    return Region(
        tuple(o[0] for o in origins),
        tuple(min(o[-1] + t, n) for o, t, n in zip(origins, spec.tile, shape, strict=True)),
    )


def blend_weights(spec: TileSpec) -> np.ndarray:
    """Gaussian weights of one tile, float32, never 0 (sigma an eighth of the tile).

    Source: Isensee et al., Nature Methods 18:203 (2021), the sliding window of nnU-Net.
    """
    weights: np.ndarray = np.ones((), np.float64)
    for tile in spec.tile:
        offset = np.arange(tile) - (tile - 1) / 2
        weights = np.multiply.outer(
            weights, np.exp(-0.5 * (offset / max(tile * BLEND_SIGMA, 0.5)) ** 2)
        )
    floor = float(weights.max()) * 1e-4
    weights = np.maximum(weights, floor)
    return weights.astype(np.float32)


def cut_tile(block: np.ndarray, origin: Sequence[int], tile: Region) -> np.ndarray:
    """One tile out of a block that starts at an origin, padded where the volume ends.

    Parameters
    ----------
    block : numpy.ndarray
        Voxels from ``origin`` on, shape (spatial..., channels); it reaches the end of the
        volume wherever the tile does.
    origin : sequence of int
        First voxel of the block.
    tile : Region
        The wanted window; it may reach beyond the end of the volume.
    """
    inside = tile.relative_to(origin)
    piece = block[inside.slices]
    missing = [want - have for want, have in zip(tile.shape, piece.shape[:-1], strict=True)]
    if not any(missing):
        return piece
    return np.pad(piece, [*((0, m) for m in missing), (0, 0)], mode=PADDING_RULE)
