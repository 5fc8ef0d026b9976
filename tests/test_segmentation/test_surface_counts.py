from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from segmentation.metrics.surface import SurfaceCounts
from tests.test_segmentation.label_tilings import PLANE, as_rows, square, whole


def test_survives_storage_and_cannot_be_changed():
    counts = whole(square((2, 2), (9, 9)), square((3, 2), (9, 10)), PLANE)
    stored = {name: array.tolist() for name, array in counts.to_arrays().items()}
    again = SurfaceCounts.from_arrays({name: np.array(column) for name, column in stored.items()})
    assert again == counts
    assert hash(again) == hash(counts)
    assert {name: array.dtype.name for name, array in again.to_arrays().items()} == {
        "value": "int64",
        "direction": "uint8",
        "code": "uint8",
        "squared": "float64",
        "count": "int64",
        "excluded": "int64",
    }
    assert counts != SurfaceCounts.empty(2)
    assert counts != "counts"
    with pytest.raises(ValueError, match="read-only"):
        counts.count[0] = 7


def test_merging_with_nothing_changes_nothing():
    counts = whole(square((2, 2), (9, 9)), square((3, 2), (9, 10)), PLANE)
    assert SurfaceCounts.merge([SurfaceCounts.empty(2), counts]) == counts
    twice = SurfaceCounts.merge([counts, counts])
    assert twice.count.tolist() == (2 * counts.count).tolist()
    assert SurfaceCounts.merge([SurfaceCounts.empty(2)]) == SurfaceCounts.empty(2)


def test_many_surfels_are_sorted_in_parts():
    random = np.random.default_rng(0)
    code, squared = (
        random.integers(0, 256, 600_000).astype(np.uint8),
        random.integers(0, 9, 600_000),
    )
    counts = SurfaceCounts.from_surfels(
        code, squared.astype(float), value=1, direction=0, num_classes=2
    )
    assert as_rows(counts) == {
        (1, 0, *key): number
        for key, number in Counter(zip(code.tolist(), squared.tolist(), strict=True)).items()
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SurfaceCounts.merge([]), "0 tables"),
        (
            lambda: SurfaceCounts.merge([SurfaceCounts.empty(2), SurfaceCounts.empty(3)]),
            r"2 tables of surfels with \[2, 3\] classes",
        ),
        (lambda: replace(SurfaceCounts.empty(2), count=np.ones(1)), "expected one length"),
        (lambda: replace(SurfaceCounts.empty(2), excluded=np.ones(2)), r"shape \(2,\)"),
    ],
)
def test_refuses_what_is_no_table(make, message):
    with pytest.raises(ValueError, match=message):
        make()
