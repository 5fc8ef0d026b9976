"""A made-up electron-microscopy stack with its truth, for demos, tests and installation checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from segmentation.synthetic_tissue import (
    CYTOPLASM,
    MEMBRANE,
    SECTION_THICKNESS,
    Tissue,
    grow_cells,
    smooth_field,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: (value, name, red-green-blue); colours of Okabe and Ito (2008), told apart without colour vision.
CLASSES: tuple[tuple[int, str, tuple[int, int, int]], ...] = (
    (0, "background", (0, 0, 0)),
    (MEMBRANE, "membrane", (86, 180, 233)),
    (2, "mitochondria", (230, 159, 0)),
    (3, "vesicles", (0, 158, 115)),
    (4, "synapse", (204, 121, 167)),
)
MITOCHONDRIA, VESICLES, SYNAPSE = 2, 3, 4

MITOCHONDRIA_SHARE, VESICLES_SHARE = 0.055, 0.032  # of all voxels
ATTEMPTS = 600  # objects tried per class before the stack counts as full
ELECTRONS = 140.0  # per voxel at full brightness: sets the Poisson noise
READ_NOISE = 0.025  # of full brightness


def synthetic_stack(
    shape: tuple[int, int, int],
    seed: int,
    *,
    noise: float = 1.0,
    dtype: str = "uint8",
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Make a noisy stack of nerve-tissue-like sections and the class of every voxel.

    Cells fill the stack; their outlines are *membrane* (thin curved sheets). Inside lie
    *mitochondria* (ellipsoids with striped insides) and clouds of *vesicles*, and where a cloud
    touches a membrane there is a *synapse* (a rare, small, dark lens). Everything continues
    smoothly from section to section; illumination is uneven and each section has its own
    brightness. In stacks of (8, 160, 160) and more, roughly 20 to 30 percent of the voxels are
    foreground; a very small stack may lack a class.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels per axis; at least (1, 32, 32).
    seed : int
        The same shape, seed and options give the same stack.
    noise : float
        Multiplies the standard deviation of the Poisson and the Gaussian noise; 0 is noise-free.
    dtype : "uint8" or "uint16"
        Of the image, whose full range is used.

    Returns
    -------
    image : uint8 or uint16, shape (z, y, x)
    labels : uint8, shape (z, y, x)
        Values of `CLASSES`.

    Raises
    ------
    ValueError
        If the shape is too small, the dtype is another, or the noise is negative.
    """
    _check(shape, noise, dtype)
    rng = np.random.default_rng(seed)
    tissue = grow_cells(rng, shape)
    for _ in _until(tissue, MITOCHONDRIA, MITOCHONDRIA_SHARE):
        _add_mitochondrion(rng, tissue)
    for _ in _until(tissue, VESICLES, VESICLES_SHARE):
        _add_vesicles_and_synapse(rng, tissue)
    bright = _expose(rng, tissue.brightness, noise)
    return (bright * np.iinfo(dtype).max + 0.5).astype(dtype), tissue.labels


def _check(shape: tuple[int, int, int], noise: float, dtype: str) -> None:
    if len(shape) != 3 or any(size < least for size, least in zip(shape, (1, 32, 32), strict=True)):
        raise ValueError(f"shape {shape} is too small; expected (z, y, x) of at least (1, 32, 32)")
    if dtype not in ("uint8", "uint16"):
        raise ValueError(f"dtype is {dtype!r}; expected 'uint8' or 'uint16'")
    if not noise >= 0:
        raise ValueError(f"noise is {noise}; expected 0 (none), 1 (usual) or more")


def _until(tissue: Tissue, value: int, share: float) -> Iterator[int]:
    """Ask for one more object until the class has its share of the voxels."""
    for attempt in range(ATTEMPTS):
        if np.count_nonzero(tissue.labels == value) >= share * tissue.labels.size:
            return
        yield attempt


@dataclass(frozen=True, slots=True)
class _Ellipsoid:
    """A box of the stack, and for its voxels the radius (1 on the surface) and place along."""

    box: tuple[slice, ...]
    radius: NDArray[np.float32]
    along: NDArray[np.float32]


def _ellipsoid(
    shape: tuple[int, ...], centre: NDArray[np.int64], radii: tuple[float, ...], angle: float
) -> _Ellipsoid:
    """Return an ellipsoid with radii (z, short, long), turned by `angle` within the section."""
    reach = (radii[0], max(radii[1:]), max(radii[1:]))
    box = tuple(
        slice(max(0, math.floor(middle - extent)), min(size, math.ceil(middle + extent) + 1))
        for middle, extent, size in zip(centre.tolist(), reach, shape, strict=True)
    )
    z, y, x = (axis - middle for axis, middle in zip(np.ogrid[box], centre.tolist(), strict=True))
    short = math.cos(angle) * y - math.sin(angle) * x
    along = math.sin(angle) * y + math.cos(angle) * x
    radius = np.sqrt((z / radii[0]) ** 2 + (short / radii[1]) ** 2 + (along / radii[2]) ** 2)
    return _Ellipsoid(box, radius.astype(np.float32), np.broadcast_to(along, radius.shape))


def _object_size(tissue: Tissue) -> float:
    """Return 1, or less in a stack so small that a usual object would take too much of it."""
    return float(np.clip(min(tissue.labels.shape[1:]) / 240, 0.4, 1))


def _place(
    rng: np.random.Generator, tissue: Tissue, wanted_depth: float, candidates: int = 40
) -> NDArray[np.int64]:
    """Return the free voxel, of some at random, whose distance from a membrane suits best."""
    voxels = rng.integers(0, tissue.labels.shape, (candidates, 3))
    index = tuple(voxels.T)
    misfit = np.abs(tissue.depth[index] - wanted_depth) + 1e3 * (tissue.labels[index] > 0)
    best: NDArray[np.int64] = voxels[np.argmin(misfit)]
    return best


def _same_cell(
    tissue: Tissue, centre: NDArray[np.int64], box: tuple[slice, ...]
) -> NDArray[np.bool_]:
    return np.asarray(tissue.cells[box] == tissue.cells[tuple(centre)])


def _add_mitochondrion(rng: np.random.Generator, tissue: Tissue) -> None:
    """Draw one ellipsoid: dark rim, grey inside, stripes across."""
    size = _object_size(tissue)
    radii = (rng.uniform(4, 9), size * rng.uniform(11, 17), size * rng.uniform(18, 42))
    centre = _place(rng, tissue, wanted_depth=25)
    body = _ellipsoid(tissue.labels.shape, centre, radii, rng.uniform(0, math.pi))
    box = body.box
    wobble = smooth_field(rng, body.radius.shape, (6, 22, 22))
    # Voxels inside the surface: what is left of the short radius, or of the way to the membrane.
    inside = np.minimum((1 - body.radius + 0.07 * wobble) * radii[1], tissue.depth[box] - 4.5)
    mine = (inside > 0) & _same_cell(tissue, centre, box)
    if tissue.labels[box][mine].any():
        return
    stripes = np.sin(2 * math.pi * body.along / rng.uniform(6.5, 9) + 1.6 * wobble)
    look = 0.47 + 0.11 * stripes - 0.22 * np.exp(-((inside / 2.0) ** 2))
    grain = 0.5 * (tissue.brightness[box] - CYTOPLASM)
    tissue.brightness[box][mine] = (look + grain)[mine]
    tissue.labels[box][mine] = MITOCHONDRIA


def _add_vesicles_and_synapse(rng: np.random.Generator, tissue: Tissue) -> None:
    """Draw one cloud of small rings, and a dark lens on the membrane nearest to it."""
    size = _object_size(tissue)
    radii = (rng.uniform(2.5, 4.5), size * rng.uniform(17, 24), size * rng.uniform(20, 32))
    centre = _place(rng, tissue, wanted_depth=15)
    cloud = _ellipsoid(tissue.labels.shape, centre, radii, rng.uniform(0, math.pi))
    box = cloud.box
    wobble = smooth_field(rng, cloud.radius.shape, (4, 14, 14))
    free = (tissue.depth[box] > 4) & (tissue.labels[box] == 0) & _same_cell(tissue, centre, box)
    mine = (cloud.radius + 0.1 * wobble < 1) & free
    tissue.brightness[box][mine] = _rings(rng, mine.shape)[mine]
    tissue.labels[box][mine] = VESICLES
    _add_synapse(rng, tissue, centre, cloud)


def _rings(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a texture of bright dots with dark rims, other dots in every section."""
    dots = (rng.random(shape) < 1 / 55).astype(np.float32)
    wide, narrow = (ndimage.gaussian_filter(dots, (0, sigma, sigma)) for sigma in (2.4, 1.3))
    texture: NDArray[np.float32] = 0.57 + 9 * narrow - 16 * wide
    return np.clip(texture, 0.15, 0.95)


def _add_synapse(
    rng: np.random.Generator, tissue: Tissue, centre: NDArray[np.int64], cloud: _Ellipsoid
) -> None:
    """Thicken and darken the membrane that is nearest to the centre of a cloud."""
    membrane = np.argwhere(tissue.labels[cloud.box] == MEMBRANE)
    if not len(membrane):
        return
    membrane = membrane + [part.start for part in cloud.box]
    nearest = membrane[
        np.argmin((((membrane - centre) * (SECTION_THICKNESS, 1, 1)) ** 2).sum(axis=1))
    ]
    width = max(0.7, _object_size(tissue)) * rng.uniform(10, 14)
    radii = (rng.uniform(1.8, 3.2), width, width)
    lens = _ellipsoid(tissue.labels.shape, nearest, radii, 0)
    edge = 5.5 * np.sqrt(np.maximum(1 - lens.radius**2, 0)) + 1
    mine = (lens.radius < 1) & (tissue.depth[lens.box] < edge)
    tissue.brightness[lens.box][mine] = 0.08
    tissue.labels[lens.box][mine] = SYNAPSE


def _expose(
    rng: np.random.Generator, brightness: NDArray[np.float32], noise: float
) -> NDArray[np.float32]:
    """Blur, light unevenly and add the noise of electrons and of the camera; 0 to 1."""
    shape = brightness.shape
    light = 1 + 0.09 * smooth_field(rng, shape[1:], (shape[1] / 1.5, shape[2] / 1.5))
    sections = rng.normal(1, 0.025, (shape[0], 1, 1))
    bright = ndimage.gaussian_filter(brightness, (0, 0.8, 0.8), truncate=3)
    bright = np.clip(bright * light * sections, 0.01, 1.2)
    if noise > 0:
        electrons = ELECTRONS / noise**2
        bright = rng.poisson(bright * electrons) / electrons
        bright = bright + noise * READ_NOISE * rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(np.clip(0.85 * bright + 0.03, 0, 1), np.float32)
