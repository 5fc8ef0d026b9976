"""The cells of a made-up stack: smooth random fields, outlines and cytoplasm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import interpolate, ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEMBRANE = 1
MEMBRANE_HALF_WIDTH = 2.4  # voxels
CELL_SPACING = (7.0, 48.0, 48.0)  # voxels between the random values that shape the cells
SECTION_THICKNESS = 6.0  # in voxels of y and x
NUM_FIELDS = 9  # a cell is where one of so many random fields is the highest
CYTOPLASM = 0.71  # brightness


@dataclass(frozen=True, slots=True)
class Tissue:
    """The growing stack; each array has its shape.

    cells tells touching cells apart; depth is the distance from the middle of the nearest membrane,
    in voxels of y and x, exact close to it.
    """

    cells: NDArray[np.uint8]
    depth: NDArray[np.float32]
    brightness: NDArray[np.float32]
    labels: NDArray[np.uint8]


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> NDArray[np.float32]:
    """Return smooth noise of mean 0 and variance about 1: random cubic B-splines.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : voxels per axis
    spacing : voxels per axis between two random values

    Returns
    -------
    float32, of the shape asked for
    """
    bases = []
    for size, step in zip(shape, spacing, strict=True):
        count = math.ceil(size / step) + 4
        knots = step * (np.arange(count + 4) - 3.0)
        where = np.arange(size) + rng.uniform(0, step)
        bases.append(interpolate.BSpline.design_matrix(where, knots, 3))
    field = rng.standard_normal([basis.shape[1] for basis in bases])
    for basis in bases:  # each pass handles the first axis and moves it to the end
        rest = field.shape[1:]
        field = (basis @ field.reshape(field.shape[0], -1)).T.reshape(*rest, basis.shape[0])
    # 151/315 is the mean of the sum of squared cubic B-spline weights along one axis.
    return np.ascontiguousarray(field / (151 / 315) ** (len(shape) / 2), np.float32)


def grow_cells(rng: np.random.Generator, shape: tuple[int, int, int]) -> Tissue:
    """Fill a stack with cells that hold nothing yet.

    A cell is where one of several smooth random fields is the highest, and its membrane is where
    the two highest are equal: thin curved sheets that meet in threes, as in foam.
    """
    first = np.full(shape, -np.inf, np.float32)
    second = first.copy()
    cells = np.zeros(shape, np.uint8)
    for number in range(NUM_FIELDS):
        field = smooth_field(rng, shape, CELL_SPACING)
        cells[field > first] = number
        second = np.maximum(second, np.minimum(first, field))
        first = np.maximum(first, field)
    lead = first - second
    depth = np.asarray(lead / np.maximum(_slope(lead), 1e-3), np.float32)
    labels = np.where(depth < MEMBRANE_HALF_WIDTH, MEMBRANE, 0).astype(np.uint8)
    return Tissue(cells, depth, _cytoplasm(rng, cells, depth), labels)


def _cytoplasm(
    rng: np.random.Generator, cells: NDArray[np.uint8], depth: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the brightness of cells that hold nothing yet: grain, dark dots and outlines."""
    shape = cells.shape
    tones = rng.uniform(-0.06, 0.06, NUM_FIELDS).astype(np.float32)
    white = rng.standard_normal(shape, np.float32)
    grain = ndimage.gaussian_filter(white, (0.5, 1.6, 1.6))
    dots = ndimage.gaussian_filter((rng.random(shape) < 1 / 900).astype(np.float32), (0, 1.3, 1.3))
    outline = 0.46 + 0.04 * smooth_field(rng, shape, (6, 30, 30))
    brightness = CYTOPLASM + tones[cells] + 0.25 * grain - 2.2 * dots
    return np.asarray(brightness - outline * np.exp(-((depth / 2.4) ** 4)), np.float32)


def _slope(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the change per voxel of y or x; a step in z counts as SECTION_THICKNESS of them."""
    steps = [
        np.gradient(field, thickness, axis=axis)
        for axis, thickness in enumerate((SECTION_THICKNESS, 1, 1))
        if field.shape[axis] > 1
    ]
    return np.sqrt(sum(step**2 for step in steps)).astype(np.float32)
