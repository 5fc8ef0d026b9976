from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from segmentation.metrics.counting import count_planes


@st.composite
def runs(draw: st.DrawFn, size: int) -> NDArray[np.uint8]:
    """Labels as they are: runs of one value, and here and there noise."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=size, max_size=size))
    values = draw(hnp.arrays(np.uint8, size, elements=st.sampled_from([0, 1, 2, 3, 7, 255])))
    return np.repeat(values, lengths)[:size]


@st.composite
def planes(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 6)), 8 * draw(st.integers(1, 4)))
    size = int(np.prod(shape))
    return draw(runs(size)).reshape(shape), draw(runs(size)).reshape(shape)


def naive(truth: Any, prediction: Any, num_classes: int, ignore: int | None) -> list[list[int]]:
    found = []
    for rows, columns in zip(truth, prediction, strict=True):
        counts = [0] * (num_classes**2 + 2)
        for row, column in zip(rows.ravel().tolist(), columns.ravel().tolist(), strict=True):
            inside = row < num_classes and column < num_classes
            place = -2 if row == ignore else row * num_classes + column if inside else -1
            counts[place] += 1
        found.append(counts)
    return found


@given(planes(), st.integers(1, 9), st.sampled_from([None, 0, 3, 255]))
def test_bytes_are_counted_plane_by_plane(
    pair: tuple[Any, Any], num_classes: int, ignore: int | None
) -> None:
    truth, prediction = pair
    counts = count_planes(truth, prediction, num_classes, ignore)
    assert counts.tolist() == naive(truth, prediction, num_classes, ignore)
    assert (counts.sum(axis=1) == truth[0].size).all()
    wide = count_planes(truth.astype(np.int32), prediction, num_classes, ignore)
    assert (counts == wide).all()


def test_more_classes_than_a_byte_holds() -> None:
    truth = np.array([[0, 255, 255, 1, 1, 1, 1, 1]], np.uint8)
    counts = count_planes(truth, truth, 300)
    matrix = counts[0, :-2].reshape(300, 300)
    assert (matrix[0, 0], matrix[1, 1], matrix[255, 255], matrix.sum()) == (1, 5, 2, 8)


def test_a_line_and_a_strided_view_are_one_plane() -> None:
    labels = np.arange(16, dtype=np.uint8) % 2
    assert count_planes(labels[::2], labels[::2], 2).tolist() == [[8, 0, 0, 0, 0, 0]]
    assert count_planes(labels, labels[::-1], 2).tolist() == [[0, 8, 8, 0, 0, 0]]
