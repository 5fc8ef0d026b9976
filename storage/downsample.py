"""Reduce an array by windows: the most frequent value for labels, the mean for intensities.

Window ``i`` of an axis covers the voxels ``[i · factor, (i + 1) · factor)``; the last one is
clipped by the array. Both rules are functions of the window's values alone, so a level does
not depend on how its array is cut into blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_AXES = 5


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
    return _reduce(_mode_kernel, block, factors)


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
    return _reduce(_mean_float_kernel if block.dtype.kind == "f" else _mean_kernel, block, factors)


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


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _gather(block: Any, corner: Any, factors: Any, window: Any) -> int:
    """Copy a window's voxels; returns how many there are."""
    count = 0
    t0, c0, z0, y0, x0 = corner
    ft, fc, fz, fy, fx = factors
    for t in range(t0, min(t0 + ft, block.shape[0])):
        for c in range(c0, min(c0 + fc, block.shape[1])):
            for z in range(z0, min(z0 + fz, block.shape[2])):
                for y in range(y0, min(y0 + fy, block.shape[3])):
                    for x in range(x0, min(x0 + fx, block.shape[4])):
                        window[count] = block[t, c, z, y, x]
                        count += 1
    return count


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _insertion_sort(window: Any, count: int) -> None:
    """Sort in place: windows are small, and np.sort would allocate for each."""
    for i in range(1, count):
        value, j = window[i], i
        while j > 0 and window[j - 1] > value:
            window[j] = window[j - 1]
            j -= 1
        window[j] = value


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _window_mode(window: Any, count: int) -> Any:
    """Mode of a window; sorts it unless all its values are equal."""
    first = window[0]
    equal = True
    for i in range(1, count):
        if window[i] != first:
            equal = False
            break
    if equal:
        return first
    _insertion_sort(window, count)
    best, most, run = first, 0, 0
    for i in range(count):
        run = run + 1 if i > 0 and window[i] == window[i - 1] else 1
        if run > most or (run == most and best == 0):
            best, most = window[i], run
    return best


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _mode_kernel(block: Any, factors: Any, out: Any) -> None:
    ft, fc, fz, fy, fx = factors
    window = np.empty(ft * fc * fz * fy * fx, dtype=block.dtype)
    for index in np.ndindex(out.shape):
        t, c, z, y, x = index
        corner = (t * ft, c * fc, z * fz, y * fy, x * fx)
        out[index] = _window_mode(window, _gather(block, corner, factors, window))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _mean_kernel(block: Any, factors: Any, out: Any) -> None:
    """Mean of integers in halves of 32 bits, so that sums of 64-bit values cannot overflow."""
    ft, fc, fz, fy, fx = factors
    window = np.empty(ft * fc * fz * fy * fx, dtype=block.dtype)
    for index in np.ndindex(out.shape):
        t, c, z, y, x = index
        corner = (t * ft, c * fc, z * fz, y * fy, x * fx)
        count = _gather(block, corner, factors, window)
        high, low = np.int64(0), np.int64(0)
        for i in range(count):
            high += np.int64(window[i] >> 32)
            low += np.int64(np.uint32(window[i]))
        whole, rest = high // count, high % count
        rounded = (2 * ((rest << 32) + low) + count) // (2 * count)
        out[index] = (whole << 32) + rounded


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _mean_float_kernel(block: Any, factors: Any, out: Any) -> None:
    ft, fc, fz, fy, fx = factors
    window = np.empty(ft * fc * fz * fy * fx, dtype=block.dtype)
    for index in np.ndindex(out.shape):
        t, c, z, y, x = index
        corner = (t * ft, c * fc, z * fz, y * fy, x * fx)
        count = _gather(block, corner, factors, window)
        total = np.float64(0)
        for i in range(count):
            total += window[i]
        out[index] = total / count
