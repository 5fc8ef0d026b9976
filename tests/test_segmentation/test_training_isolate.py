"""One class alone: what becomes of every label value, seen through an array that is not copied."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmentation.training.isolate import IGNORED, MappedLabels, class_table

# Classes 0, 1, 2, 3 of which 2 is learned; the last entry is what becomes of larger values.
TABLES = [
    ("background", None, (0, 0, 1, 0, IGNORED)),
    ("ignore", None, (0, IGNORED, 1, IGNORED, IGNORED)),
    ("background", 255, (0, 0, 1, 0, IGNORED)),
    ("background", 3, (0, 0, 1, IGNORED, IGNORED)),
    ("background", 0, (IGNORED, 0, 1, 0, IGNORED)),
]


@pytest.mark.parametrize(("others", "ignore_label", "expected"), TABLES)
def test_what_becomes_of_each_value(others, ignore_label, expected):
    assert class_table(4, 2, others, ignore_label) == expected


@pytest.mark.parametrize(
    ("only", "ignore_label", "message"),
    [
        (0, None, r"class 0 cannot be learned alone; expected 1 to 3"),
        (4, None, r"class 4 cannot be learned alone; expected 1 to 3"),
        (2, 2, r"class 2 is also the value that does not count; choose one of them"),
    ],
)
def test_classes_that_cannot_be_learned_alone(only, ignore_label, message):
    with pytest.raises(ValueError, match=message):
        class_table(4, only, "background", ignore_label)


labels = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int32, np.uint64]),
    hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
    elements=st.sampled_from([0, 1, 2, 3, 255]),
)


@given(labels, st.sampled_from(["background", "ignore"]))
def test_every_voxel_is_mapped_by_the_table(values, others):
    table = class_table(4, 1, others, 255)
    mapped = MappedLabels(values, table)
    rest = 0 if others == "background" else IGNORED
    expected = np.select([values == 0, values == 1, values == 255], [0, 1, IGNORED], rest)
    whole = tuple(slice(0, size) for size in values.shape)
    assert mapped.shape == values.shape
    assert mapped.dtype == mapped[whole].dtype == np.uint8
    np.testing.assert_array_equal(mapped[whole], expected)
    box = tuple(slice(size // 2, size) for size in values.shape)
    np.testing.assert_array_equal(mapped[box], expected[box])


def test_truth_values_of_a_boolean_mask_are_values_and_no_selection():
    mapped = MappedLabels(np.array([[True, False, True]]), class_table(2, 1, "background", None))
    assert mapped[slice(0, 1), slice(0, 3)].tolist() == [[1, 0, 1]]


def test_mapped_labels_travel_between_processes():
    mapped = MappedLabels(np.eye(3, dtype=np.uint8), (0, 1, IGNORED))
    again = pickle.loads(pickle.dumps(mapped))  # noqa: S301 its own bytes
    np.testing.assert_array_equal(again[slice(0, 3), slice(0, 3)], np.eye(3))
