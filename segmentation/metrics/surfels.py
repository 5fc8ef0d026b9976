"""Surfels: the pieces of surface at the corners of voxels, and how large they are."""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Point = tuple[int, ...]
    Polygon = list[Point]

MOST_TRIANGLES = 4


def corner_codes(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Code of every corner that lies between voxels of the array: which voxels round it are inside.

    ```
          (0, 0) │ (0, 1)          8 │ 4
          ───────o───────         ───o───     code = sum over the voxels inside, 0..15
          (1, 0) │ (1, 1)          2 │ 1      (in 3D 128, 64, 32 … 1, code 0..255)
    ```

    A corner is on the surface where its code is neither 0 nor that of all voxels inside.

    Parameters
    ----------
    inside : bool, 2D or 3D
        Voxels of the object. Pad it with one voxel to get the corners on the border of an image.

    Returns
    -------
    numpy.ndarray
        uint8, one shorter along each axis; the element at 0 is the corner between voxels 0 and 1.
    """
    codes: NDArray[np.uint8] = inside.view(np.uint8)
    bits = 1
    for axis in reversed(range(inside.ndim)):
        before = (slice(None),) * axis
        shifted = np.left_shift(codes[(*before, slice(-1))], bits, dtype=np.uint8)
        codes = shifted | codes[(*before, slice(1, None))]
        bits *= 2
    return codes


def surfel_areas(voxel_size: Sequence[float]) -> NDArray[np.float64]:
    """Area of the surfel of every code (3D), or its length (2D).

    The surface runs through the middles of the edges between a voxel inside and one outside
    (marching cubes; Lorensen and Cline 1987, DOI 10.1145/37401.37422). What that leaves open
    is fixed so that the areas are those of DeepMind's surface-distance:

    * of inside and outside, the one with fewer of the 8 voxels is cut off, and where its voxels
      touch only over an edge they are cut off from each other;
    * a bent polygon is made of the triangles that give it the largest area between cubic voxels.

    Parameters
    ----------
    voxel_size : sequence of float
        Size of a voxel along each of 2 or 3 axes.

    Returns
    -------
    numpy.ndarray
        float64, shape (16,) or (256,), by code; 0 where a code is no surface.

    Raises
    ------
    ValueError
        If there are not 2 or 3 sizes.
    """
    size = np.array(voxel_size, np.float64)
    if size.shape == (2,):
        lengths = [_contour_length(code, size) for code in range(16)]
        return np.array(lengths, np.float64)
    if size.shape != (3,):
        raise ValueError(f"voxel size {tuple(voxel_size)} has {size.size} axes; expected 2 or 3")
    faces = np.array([size[1] * size[2], size[0] * size[2], size[0] * size[1]])
    areas: NDArray[np.float64] = np.sqrt(np.square(_normals() * faces).sum(axis=-1)).sum(axis=-1)
    return areas


def _contour_length(code: int, size: NDArray[np.float64]) -> float:
    """Length of the lines of a 2D code; points are counted in half voxels."""
    inside = _voxels_inside(code, axes=2)
    lines = _lines([(0, 0), (0, 1), (1, 1), (1, 0)], inside)
    return sum(math.hypot(*(np.subtract(a, b) * size / 2)) for a, b in lines)


@cache
def _normals() -> NDArray[np.float64]:
    """Normals of the triangles of every 3D code, as long as their area in faces of a cubic voxel.

    Shape (256, 4, 3); a code of fewer triangles is filled up with zeros.
    """
    normals = np.zeros((256, MOST_TRIANGLES, 3))
    for code in range(1, 255):
        triangles = [
            triangle for polygon in _polygons(_fewer(code)) for triangle in _largest(polygon)
        ]
        normals[code, : len(triangles)] = np.divide(list(map(_cross, triangles)), 8)
    return normals


def _fewer(code: int) -> int:
    """Code of the side with fewer voxels."""
    return code if code.bit_count() <= 4 else 255 - code


def _voxels_inside(code: int, axes: int) -> set[Point]:
    """Voxels round the corner that are inside; the first voxel has the highest bit."""
    voxels = product((0, 1), repeat=axes)
    return {voxel for bit, voxel in enumerate(voxels) if code >> (2**axes - 1 - bit) & 1}


def _lines(ring: list[Point], inside: set[Point]) -> list[tuple[Point, Point]]:
    """Lines that cut a ring of four voxels into inside and outside, from middle to middle.

    Two voxels inside that face each other across the ring are cut off one by one.
    """
    middles = [_add(ring[index], ring[(index + 1) % 4]) for index in range(4)]
    changes = [(ring[i] in inside) != (ring[(i + 1) % 4] in inside) for i in range(4)]
    if all(changes):
        return [(middles[i - 1], middles[i]) for i in range(4) if ring[i] in inside]
    ends = [middle for middle, change in zip(middles, changes, strict=True) if change]
    return [(ends[0], ends[1])] if ends else []


def _polygons(code: int) -> list[Polygon]:
    """Closed polygons of a 3D code: the lines of the six faces, joined at their ends."""
    inside = _voxels_inside(code, axes=3)
    neighbours: dict[Point, list[Point]] = {}
    for axis, side in product(range(3), (0, 1)):
        ring = [(0, 0), (0, 1), (1, 1), (1, 0)]
        face = [(*pair[:axis], side, *pair[axis:]) for pair in ring]
        for start, stop in _lines(face, inside):
            neighbours.setdefault(start, []).append(stop)
            neighbours.setdefault(stop, []).append(start)
    polygons = []
    while neighbours:
        polygon = [next(iter(neighbours))]
        while following := [p for p in neighbours.pop(polygon[-1]) if p in neighbours]:
            polygon.append(following[0])
        polygons.append(polygon)
    return polygons


def _largest(polygon: Polygon) -> list[Polygon]:
    """Triangles of a polygon that give the largest area; those of a tie lie in one plane."""
    return max(_triangulations(polygon), key=lambda parts: sum(map(_length, map(_cross, parts))))


def _triangulations(polygon: Polygon) -> Iterator[list[Polygon]]:
    """Every way to cut a polygon into triangles at its corners."""
    if len(polygon) < 3:
        yield []
        return
    for middle in range(1, len(polygon) - 1):
        triangle = [polygon[0], polygon[middle], polygon[-1]]
        for left in _triangulations(polygon[: middle + 1]):
            for right in _triangulations(polygon[middle:]):
                yield [triangle, *left, *right]


def _cross(triangle: Polygon) -> Point:
    """Normal of a triangle, 8 times as long as its area: its corners are in half voxels."""
    start, *others = triangle
    a, b = ([x - y for x, y in zip(other, start, strict=True)] for other in others)
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _length(vector: Point) -> float:
    return math.hypot(*vector)


def _add(a: Point, b: Point) -> Point:
    return tuple(x + y for x, y in zip(a, b, strict=True))
