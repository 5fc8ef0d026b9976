"""Large stacks from few voxels: sections of a synthetic volume, repeated as hard links."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from segmentation.synthetic import synthetic_stack

if TYPE_CHECKING:
    from pathlib import Path

SECTIONS = 16
VOXEL_SIZE = (0.045, 0.0046, 0.0046)
UNIT = "micrometer"


def sections(side: int, *, labels: bool) -> np.ndarray:
    """Sixteen sections of an image, or of its classes, uint8, shape (16, side, side)."""
    drawn = min(side, 1024)
    pair = synthetic_stack((SECTIONS, drawn, drawn), seed=1)
    tiles = -(-side // drawn)
    tiled = np.tile(pair[labels].astype(np.uint8), (1, tiles, tiles))
    return np.ascontiguousarray(tiled[:, :side, :side])


def depth_of(size_bytes: float, side: int) -> int:
    """Sections that make up a number of bytes; at least one."""
    return max(1, round(size_bytes / side**2))


def write_planes(
    folder: Path, planes: np.ndarray, depth: int, *, compression: str | None = None
) -> Path:
    """A folder of TIFF files, one a section; those after the first few are links to them."""
    import tifffile

    folder.mkdir(parents=True)
    for number in range(depth):
        path = folder / f"section_{number:05d}.tif"
        if number < len(planes):
            tifffile.imwrite(path, planes[number], compression=compression)
        else:
            os.link(folder / f"section_{number % len(planes):05d}.tif", path)
    return folder


def write_stack(
    path: Path, planes: np.ndarray, depth: int, *, compression: str | None = None
) -> Path:
    """One TIFF of many pages."""
    import tifffile

    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(
            (planes[number % len(planes)] for number in range(depth)),
            shape=(depth, *planes.shape[1:]),
            dtype=planes.dtype,
            compression=compression,
        )
    return path
