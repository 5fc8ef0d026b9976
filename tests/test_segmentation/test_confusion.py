from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from segmentation.metrics.confusion import ConfusionMatrix

DTYPES = ["uint8", "int16", "uint64"]
Labels = NDArray[np.integer[Any]]


def oracle(truth: Labels, prediction: Labels, num_classes: int, ignore: int | None) -> Any:
    """Count with boolean masks and `np.add.at`: slow, obvious, and not the program's way."""
    rows, columns = truth.ravel().tolist(), prediction.ravel().tolist()
    kept = [(r, c) for r, c in zip(rows, columns, strict=True) if r != ignore]
    inside = [(r, c) for r, c in kept if r in range(num_classes) and c in range(num_classes)]
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, tuple(np.array(inside, np.int64).reshape(-1, 2).T), 1)
    return {
        "counts": counts.tolist(),
        "ignored": len(rows) - len(kept),
        "out_of_range": len(kept) - len(inside),
    }


def floats(*shape: int) -> Any:
    return np.zeros(shape, np.float64)


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[Labels, Labels]:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6))

    def labels() -> Labels:
        dtype: Any = np.dtype(draw(st.sampled_from(DTYPES)))
        limits = np.iinfo(dtype)
        small = st.integers(max(-2, int(limits.min)), 6)
        extreme = st.sampled_from([int(limits.min), int(limits.max)])
        return draw(hnp.arrays(dtype, shape, elements=small | extreme))

    return labels(), labels()


@settings(deadline=None)  # the kernel is compiled on the first pair of each dtype
@given(label_pairs(), st.integers(1, 6), st.none() | st.sampled_from([-1, 0, 3, 255, 2**64 - 1]))
def test_every_voxel_is_counted_once(
    pair: tuple[Labels, Labels], num_classes: int, ignore: int | None
) -> None:
    truth, prediction = pair
    matrix = ConfusionMatrix.from_labels(truth, prediction, num_classes, ignore)
    assert matrix.to_dict() == oracle(truth, prediction, num_classes, ignore)
    assert int(matrix.counts.sum()) + matrix.ignored + matrix.out_of_range == truth.size
    assert matrix.voxels == truth.size


@settings(deadline=None)
@given(label_pairs(), st.randoms(use_true_random=False))
def test_parts_add_up_in_any_order(pair: tuple[Labels, Labels], random: Any) -> None:
    truth, prediction = (array.ravel() for array in pair)
    whole = ConfusionMatrix.from_labels(truth, prediction, 4, 3)
    cuts = sorted(random.randint(0, truth.size) for _ in range(3))
    edges = list(zip([0, *cuts], [*cuts, truth.size], strict=True))
    random.shuffle(edges)
    parts = [
        ConfusionMatrix.from_labels(truth[start:stop], prediction[start:stop], 4, 3)
        for start, stop in edges
    ]
    assert sum(parts, ConfusionMatrix.empty(4)) == whole


def test_rows_are_truth_and_columns_are_prediction() -> None:
    truth = np.array([[0, 0, 1], [1, 2, 9]], np.uint8)
    prediction = np.array([[0, 1, 1], [0, 7, 2]], np.int32)
    matrix = ConfusionMatrix.from_labels(truth, prediction, 3, ignore_label=9)
    # (0,0) (0,1) (1,1) (1,0) counted; truth 2 was predicted 7: out of range; truth 9 is ignored
    assert matrix.counts.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert (matrix.ignored, matrix.out_of_range, matrix.voxels) == (1, 1, 6)


def test_ignore_label_wins_over_a_class_and_over_an_unknown_prediction() -> None:
    truth = np.array([0, 0, 1], np.uint8)
    prediction = np.array([0, 200, 1], np.uint8)
    matrix = ConfusionMatrix.from_labels(truth, prediction, 2, ignore_label=0)
    assert matrix.to_dict() == {"counts": [[0, 0], [0, 1]], "ignored": 2, "out_of_range": 0}


def test_ignore_label_that_the_dtype_cannot_hold_ignores_nothing() -> None:
    truth = np.array([2**64 - 1, 1], np.uint64)
    matrix = ConfusionMatrix.from_labels(truth, truth, 2, ignore_label=-1)
    assert (matrix.ignored, matrix.out_of_range) == (0, 1)


def test_memory_order_and_byte_order_do_not_matter() -> None:
    truth = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) % 3
    prediction = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) % 4
    expected = ConfusionMatrix.from_labels(truth, prediction, 4)
    foreign = ">u2" if sys.byteorder == "little" else "<u2"
    strange = np.asfortranarray(truth).astype(foreign, order="F")
    assert ConfusionMatrix.from_labels(strange, prediction, 4) == expected
    cut = np.repeat(prediction, 2, axis=2)[..., ::2]
    cut.flags.writeable = False
    assert ConfusionMatrix.from_labels(truth, cut, 4) == expected


def test_survives_json() -> None:
    matrix = ConfusionMatrix(np.array([[2**40, 1], [0, 3]]), ignored=4, out_of_range=5)
    assert ConfusionMatrix.from_dict(json.loads(json.dumps(matrix.to_dict()))) == matrix
    assert matrix != ConfusionMatrix.empty(2)
    assert matrix != "matrix"
    assert hash(matrix) == hash(ConfusionMatrix.from_dict(matrix.to_dict()))


def test_counts_cannot_be_changed_from_outside() -> None:
    counts = np.zeros((2, 2), np.int64)
    matrix = ConfusionMatrix(counts)
    counts[0, 0] = 7
    assert matrix.voxels == 0
    with pytest.raises(ValueError, match="read-only"):
        matrix.counts[0, 0] = 7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConfusionMatrix(np.zeros((2, 3), np.int64)), r"shape \(2, 3\)"),
        (lambda: ConfusionMatrix(floats(2, 2)), "dtype float64"),
        (lambda: ConfusionMatrix(np.array([[1, -1], [0, 0]])), "negative count"),
        (lambda: ConfusionMatrix.empty(2) + ConfusionMatrix.empty(3), "2 and 3 classes"),
        (
            lambda: ConfusionMatrix.from_labels(np.zeros(3, int), np.zeros(4, int), 2),
            r"truth has shape \(3,\) and prediction \(4,\)",
        ),
        (
            lambda: ConfusionMatrix.from_labels(np.zeros(3, int), floats(3), 2),
            "prediction has dtype float64",
        ),
        (
            lambda: ConfusionMatrix.from_labels(np.zeros(3, int), np.zeros(3, int), 0),
            "num_classes is 0",
        ),
    ],
)
def test_refuses_what_cannot_be_counted(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_adding_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        ConfusionMatrix.empty(2) + 1  # type: ignore[operator]
