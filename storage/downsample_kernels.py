"""Compiled loops over windows of voxels, on arrays of five axes: t, c, z, y, x.

Each takes the block, the window's length per axis and the array to fill; the last window of an axis
is clipped by the block. The general ones take any window; the others are for those of two voxels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


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
def _mode_at(block: Any, index: Any, factors: Any, window: Any) -> Any:
    t, c, z, y, x = index
    ft, fc, fz, fy, fx = factors
    corner = (t * ft, c * fc, z * fz, y * fy, x * fx)
    return _window_mode(window, _gather(block, corner, factors, window))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def mode_kernel(block: Any, factors: Any, out: Any) -> None:
    """Most frequent value; of several the lowest that is not 0."""
    ft, fc, fz, fy, fx = factors
    window = np.empty(ft * fc * fz * fy * fx, dtype=block.dtype)
    for index in np.ndindex(out.shape):
        out[index] = _mode_at(block, index, factors, window)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _mode_of_four(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Mode of four values: of two pairs, or of four singles, the lowest that is not 0."""
    if a == b:
        return c if c == d and c != 0 and (a == 0 or c < a) else a
    if a == c:
        return b if b == d and b != 0 and (a == 0 or b < a) else a
    if a == d:
        return b if b == c and b != 0 and (a == 0 or b < a) else a
    if b in (c, d):
        return b
    if c == d:
        return c
    lowest = a
    for value in (b, c, d):
        if value != 0 and (lowest == 0 or value < lowest):
            lowest = value
    return lowest


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def mode_planar_kernel(block: Any, factors: Any, out: Any) -> None:
    """Windows of 2 × 2 in plane."""
    window = np.empty(4, dtype=block.dtype)
    whole = block.shape[4] // 2
    for t, c, z, y in np.ndindex(out.shape[:4]):
        row, done = out[t, c, z, y], 0
        if 2 * y + 1 < block.shape[3]:
            top, low, done = block[t, c, z, 2 * y], block[t, c, z, 2 * y + 1], whole
            for x in range(whole):
                row[x] = _mode_of_four(top[2 * x], top[2 * x + 1], low[2 * x], low[2 * x + 1])
        for x in range(done, len(row)):
            row[x] = _mode_at(block, (t, c, z, y, x), factors, window)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _is_even(above: Any, below: Any, x: int) -> bool:
    """Whether the 2 × 2 windows at x of two pairs of rows hold one value."""
    first = above[0][x]
    return bool(
        first == above[0][x + 1]
        and first == above[1][x]
        and first == above[1][x + 1]
        and first == below[0][x]
        and first == below[0][x + 1]
        and first == below[1][x]
        and first == below[1][x + 1]
    )


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def mode_cubic_kernel(block: Any, factors: Any, out: Any) -> None:
    """Windows of 2 × 2 × 2; most of them hold one value."""
    window = np.empty(8, dtype=block.dtype)
    whole = block.shape[4] // 2
    for t, c, z, y in np.ndindex(out.shape[:4]):
        row, done = out[t, c, z, y], 0
        if 2 * z + 1 < block.shape[2] and 2 * y + 1 < block.shape[3]:
            above = (block[t, c, 2 * z, 2 * y], block[t, c, 2 * z, 2 * y + 1])
            below = (block[t, c, 2 * z + 1, 2 * y], block[t, c, 2 * z + 1, 2 * y + 1])
            done = whole
            for x in range(whole):
                if _is_even(above, below, 2 * x):
                    row[x] = above[0][2 * x]
                else:
                    row[x] = _mode_at(block, (t, c, z, y, x), factors, window)
        for x in range(done, len(row)):
            row[x] = _mode_at(block, (t, c, z, y, x), factors, window)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def mean_halving_kernel(block: Any, factors: Any, out: Any) -> None:
    """Windows of two voxels along the last two axes or three, of integers of up to 32 bits."""
    depth, height, width = block.shape[2:]
    for t, c, z, y in np.ndindex(out.shape[:4]):
        row = out[t, c, z, y]
        sums = np.zeros(len(row), np.int64)
        z0, rows = z * factors[2], 0
        for at in range(z0, min(z0 + factors[2], depth)):
            for line in range(2 * y, min(2 * y + 2, height)):
                voxels, rows = block[t, c, at, line], rows + 1
                for x in range(width // 2):
                    sums[x] += np.int64(voxels[2 * x]) + np.int64(voxels[2 * x + 1])
                if width % 2:
                    sums[-1] += np.int64(voxels[-1])
        # The rows are 1, 2 or 4: a shift divides by twice as many, and rounds down.
        shift = 1 + (rows > 1) + (rows > 2)
        for x in range(width // 2):
            row[x] = (sums[x] + rows) >> shift
        if width % 2:
            row[-1] = (2 * sums[-1] + rows) >> shift


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def mean_kernel(block: Any, factors: Any, out: Any) -> None:
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
def mean_float_kernel(block: Any, factors: Any, out: Any) -> None:
    """Mean of floats, summed in float64."""
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
