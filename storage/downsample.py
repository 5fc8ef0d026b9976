"""Reduce an array by windows: the most frequent value for labels, the mean for intensities.

Window ``i`` of an axis covers the voxels ``[i · factor, (i + 1) · factor)``; the last one is
clipped by the array. Both rules are functions of the window's values alone, so a level does
not depend on how its array is cut into blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_AXES = 5
# The windows of nearly every pyramid, which have kernels of their own.
PLANAR: tuple[int, ...] = (1, 2, 2)
CUBIC: tuple[int, ...] = (2, 2, 2)
# Eight integers of this size add up in 64 bits.
SUMMABLE_BYTES = 4


def mode_downsample(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Most frequent value of every window.

    Parameters
    ----------
    block : numpy.ndarray
        Integers, one to five axes.
    factors : sequence of int
        Window length per axis, at least 1.

    Returns
    -------
    numpy.ndarray
        Of the block's dtype and ``ceil(size / factor)`` voxels per axis. Of several most
        frequent values it is the lowest non-zero one, so that thin objects do not vanish.

    Raises
    ------
    StorageError
        If the block does not hold integers or the factors do not fit it.
    """
    if block.dtype.kind not in "iu":
        raise StorageError(f"mode needs integers, got {block.dtype}; labels are integers")
    return _reduce(_mode_kernels(factors), block, factors)


def mean_downsample(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Mean of every window.

    Parameters
    ----------
    block : numpy.ndarray
        Integers or floats, one to five axes.
    factors : sequence of int
        Window length per axis, at least 1.

    Returns
    -------
    numpy.ndarray
        Of the block's dtype and ``ceil(size / factor)`` voxels per axis. Means of integers are
        exact and rounded half up; those of floats are summed in float64.

    Raises
    ------
    StorageError
        If the block does not hold numbers or the factors do not fit it.
    """
    if block.dtype.kind not in "iuf":
        raise StorageError(f"mean needs integers or floats, got {block.dtype}")
    if block.dtype == np.float16:
        return mean_downsample(block.astype(np.float32), factors).astype(np.float16)
    return _reduce(_mean_kernels(block.dtype, factors), block, factors)


# Kernels are imported where they are needed: Numba is slow to import, and large.


def _mode_kernels(factors: Sequence[int]) -> Any:
    from storage import downsample_kernels as kernels

    return {PLANAR: kernels.mode_planar_kernel, CUBIC: kernels.mode_cubic_kernel}.get(
        _trimmed(factors), kernels.mode_kernel
    )


def _mean_kernels(dtype: np.dtype[Any], factors: Sequence[int]) -> Any:
    from storage import downsample_kernels as kernels

    if dtype.kind == "f":
        return kernels.mean_float_kernel
    halving = _trimmed(factors) in (PLANAR, CUBIC) and dtype.itemsize <= SUMMABLE_BYTES
    return kernels.mean_halving_kernel if halving else kernels.mean_kernel


def _trimmed(factors: Sequence[int]) -> tuple[int, ...]:
    """Factors of the last three axes, if the others are 1."""
    padded = (1,) * (MAX_AXES - len(factors)) + tuple(factors)
    return padded[2:] if padded[:2] == (1, 1) else padded


def _reduce(kernel: Any, block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Run a kernel on five axes, the missing ones in front."""
    if len(factors) != block.ndim or block.ndim > MAX_AXES or min(factors, default=1) < 1:
        raise StorageError(
            f"factors {tuple(factors)} do not fit a block of shape {block.shape}; expected one "
            f"positive integer per axis, for up to {MAX_AXES} axes"
        )
    shape = tuple(-(-size // f) for size, f in zip(block.shape, factors, strict=True))
    missing = (1,) * (MAX_AXES - block.ndim)
    native = np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("="))
    out = np.empty(missing + shape, dtype=native.dtype)
    kernel(native.reshape(missing + block.shape), missing + tuple(factors), out)
    return out.reshape(shape)
