"""Whether labels lie on their images: where the edges of the one meet the borders of the other.

The edges of an image are the magnitude of its smoothed gradient, the borders of a label the voxels
beside another class. For every shift the two are correlated; where most borders meet edges only
after a shift, and every quarter of the image says so, the label lies beside the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.fft import irfft2, next_fast_len, rfft2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SMOOTHING = 1.0  # voxels
REACH = 16  # voxels
QUARTERS = 4
# Quarters of fewer voxels a side show too little.
LEAST_SIDE = 32


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a label would have to move to lie on its image.

    Attributes
    ----------
    y, x : int
        Voxels.
    correlation, unmoved : float
        Of edges and borders after the shift, and as they are.
    agreeing : int
        Quarters, of 4, that say the same within one voxel.
    """

    y: int
    x: int
    correlation: float
    unmoved: float
    agreeing: int

    @property
    def voxels(self) -> float:
        """Length of the shift."""
        return float(np.hypot(self.y, self.x))


def edges(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Magnitude of the gradient of a smoothed section, float64 (y, x)."""
    found: NDArray[np.float64] = ndimage.gaussian_gradient_magnitude(
        np.asarray(image, np.float64), SMOOTHING, mode="nearest"
    )
    return found


def borders(label: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Voxels of a section beside another class along y or x, on either side of the border."""
    found = np.zeros(label.shape, bool)
    for axis in range(2):
        ahead = np.diff(label.astype(np.float64), axis=axis) != 0
        before = [slice(None)] * 2
        after = [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        found[tuple(before)] |= ahead
        found[tuple(after)] |= ahead
    return found


def find_shift(
    images: Sequence[NDArray[np.float64]], labels: Sequence[NDArray[np.generic]]
) -> Shift | None:
    """The shift of the labels at which most borders meet edges, of some sections together.

    Parameters
    ----------
    images : sequence of float64 arrays, shape (y, x)
        Sections.
    labels : sequence of arrays, shape (y, x)
        Their labels.

    Returns
    -------
    Shift or None
        None where the sections are too small, or no quarter has both edges and borders.
    """
    side = min((min(image.shape) // 2 for image in images), default=0)
    if side < LEAST_SIDE:
        return None
    reach = min(REACH, side // 4)
    quarters = [np.zeros((2 * reach + 1,) * 2) for _ in range(QUARTERS)]
    weights = [0] * QUARTERS
    for image, label in zip(images, labels, strict=True):
        for number, box in enumerate(_quarters(image.shape)):
            surface = _surface(edges(image[box]), borders(label[box]), reach)
            if surface is not None:
                quarters[number] += surface
                weights[number] += 1
    if not all(weights):
        return None
    return _agreed([surface / n for surface, n in zip(quarters, weights, strict=True)], reach)


def _quarters(shape: Sequence[int]) -> list[tuple[slice, slice]]:
    halves = [(slice(0, n // 2), slice(n // 2, n)) for n in shape]
    return [(y, x) for y in halves[0] for x in halves[1]]


def _surface(
    edge: NDArray[np.float64], border: NDArray[np.bool_], reach: int
) -> NDArray[np.float64] | None:
    """Correlation at every shift up to the reach; None where one of the two is constant."""
    first, second = edge - edge.mean(), border - border.mean()
    scale = first.size * float(first.std() * second.std())
    if not np.isfinite(scale) or scale <= 0:
        return None
    shape = [next_fast_len(n + reach, real=True) for n in first.shape]
    whole = irfft2(rfft2(first, shape) * np.conj(rfft2(second, shape)), shape)
    near = np.arange(-reach, reach + 1)
    found: NDArray[np.float64] = whole[np.ix_(near, near)] / scale
    return found


def _agreed(quarters: Sequence[NDArray[np.float64]], reach: int) -> Shift:
    total = np.mean(quarters, axis=0)
    best = _peak(total)
    agreeing = sum(bool(np.abs(_peak(one) - best).max() <= 1) for one in quarters)
    return Shift(
        int(best[0]) - reach,
        int(best[1]) - reach,
        float(total[tuple(best)]),
        float(total[reach, reach]),
        agreeing,
    )


def _peak(surface: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.array(np.unravel_index(int(surface.argmax()), surface.shape), np.int64)
