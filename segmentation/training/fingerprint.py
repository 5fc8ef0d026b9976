"""Fingerprints of images: the same image, or nearly the same, is found before it is scored.

A copy of a training image in the test part makes any score meaningless. Equal voxels are found by
their digest; a copy at another size, brightness or contrast by the correlation of thumbnails.
Turned or mirrored copies are not found.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from segmentation.region import Region
from segmentation.shard import read_block
from segmentation.training.inspection import BLOCK_VOXELS, blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segmentation.shard import VoxelArray

SIDE = 64
MOST_SECTIONS = 64
THRESHOLD = 0.98
# Thumbnails never prove that images are the same; 1 is kept for equal voxels.
LIKELY = 0.9999
# Smallest contrast, relative to the largest intensity, of a thumbnail that shows anything.
FLAT = 1e-4
BATCH = 2048

Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an image looks like.

    Attributes
    ----------
    digest : str
        SHA-256 of type, shape and voxels.
    thumbnails : float32, shape (sections, 4096)
        Of at most 64 sections, spread evenly; mean 0 and length 1, so that their dot product is
        the correlation. Sections without contrast are left out.
    where : tuple of tuple of int
        Index of each of these sections along the axes in front of y and x.
    """

    digest: str
    thumbnails: NDArray[np.float32]
    where: tuple[Place, ...]


def voxel_digest(array: VoxelArray, region: Region, channel_axis: int | None = None) -> str:
    """SHA-256 of type, shape and voxels of a box, read slab by slab; all channels.

    Parameters
    ----------
    array : array-like
        Image or label.
    region : Region
        Along its axes without the channels.
    channel_axis : int or None
        Where it has its channels.
    """
    digest = hashlib.sha256(json.dumps(region.shape).encode())
    for number, block in enumerate(blocks(region, BLOCK_VOXELS)):
        voxels = np.ascontiguousarray(read_block(array, block, channel_axis, None))
        if not number:
            digest.update(f"{voxels.dtype.name} {voxels.shape[-1]}".encode())
        digest.update(voxels.data)
    return digest.hexdigest()


def fingerprint(image: VoxelArray, region: Region, channel_axis: int | None) -> Fingerprint:
    """Digest and thumbnails of a box of an image.

    Parameters
    ----------
    image : array-like
        Intensities; y and x are the last of its axes but for the channels.
    region : Region
        Along its axes without the channels.
    channel_axis : int or None
        Where it has its channels; thumbnails show their mean.
    """
    thumbnails, where = [], []
    for place in _places(region):
        section = Region((*place, *region.start[-2:]), (*(p + 1 for p in place), *region.stop[-2:]))
        thumbnail = _normalised(_thumbnail(image, section, channel_axis))
        if thumbnail is not None:
            thumbnails.append(thumbnail)
            where.append(place)
    stacked = np.stack(thumbnails) if thumbnails else np.empty((0, SIDE * SIDE), np.float32)
    return Fingerprint(voxel_digest(image, region, channel_axis), stacked, tuple(where))


def _places(region: Region) -> list[Place]:
    """Sections of a box, at most 64 of them at even distances."""
    leading = region.shape[:-2]
    total = int(np.prod(leading, dtype=np.int64))
    kept = min(total, MOST_SECTIONS)
    numbers = [(2 * k + 1) * total // (2 * kept) for k in range(kept)]
    offsets = (np.unravel_index(n, leading) if leading else () for n in numbers)
    return [
        tuple(int(i) + a for i, a in zip(offset, region.start, strict=False)) for offset in offsets
    ]


def _thumbnail(image: VoxelArray, section: Region, channel_axis: int | None) -> NDArray[np.float64]:
    """Means over 64 × 64 nearly equal fields of a section, read band by band: (64, 64)."""
    height, width = section.shape[-2:]
    rows, columns = _bounds(height), _bounds(width)
    step = max(1, SIDE * BLOCK_VOXELS // (height * width))
    bands = []
    for first in range(0, SIDE, step):
        last = min(first + step, SIDE)
        start, stop = rows[first], max(rows[last], rows[last - 1] + 1)
        block = _band(section, int(start), int(stop))
        voxels = read_block(image, block, channel_axis, None).mean(axis=-1, dtype=np.float64)
        plane = voxels.reshape(-1, width)
        sums = np.add.reduceat(plane, rows[first:last] - start, axis=0)
        bands.append(np.add.reduceat(sums, columns[:-1], axis=1))
    # A field of less than a voxel shows the voxel it lies in.
    areas = np.maximum(np.diff(rows), 1)[:, None] * np.maximum(np.diff(columns), 1)
    means: NDArray[np.float64] = np.concatenate(bands) / areas
    return means


def _bounds(size: int) -> NDArray[np.int64]:
    return np.arange(SIDE + 1) * size // SIDE


def _band(section: Region, start: int, stop: int) -> Region:
    """Rows of a section, counted from its first."""
    top = section.start[-2]
    return Region(
        (*section.start[:-2], top + start, section.start[-1]),
        (*section.stop[:-2], top + stop, section.stop[-1]),
    )


def _normalised(thumbnail: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Mean 0 and length 1; None without contrast, or with voxels that are no numbers."""
    with np.errstate(invalid="ignore", over="ignore"):
        centred = (thumbnail - thumbnail.mean()).ravel()
        length = float(np.linalg.norm(centred))
        if not length > FLAT * SIDE * float(np.abs(thumbnail).max()):
            return None
        unit: NDArray[np.float32] = (centred / length).astype(np.float32)
    return unit


def near_duplicates(
    first: Fingerprint, second: Fingerprint, threshold: float = THRESHOLD
) -> list[tuple[Place, Place, float]]:
    """Pairs of sections of two images that look alike.

    Parameters
    ----------
    first, second : Fingerprint
        Of two images.
    threshold : float
        Correlation above which they do.

    Returns
    -------
    list of tuple
        Place in the first, place in the second, and their correlation.
    """
    correlation = first.thumbnails @ second.thumbnails.T
    return [
        (first.where[i], second.where[j], float(correlation[i, j]))
        for i, j in np.argwhere(correlation > threshold).tolist()
    ]


def look_alikes(
    prints: Sequence[Fingerprint], threshold: float = THRESHOLD
) -> dict[tuple[int, int], float]:
    """Pairs among many images that are the same or look alike in a section.

    Returns
    -------
    dict
        Largest correlation by pair of numbers, the smaller one first; 1.0 for equal voxels.
    """
    owners = np.repeat(np.arange(len(prints)), [len(p.thumbnails) for p in prints])
    stacked = np.concatenate([p.thumbnails for p in prints])
    found: dict[tuple[int, int], float] = {}
    for low in range(0, len(stacked), BATCH):
        correlation = stacked[low : low + BATCH] @ stacked[low:].T
        for i, j in np.argwhere(correlation > threshold).tolist():
            one, other = sorted((int(owners[low + i]), int(owners[low + j])))
            if one != other:
                value = min(float(correlation[i, j]), LIKELY)
                found[one, other] = max(value, found.get((one, other), 0.0))
    return dict(sorted({**found, **_equal(prints)}.items()))


def _equal(prints: Sequence[Fingerprint]) -> dict[tuple[int, int], float]:
    by_digest: dict[str, list[int]] = {}
    for number, item in enumerate(prints):
        by_digest.setdefault(item.digest, []).append(number)
    return {pair: 1.0 for numbers in by_digest.values() for pair in combinations(numbers, 2)}
