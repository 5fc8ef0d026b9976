"""Counting kernels: every voxel of truth and prediction is read once, plane by plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORD = 8  # voxels of uint8 that are compared at once


def count_planes(
    truth: NDArray[np.integer[Any]],
    prediction: NDArray[np.integer[Any]],
    num_classes: int,
    ignore_label: int | None = None,
) -> NDArray[np.int64]:
    """Count two label arrays against each other, each plane of the last two axes by itself.

    Parameters
    ----------
    truth, prediction : integer arrays of one shape
        Any signed or unsigned dtype, the two need not match; with fewer than two axes all is one
        plane. Two uint8 arrays are counted fastest.
    num_classes : int
        C; the classes are 0..C-1.
    ignore_label : int, optional
        Truth with this value is counted as ignored, whatever was predicted there.

    Returns
    -------
    numpy.ndarray
        int64, shape (planes, C·C + 2): the confusion matrix of a plane in C order (rows truth),
        then its ignored and its out-of-range voxels; a row adds up to the voxels of the plane.

    Raises
    ------
    ValueError
        If the shapes differ, a dtype is not integer, or `num_classes` is below 1.
    """
    if truth.shape != prediction.shape:
        raise ValueError(
            f"truth has shape {truth.shape} and prediction {prediction.shape}; "
            "expected two arrays of the same voxels"
        )
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; expected at least 1")
    rows, columns = _planes("truth", truth), _planes("prediction", prediction)
    has_ignore = ignore_label is not None and _fits(ignore_label, rows.dtype)
    ignore = _wrapped(ignore_label) if ignore_label is not None and has_ignore else 0
    if rows.dtype == columns.dtype == np.uint8 and rows.shape[1] % WORD == 0 and rows.size:
        return _count_bytes(rows, columns, num_classes, ignore if has_ignore else None)
    counts = np.zeros((len(rows), num_classes**2 + 2), np.int64)
    _count(rows, columns, has_ignore, ignore, counts)
    return counts


def _planes(name: str, array: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Planes as rows, in C order and native byte order, copied only where they are not so."""
    if array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has dtype {array.dtype}; expected integer labels, convert it with "
            ".astype('uint8') or take the argmax of probabilities"
        )
    size = int(np.prod(array.shape[-2:]))
    flat = np.ascontiguousarray(array).reshape(array.size // size if size else 0, size)
    return flat.astype(array.dtype.newbyteorder("="), copy=False)


def _fits(value: int, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max


def _wrapped(value: int) -> int:
    """Return the value as the kernel sees it: the 64 bits read as a signed integer."""
    return (value + 2**63) % 2**64 - 2**63


def _count_bytes(
    truth: NDArray[np.integer[Any]],
    prediction: NDArray[np.integer[Any]],
    num_classes: int,
    ignore: int | None,
) -> NDArray[np.int64]:
    """Count uint8 planes; what is no class and what is ignored get rows of their own."""
    size = min(num_classes, 256)
    columns = np.minimum(np.arange(256), size)
    rows = columns * (size + 1)
    if ignore is not None:
        rows[ignore] = (size + 1) ** 2
    table = np.zeros((len(truth), (size + 2) * (size + 1)), np.int64)
    words = (truth.view(np.uint64), prediction.view(np.uint64))
    _count_runs(truth, prediction, *words, rows, columns, table)
    pairs = table.reshape(-1, size + 2, size + 1)
    counts = np.zeros((len(truth), num_classes**2 + 2), np.int64)
    matrix = counts[:, :-2].reshape(-1, num_classes, num_classes)
    matrix[:, :size, :size] = pairs[:, :size, :size]
    counts[:, -2] = pairs[:, -1].sum(axis=1)
    counts[:, -1] = truth.shape[1] - counts[:, :-1].sum(axis=1)
    return counts


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _count_runs(
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    truth_words: NDArray[np.uint64],
    prediction_words: NDArray[np.uint64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    table: NDArray[np.int64],
) -> None:
    """Add every voxel to `table`, at ``rows[truth] + columns[prediction]`` of its plane.

    Labels come in runs: a word of eight equal voxels that repeats is added to a run, not counted.
    Other words go to four tables in turn, so that no addition waits for the one before it.
    """
    planes, width = truth_words.shape
    parts = np.zeros((4, table.shape[1]), np.int64)
    for plane in range(planes):
        parts[:] = 0
        last_truth = last_prediction = np.uint64(0)
        uniform = False
        run = 0
        for word in range(width):
            first, second = truth_words[plane, word], prediction_words[plane, word]
            if uniform and first == last_truth and second == last_prediction:
                run += 8
                continue
            start = 8 * word
            if run:
                place = rows[truth[plane, start - 1]] + columns[prediction[plane, start - 1]]
                parts[0, place] += run
                run = 0
            last_truth, last_prediction = first, second
            turned_first = (first >> np.uint64(8)) | (first << np.uint64(56))
            turned_second = (second >> np.uint64(8)) | (second << np.uint64(56))
            uniform = first == turned_first and second == turned_second
            if uniform:
                run = 8
                continue
            for index in range(start, start + 8, 4):
                for part in range(4):
                    voxel = index + part
                    place = rows[truth[plane, voxel]] + columns[prediction[plane, voxel]]
                    parts[part, place] += 1
        if run:
            parts[0, rows[truth[plane, -1]] + columns[prediction[plane, -1]]] += run
        for part in range(4):
            table[plane] += parts[part]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]  # numba has no types
def _count(
    truth: NDArray[np.integer[Any]],
    prediction: NDArray[np.integer[Any]],
    has_ignore: bool,
    ignore: int,
    counts: NDArray[np.int64],
) -> None:
    """Add every voxel of any dtype to the counts of its plane, in place."""
    num_classes = int(np.sqrt(counts.shape[1] - 2))
    for plane in range(truth.shape[0]):
        for index in range(truth.shape[1]):
            # uint64 above 2**63 turns negative here, which is out of range as it should be.
            row = np.int64(truth[plane, index])
            column = np.int64(prediction[plane, index])
            if has_ignore and row == ignore:
                counts[plane, -2] += 1
            elif 0 <= row < num_classes and 0 <= column < num_classes:
                counts[plane, row * num_classes + column] += 1
            else:
                counts[plane, -1] += 1
