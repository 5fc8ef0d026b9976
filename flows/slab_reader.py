"""Volumes read plane by plane, although their chunks are many planes thick."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.volume import Volume

LARGEST_SLAB = 2**27  # bytes


@dataclass(frozen=True, slots=True)
class SlabReader:
    """A volume that keeps the slab it has read last, one chunk thick, for the planes after it.

    Attributes
    ----------
    volume : Volume
        What is read.
    axis : int
        Along which the planes follow each other.
    slab : callable
        The slab of a number, counted along the axis.
    """

    volume: Volume
    axis: int
    slab: Callable[[int], np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis."""
        return self.volume.shape

    def __getitem__(self, slices: tuple[slice, ...]) -> np.ndarray:
        """Voxels of a box; one that reaches over several slabs is read as it is."""
        wanted, depth = slices[self.axis], self.volume.chunks[self.axis]
        number = wanted.start // depth
        if (wanted.stop - 1) // depth != number:
            return self.volume[slices]
        inside = list(slices)
        inside[self.axis] = slice(wanted.start - number * depth, wanted.stop - number * depth)
        return self.slab(number)[tuple(inside)]


def slab_reader(volume: Volume) -> SlabReader | Volume:
    """The volume with a slab kept in memory, where that helps and the slab is not large."""
    axis = volume.axes.find("z")
    depth = volume.chunks[axis]
    planes = math.prod(volume.shape) // volume.shape[axis]
    if axis < 0 or depth == 1 or depth * planes * np.dtype(volume.dtype).itemsize > LARGEST_SLAB:
        return volume

    def read(number: int) -> np.ndarray:
        box = [slice(0, size) for size in volume.shape]
        box[axis] = slice(number * depth, min((number + 1) * depth, volume.shape[axis]))
        return volume[tuple(box)]

    return SlabReader(volume, axis, lru_cache(maxsize=1)(read))
